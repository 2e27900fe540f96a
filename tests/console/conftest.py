"""The console in a real browser, on a whole stack with the simulator."""

import base64
import os
import re
import uuid
from pathlib import Path

import browser as browsers
import httpx
import local_stack as stacks
import pytest
from console_page import Page
from fault_proxy import FaultProxy
from yarl import URL

PICTURES = Path(__file__).parents[2] / ".local" / "pictures"  # of each test's last page, for people to look at


@pytest.fixture(scope="session")
def chromium():
    with browsers.chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def stack(chromium):  # which may skip, and then no stack is needed
    with stacks.running(f"console-{os.getpid()}", SIM_VIDEO_SECONDS="1", KIE_SENDS_PER_WINDOW="1000") as stack:
        yield stack


@pytest.fixture
async def page_of(chromium, request):
    """The console of an address, in a tab of its own."""
    async with chromium.tab() as tab:
        made = []

        async def make(url):
            made.append(Page(tab, url))
            await made[-1].look()
            return made[-1]

        yield make

        PICTURES.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"\W+", "-", request.node.name)
        for page in made:
            (PICTURES / f"{name}.png").write_bytes(await page.picture())


@pytest.fixture
async def page(page_of, stack):
    return await page_of(stack.env["API_URL"])


@pytest.fixture
async def line(stack):
    """The line between the browser and the gateway, which can break."""
    url = URL(stack.env["API_URL"])
    async with FaultProxy.open(url.host, url.port) as proxy:
        yield proxy


@pytest.fixture
def wallet():
    return f"w{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def api(stack):
    async with stack.client() as client:
        yield client


@pytest.fixture
async def admin(stack):
    async with stack.client("ADMIN_KEY") as client:
        yield client


@pytest.fixture
def jobs_of(stack, wallet):
    """The wallet's jobs, the oldest first."""

    async def read():
        return await stack.sql("SELECT * FROM video_jobs WHERE wallet_address = $1 ORDER BY id", wallet)

    return read


@pytest.fixture
async def vendor(stack):
    """Turn the stand-in's knobs; at the end they are as they were."""
    async with httpx.AsyncClient(base_url=stack.env["SIMULATOR_URL"]) as client:
        before = (await client.get("/sim/config")).json()

        async def turn(**knobs):
            (await client.post("/sim/config", json=knobs)).raise_for_status()

        yield turn
        await turn(**{name: before[name] for name in ("refuse_all", "video_seconds", "outage_http_status")})


@pytest.fixture
def one_pixel():
    """A PNG image."""
    text = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
    return base64.b64decode(text)
