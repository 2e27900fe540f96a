"""What every API process knows of the breaker and a pause, so that no request has to ask for it."""

import asyncio

import structlog

from reelgate_common import breaker
from reelgate_common.breaker import Trouble
from reelgate_common.db import Database
from reelgate_common.domain.errors import Unavailable

log = structlog.get_logger(__name__)

# Said to callers; the operator's own words for it are in /readyz and in the logs.
NOTICE = "Nothing is sent to Kie.ai at the moment. Your job is kept, and sent as soon as that is over."
_LOOK_SECONDS = 1.0


class VendorWatch:
    """The breaker as it stood a second ago."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.trouble: Trouble | None = None

    @property
    def notice(self) -> str | None:
        """What a caller whose job waits should know; None when nothing is wrong."""
        return NOTICE if self.trouble else None

    async def look(self) -> None:
        """Look once. Unavailable when the database is away."""
        async with self._db.connection() as connection:
            self.trouble = await breaker.trouble(connection)

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            try:
                await self.look()
            except Unavailable as error:
                log.warning("vendor_watch_put_off", error=str(error))
            await asyncio.sleep(_LOOK_SECONDS)
