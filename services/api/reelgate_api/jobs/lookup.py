"""Single jobs, looked up for all that ask at the same time."""

from collections.abc import Sequence
from uuid import UUID

from reelgate_api.jobs import repository
from reelgate_common.auth import Caller
from reelgate_common.batches import Batches
from reelgate_common.db import Database
from reelgate_common.domain.errors import NotFound
from reelgate_common.domain.job import Job


class Lookup:
    """Looks jobs up. Nothing is kept: an answer is of a query that began after it was asked for."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._jobs = Batches(self._find, name="jobs")

    async def get(self, job_id: UUID, *, caller: Caller) -> Job:
        """A job of the caller; NotFound also for other people's."""
        job = await self._jobs(job_id)
        if job is None or not caller.may_use(job.wallet_address):
            raise NotFound("Job not found")
        return job

    async def _find(self, ids: Sequence[UUID]) -> list[Job | None]:
        async with self._db.connection() as connection:
            found = await repository.find_jobs(connection, set(ids))
        return [found.get(one) for one in ids]
