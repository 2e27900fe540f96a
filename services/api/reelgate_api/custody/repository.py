"""Every SQL statement about the files of videos."""

from dataclasses import dataclass
from uuid import UUID

from reelgate_common import jobs
from reelgate_common.db import Connection
from reelgate_common.domain.job import Job


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A file in the bucket."""

    size: int
    sha256: bytes


async def find_kept(db: Connection, job_id: UUID) -> Kept | None:
    """The file of a job's video in the bucket."""
    row = await db.fetchrow("SELECT bytes AS size, sha256 FROM videos WHERE job_id = $1 AND state = 'kept'", job_id)
    return Kept(**row) if row else None


async def find_linked(db: Connection, job_id: UUID) -> Job | None:
    """A job that has a link of its own, whoever's it is."""
    row = await db.fetchrow("SELECT * FROM video_jobs WHERE id = $1 AND video_link IS NOT NULL", job_id)
    return jobs.as_job(row) if row else None
