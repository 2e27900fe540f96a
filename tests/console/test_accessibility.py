"""What axe-core, which knows the rules of WCAG, finds on each page, light and dark."""

import asyncio
import subprocess
from pathlib import Path

import browser as browsers
import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def axe():
    """Its script, as the lock beside this file names it."""
    browsers.need({"node": "nodejs", "npm": "npm"})
    done = subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return (HERE / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture
def faults(page, axe):
    """What is wrong with the page as it stands, in both schemes."""

    async def find():
        found = []
        for dark in (False, True):
            await page.look(dark=dark)
            await page.browser.run(axe)
            script = "axe.run().then((told) => arguments[0](told.violations.map((one) => [one.id, one.nodes[0].html])))"
            found += await asyncio.to_thread(page.driver.execute_async_script, script)
        return found

    return find


async def test_signing_in_can_be_used_by_everybody(page, faults):
    await page.open()
    await page.find("button", "Sign in")

    assert await faults() == []


@pytest.mark.parametrize(("prompt", "end"), [("A clock", "Open the file"), ("Something sim:policy", "given back.")])
async def test_making_a_video_can_be_used_by_everybody(page, stack, wallet, faults, prompt, end):
    await page.sign_in(stack.env["API_KEY"], wallet=wallet)
    await page.says("4 credits")
    await page.write("What shall it show?", prompt)
    await page.click("button", "Create video")
    await page.says(end)
    await page.browser.click(".story summary")
    await page.says("submitted")

    assert await faults() == []


@pytest.mark.parametrize("title", ["Wallet", "Operations"])
async def test_every_other_page_can_be_used_by_everybody(page, stack, wallet, faults, title):
    async with stack.client() as client:
        await stack.reached(await stack.create(client, "A clock", wallet), "completed")
    await page.sign_in(stack.env["ADMIN_KEY"], wallet=wallet)
    await page.click("link", title)
    await page.says("Ledger" if title == "Wallet" else "How long it takes", "Video" if title == "Wallet" else "Ready")

    assert await faults() == []
