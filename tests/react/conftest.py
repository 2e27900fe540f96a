"""The hook built as it is shipped, in pages bundled for React 18 and 19, in a browser, on a whole stack."""

import fcntl
import os
import re
import shutil
import subprocess
import uuid
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlencode

import browser as browsers
import local_stack as stacks
import pytest
from fault_proxy import FaultProxy
from page_server import PageServer
from yarl import URL

from reelgate_local import ports

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "libs" / "react"
PAGE = Path(__file__).with_name("page")


def _run(*command: str, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def node_modules():
    """What the lock names, installed beside it."""
    browsers.need({"node": "nodejs", "npm": "npm"})
    installed, lock = LIBRARY / "node_modules", LIBRARY / "package-lock.json"
    with (ROOT / "libs" / "react" / ".npmrc").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the workers of one run want the same
        done = installed / ".ready"
        if not done.exists() or done.stat().st_mtime < lock.stat().st_mtime:
            _run("npm", "ci", "--ignore-scripts", cwd=LIBRARY)
            done.touch()
    return installed


@pytest.fixture(scope="session")
def workshop(node_modules, tmp_path_factory):
    """A page's project: its sources, the examples of the document, the package as built, and a compiler."""
    folder = tmp_path_factory.mktemp("react") / "page"
    shutil.copytree(PAGE, folder)
    (folder / "node_modules").symlink_to(node_modules)
    text = (ROOT / "docs" / "react.md").read_text(encoding="utf-8")
    for number, (kind, code) in enumerate(re.findall(r"```(tsx?)\n(.*?)```", text, re.DOTALL)):
        (folder / f"example{number or ''}.{kind}").write_text(code)

    def tool(name: str, *arguments: str, cwd: Path = folder) -> None:
        _run(str(node_modules / ".bin" / name), *arguments, cwd=cwd)

    tool("tsc", "--outDir", str(folder / "package"), cwd=LIBRARY)
    return SimpleNamespace(folder=folder, tool=tool)


@pytest.fixture(scope="session")
def scripts(workshop):
    """The page as one script for each React: its name → its text."""
    common = ("--bundle", "--jsx=automatic", "--log-level=warning", "--alias:@reelgate/react=./package/index.js")
    older = ("--alias:react=react-18", "--alias:react-dom=react-dom-18")
    workshop.tool("esbuild", "app.tsx", *common, "--outfile=react-19.js")
    workshop.tool("esbuild", "app.tsx", *common, *older, "--outfile=react-18.js")
    return {name: (workshop.folder / name).read_bytes() for name in ("react-18.js", "react-19.js")}


@pytest.fixture(scope="session")
def chromium():
    with browsers.chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def port():
    """Where the page is: the gateway has to know it before."""
    return ports.choose()


@pytest.fixture(scope="session")
def stack(scripts, chromium, port):
    """A new wallet here has credits for one video and a half."""
    settings = {"CORS_ALLOW_ORIGINS": f"http://127.0.0.1:{port}", "SIGNUP_CREDITS": "6", "SIM_VIDEO_SECONDS": "1"}
    with stacks.running(f"react-{os.getpid()}", KIE_SENDS_PER_WINDOW="1000", **settings) as stack:
        yield stack


@pytest.fixture
async def server(stack, scripts, port):
    async with PageServer.serving(scripts, port, api=stack.env["API_URL"], key=stack.env["API_KEY"]) as server:
        yield server


@pytest.fixture
async def line(stack):
    """The line between a page and the gateway, which can break."""
    url = URL(stack.env["API_URL"])
    async with FaultProxy.open(url.host, url.port) as proxy:
        yield proxy


@pytest.fixture
async def browser(chromium, server):  # the tab goes first: it holds connections to the server
    async with chromium.tab() as tab:
        yield tab


@pytest.fixture
def wallet():
    return uuid.uuid4().hex


@pytest.fixture
def through_server(browser, server, wallet):
    """Open the page as one whose own server passes on to the gateway."""

    async def open_page(*, react="react-19.js", **query):
        await browser.open(f"{server.url}/page/{react}?{urlencode({'wallet': wallet} | query)}")

    return open_page


@pytest.fixture
def across_origins(browser, server, line, stack, wallet):
    """Open the page as one that asks the gateway itself, with a credential, over the line."""

    async def open_page(**query):
        direct = {"api": f"http://127.0.0.1:{line.port}", "token": stack.env["API_KEY"], "wallet": wallet}
        await browser.open(f"{server.url}/page/react-19.js?{urlencode(direct | query)}")

    return open_page


@pytest.fixture
def charges(stack, wallet):
    """What jobs cost the wallet and gave back, in order."""

    async def read():
        rows = await stack.sql(
            "SELECT amount FROM credit_transactions WHERE wallet_address = $1 AND job_id IS NOT NULL ORDER BY id",
            wallet,
        )
        return [row["amount"] for row in rows]

    return read


@pytest.fixture
def paused(stack):
    """Nothing is sent until `resume()`: jobs stay pending."""
    stack.command("pause", "--reason", "a test holds jobs back")
    yield SimpleNamespace(resume=lambda: stack.command("resume"))
    stack.command("resume")
