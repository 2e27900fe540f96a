"""A real browser: Debian's Chromium, driven through its own driver. Installed where it is missing and may be."""

import asyncio
import contextlib
import fcntl
import shutil
import tempfile
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.common.by import By

from reelgate_local import apt
from reelgate_local.errors import LocalError

_LOCK = Path(tempfile.gettempdir()) / "reelgate-test-programs.lock"


def need(programs: dict[str, str]) -> None:
    """Skip unless these programs are here, or Debian's packages of them can be installed: program → package."""
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the workers of one run want the same
        missing = {program: package for program, package in programs.items() if shutil.which(program) is None}
        if missing and apt.can_install():
            with contextlib.suppress(LocalError):  # no network, or not in this release
                apt.install(sorted(set(missing.values())), print)
                return
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}: install {' '.join(sorted(set(missing.values())))}")


class Browser:
    """One browser; each test opens a tab of its own. Its calls wait in threads, so that proxies here go on."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    @contextlib.asynccontextmanager
    async def tab(self):
        """A new tab, which shares no session storage with others; closed at the end."""
        await asyncio.to_thread(self._new_tab)
        try:
            yield self
        finally:
            await asyncio.to_thread(self._close_tab)

    def _new_tab(self) -> None:
        self.home = self.driver.current_window_handle
        self.driver.switch_to.new_window("tab")

    def _close_tab(self) -> None:
        self.driver.close()
        self.driver.switch_to.window(self.home)

    async def open(self, url: str) -> None:
        await asyncio.to_thread(self.driver.get, url)

    async def reload(self) -> None:
        await asyncio.to_thread(self.driver.refresh)

    async def run(self, script: str, *arguments):
        """What a script returns."""
        return await asyncio.to_thread(self.driver.execute_script, script, *arguments)

    async def click(self, selector: str) -> None:
        await asyncio.to_thread(lambda: self.driver.find_element(By.CSS_SELECTOR, selector).click())

    async def text(self, selector: str) -> str | None:
        """What an element says; None while there is none."""

        def read() -> str | None:
            found = self.driver.find_elements(By.CSS_SELECTOR, selector)
            with contextlib.suppress(StaleElementReferenceException):
                return found[0].get_attribute("textContent") if found else None
            return None

        return await asyncio.to_thread(read)

    async def shows(self, selector: str, text: str | None = None, *, seconds: float = 30) -> str:
        """Wait until an element is there, or says this; what it says."""
        seen = None
        try:
            async with asyncio.timeout(seconds):
                while True:
                    seen = await self.text(selector)
                    if seen is not None and (seen == text or (text is None and seen)):
                        return seen
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{selector} says {seen!r}, not {text!r}: {self._said()}") from None

    def _said(self) -> str:
        return f"{self.driver.find_element(By.TAG_NAME, 'body').text}\n{self.driver.get_log('browser')}"


@contextlib.contextmanager
def chromium():
    """A headless browser until the end of the block; skips where there is none and none can be had."""
    need({"chromium": "chromium", "chromedriver": "chromium-driver"})
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "window-size=1280,900"):
        options.add_argument(f"--{argument}")  # as root there is no sandbox, and in containers /dev/shm is small
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    try:
        driver = webdriver.Chrome(options=options, service=service)
    except WebDriverException as error:
        pytest.skip(f"Chromium does not start here: {error.msg}")
    try:
        yield Browser(driver)
    finally:
        driver.quit()
