"""When it is worth asking for a job again, as every API process knows it without looking anything up."""

import asyncio
import math
from datetime import UTC, datetime

import structlog

from reelgate_api.jobs import repository
from reelgate_common.db import Database
from reelgate_common.domain.errors import Unavailable
from reelgate_common.domain.job import Job, JobStatus, Operation

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 10.0
_NEWEST = 1000  # videos that tell what is usual
_ENOUGH = 3  # of a kind
_UNKNOWN_SECONDS = 2  # until enough were seen; the guide's script and hook poll this often
_MOST_SECONDS = 30
_SENT_A_SECOND = 2  # the vendor's window
_STEPS = 4  # the share of what is left that is waited: some ten questions until the video is there
_LATE_STEPS = 20  # the share of what it took so far, when it takes longer than usual


class Pace:
    """How long videos took lately, by model and operation."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._usual: dict[tuple[str, Operation], float] = {}

    def retry_after(self, model: str, operation: Operation) -> int:
        """Seconds until a job just accepted is worth a look."""
        usual = self._usual.get((model, operation))
        return _UNKNOWN_SECONDS if usual is None else _bounded(usual / _STEPS)

    def retry_after_of(self, job: Job, *, position: int | None) -> int:
        """Seconds until a job that is not over is worth another look: few when it should be done soon."""
        usual = self._usual.get((job.model, job.operation))
        if job.status is JobStatus.PENDING or job.started_at is None:
            wait = (position or 0) / _SENT_A_SECOND
            return _bounded(max((wait + (usual or 0)) / _STEPS, _UNKNOWN_SECONDS if usual is None else 0))
        if usual is None:
            return _UNKNOWN_SECONDS
        ran = (datetime.now(UTC) - job.started_at).total_seconds()
        return _bounded(max((usual - ran) / _STEPS, ran / _LATE_STEPS))

    async def look(self) -> None:
        """Look once. Unavailable when the database is away."""
        async with self._db.connection() as connection:
            self._usual = await repository.usual_seconds(connection, newest=_NEWEST, at_least=_ENOUGH)

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            try:
                await self.look()
            except Unavailable as error:
                log.warning("pace_put_off", error=str(error))
            await asyncio.sleep(_LOOK_SECONDS)


def _bounded(seconds: float) -> int:
    return min(max(math.ceil(seconds), 1), _MOST_SECONDS)
