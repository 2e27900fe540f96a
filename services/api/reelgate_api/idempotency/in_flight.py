"""Repeats of a request that is still under way in this process."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from reelgate_common.domain.errors import StillUnderWay

T = TypeVar("T")

# As long as PostgreSQL waits for a lock: a repeat that came to another process is told at the same time.
_PATIENCE_SECONDS = 5


class InFlight(Generic[T]):
    """One request for each key of an owner at a time; its repeats wait for what it comes to.

    This saves work and decides nothing: they hold no database connection meanwhile, and a thousand of them cost
    one statement. Between processes the primary key of `idempotency_keys` decides.
    """

    def __init__(self, *, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        self._patience = patience_seconds
        self._under_way: dict[tuple[str, str], asyncio.Future[T | None]] = {}

    async def first(self, owner: str, key: str, act: Callable[[], Awaitable[T]], *, repeat: Callable[[T], T]) -> T:
        """What `act` comes to, or `repeat` of what an earlier one under the same key came to meanwhile.

        After an earlier one that failed the next acts itself. StillUnderWay when the wait gets long.
        """
        loop = asyncio.get_running_loop()
        patient_until = loop.time() + self._patience
        while earlier := self._under_way.get((owner, key)):
            done, _ = await asyncio.wait([earlier], timeout=max(0.0, patient_until - loop.time()))
            if not done:
                raise StillUnderWay
            if (came_to := earlier.result()) is not None:
                return repeat(came_to)
        mine = self._under_way[owner, key] = loop.create_future()
        result = None
        try:
            result = await act()
        finally:
            del self._under_way[owner, key]
            mine.set_result(result)
        return result
