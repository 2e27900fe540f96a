"""The console as somebody uses it: things are found by what they are called, as a screen reader would find them."""

import asyncio
import base64
import contextlib

from browser import Browser
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

_TAGS = {
    "button": "button",
    "link": "a",
    "field": "input:not([type=radio]), textarea, select",
    "choice": "input[type=radio]",
    "heading": "h1, h2, h3",
    "picture": "svg[role=img]",
    "video": "video[controls]",
}


class Page:
    """A tab with the console in it."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.browser = browser
        self.driver = browser.driver
        self.url = f"{url}/console"

    async def open(self, place: str = "") -> None:
        await self.browser.open(f"{self.url}{place}")

    async def sign_in(self, key: str, *, wallet: str | None = None) -> None:
        await self.open()
        await self.write("API key", key + Keys.ENTER)
        await self.find("link", "Create")
        if wallet:
            await self.write("Wallet address", wallet + Keys.ENTER)

    async def find(self, kind: str, name: str, *, seconds: float = 20) -> WebElement:
        """Wait for something that can be seen and is called so."""
        seen: list[str] = []

        def look() -> WebElement | None:
            seen.clear()
            for element in self.driver.find_elements(By.CSS_SELECTOR, _TAGS[kind]):
                with contextlib.suppress(StaleElementReferenceException):
                    seen.append(element.accessible_name)
                    if seen[-1] == name and (kind == "choice" or element.is_displayed()):
                        return element
            return None

        return await self._until(look, lambda: f"no {kind} {name!r}, but {seen}", seconds)

    async def click(self, kind: str, name: str) -> None:
        """Click it once it can be: what a page has not read yet may hold a button back."""
        element = await self.find(kind, name)
        await self._until(element.is_enabled, lambda: f"{name!r} stays disabled: {self._text()}", 20)
        await asyncio.to_thread(element.click)

    async def write(self, name: str, text: str) -> None:
        field = await self.find("field", name)
        await asyncio.to_thread(lambda: (field.clear(), field.send_keys(text)))

    async def press(self, *keys: str) -> None:
        """Keys, to whatever has the focus."""
        await asyncio.to_thread(lambda: ActionChains(self.driver).send_keys(*keys).perform())

    async def tab_to(self, name: str, *, most: int = 60) -> None:
        """Go on with Tab until something called so has the focus, and shows that it has."""
        for _ in range(most):
            await self.press(Keys.TAB)
            focused = await asyncio.to_thread(lambda: self.driver.switch_to.active_element)
            if await asyncio.to_thread(lambda found=focused: found.accessible_name) == name:
                return
        raise AssertionError(f"Tab never came to {name!r}")

    async def says(self, *texts: str, seconds: float = 30) -> str:
        """Wait until all of this can be read; the text of the whole page."""

        def look() -> str | None:
            text = self.driver.find_element(By.TAG_NAME, "body").text
            return text if all(part in text for part in texts) else None

        return await self._until(look, lambda: f"{texts} is not said: {self._text()}", seconds)

    async def tells(self, text: str) -> None:
        """Wait until this is told to those who listen."""
        await self._until(
            lambda: text in self.driver.find_element(By.ID, "announcer").get_attribute("textContent"),
            lambda: f"{text!r} is not told: {self._text()}",
            30,
        )

    async def until(self, script: str, *arguments):
        """Wait until a script returns something true; what it returns."""

        def look():
            return self.driver.execute_script(f"return {script}", *arguments)

        return await self._until(look, lambda: f"never: {script}\n{self._text()}", 30)

    async def _until(self, look, explain, seconds):
        try:
            async with asyncio.timeout(seconds):
                while True:
                    with contextlib.suppress(StaleElementReferenceException):
                        if found := await asyncio.to_thread(look):
                            return found
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(await asyncio.to_thread(explain)) from None

    def _text(self) -> str:
        return f"{self.driver.find_element(By.TAG_NAME, 'body').text}\n{self.driver.get_log('browser')}"

    async def look(self, *, width: int = 1360, height: int = 950, dark: bool = False) -> None:
        """Another screen."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        await self._tell("Emulation.setDeviceMetricsOverride", **metrics)
        await self._tell("Emulation.setEmulatedMedia", features=[scheme, still])

    async def _tell(self, command: str, **arguments):
        return await asyncio.to_thread(self.driver.execute_cdp_cmd, command, arguments)

    async def picture(self) -> bytes:
        """The whole page as it looks."""
        with contextlib.suppress(WebDriverException):
            size = await self.browser.run("return [innerWidth, document.documentElement.scrollHeight]")
            clip = {"x": 0, "y": 0, "width": size[0], "height": min(size[1], 3000), "scale": 1}
            taken = await self._tell("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
            return base64.b64decode(taken["data"])
        return b""
