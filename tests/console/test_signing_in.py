"""Who may use the console, and what becomes of the credential."""

import asyncio
import json
from contextlib import suppress

from selenium.webdriver.common.keys import Keys
from wallet import Wallet

_ETHEREUM = """
window.ethereum = {
  request: ({ method, params }) => ({
    eth_requestAccounts: () => Promise.resolve([ADDRESS]),
    eth_chainId: () => Promise.resolve("0x1"),
    personal_sign: () => new Promise((resolve) => { window.toSign = { text: params[0], resolve }; }),
  })[method](),
};
"""


async def test_the_key_is_kept_in_the_tab_and_nowhere_else(page, stack, wallet):
    key = stack.env["API_KEY"]
    await page.sign_in(key, wallet=wallet)
    await page.open("#/wallet")

    kept = await page.browser.run(
        """
        const stores = [sessionStorage, localStorage].map((store) => JSON.stringify({ ...store }));
        return [...stores, document.cookie, location.href];
        """
    )

    assert [key in where for where in kept] == [True, False, False, False]
    assert key not in await page.browser.run("return document.documentElement.outerHTML")


async def test_whoever_signs_out_leaves_nothing_behind(page, stack, wallet):
    await page.sign_in(stack.env["API_KEY"], wallet=wallet)

    await page.click("button", "Sign out")

    await page.find("heading", "Sign in to Reelgate")
    assert await page.browser.run("return sessionStorage.length") == 0


async def test_a_wrong_key_is_told_so_and_can_be_mended(page, stack):
    await page.open()
    await page.write("API key", "rg_live_wrong" + Keys.ENTER)
    await page.says("This key is unknown, revoked or expired.")

    await page.write("API key", stack.env["API_KEY"] + Keys.ENTER)

    await page.find("button", "Create video")


async def test_who_stays_signed_in_over_a_reload_is_asked_again_once_the_key_is_revoked(page, admin, wallet):
    made = (await admin.post("/api/keys", json={"name": "t", "scopes": ["jobs"], "wallets": [wallet]})).json()
    await page.sign_in(made["key"])
    await page.browser.reload()
    await page.says(wallet)  # the key's one wallet needs no choice

    await admin.delete(f"/api/keys/{made['id']}")
    with suppress(AssertionError):  # no such link: a question of the page's own was refused first
        await page.click("link", "Wallet")

    await page.says("Sign in again.")


async def test_a_key_that_may_only_look_makes_no_video(page, admin, wallet):
    body = {"name": "t", "scopes": ["read"], "wallets": [wallet]}
    await page.sign_in((await admin.post("/api/keys", json=body)).json()["key"])

    await page.says("This key may look, but not make videos.")

    button = await page.find("button", "Create video")
    assert not await asyncio.to_thread(button.is_enabled)


async def test_a_wallet_in_the_browser_signs_in(page):
    owner = Wallet(7)
    script = _ETHEREUM.replace("ADDRESS", json.dumps(owner.address.lower()))
    added = await page._tell("Page.addScriptToEvaluateOnNewDocument", source=script)
    await page.open()
    await page.click("button", "Sign in with your wallet")

    text = await page.until("window.toSign?.text")
    message = bytes.fromhex(text.removeprefix("0x")).decode()
    await page.browser.run("window.toSign.resolve(arguments[0])", owner.sign(message))

    await page.says(owner.address)
    assert await page.find("button", "Create video")
    await page._tell("Page.removeScriptToEvaluateOnNewDocument", identifier=added["identifier"])
