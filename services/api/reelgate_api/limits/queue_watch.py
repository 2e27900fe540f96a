"""The brake: whether too many jobs wait, as every API process knows it without asking for each request."""

import asyncio
import time

import structlog

from reelgate_api.limits import repository
from reelgate_common.db import Database
from reelgate_common.domain.errors import Unavailable

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 1.0
_REST = 20  # times as long as a look took: counting a long queue takes at most a twentieth of the time


class QueueWatch:
    """The queue as it stood a second or so ago: a brake, which some jobs may slip past, and not a promise."""

    def __init__(self, db: Database, *, max_queued: int) -> None:
        self._db = db
        self._max_queued = max_queued
        self.is_full = False

    async def look(self) -> None:
        """Look once. Unavailable when the database is away."""
        async with self._db.connection() as connection:
            was_full = self.is_full
            self.is_full = await repository.count_queued(connection, at_most=self._max_queued) >= self._max_queued
        if self.is_full and not was_full:
            log.warning("queue_limit_reached", max_queued=self._max_queued)
        elif was_full and not self.is_full:
            log.warning("queue_limit_passed", max_queued=self._max_queued)

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            began = time.monotonic()
            try:
                await self.look()
            except Unavailable as error:
                log.warning("queue_watch_put_off", error=str(error))
            await asyncio.sleep(max(_LOOK_SECONDS, _REST * (time.monotonic() - began)))
