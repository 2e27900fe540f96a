"""Values that are looked up for everybody at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """A value as it stood at most so long ago: ten open pages cost as much as one."""

    def __init__(self, look: Callable[[], Awaitable[T]], *, seconds: float) -> None:
        self._look = look
        self._seconds = seconds
        self._lock = asyncio.Lock()
        self._found: tuple[float, T] | None = None

    async def get(self) -> T:
        """The value; looked up when it is too old. What fails is not kept."""
        async with self._lock:
            if self._found is None or time.monotonic() - self._found[0] > self._seconds:
                self._found = time.monotonic(), await self._look()
            return self._found[1]

    def forget(self) -> None:
        """Look anew the next time."""
        self._found = None
