"""Every SQL statement of the submitter."""

from uuid import UUID

from reelgate_common import jobs
from reelgate_common.db import Connection
from reelgate_common.domain.job import Attempt, Job

# Any constant will do, so long as every submitter uses the same one.
_LIMITS_LOCK = 0x5EE1CA90


async def lock_fairest_due(tx: Connection) -> Job | None:
    """The due pending job whose wallet's turn it is, held until the transaction ends; None when there is none."""
    row = await tx.fetchrow(
        """
        SELECT * FROM video_jobs
         WHERE status = 'pending' AND next_attempt_at <= now() AND expires_at > now()
         ORDER BY turn, id
         LIMIT 1
           FOR UPDATE SKIP LOCKED
        """
    )
    return jobs.as_job(row) if row else None


async def add_attempt(
    tx: Connection, attempt_id: UUID, job_id: UUID, *, token_hash: bytes, vendor_cost: float = 0
) -> Attempt:
    """Record a call that is about to be made. The database refuses a second one that may be at Kie.ai.

    The task that an upgrade is asked about is known before its call is made.
    """
    row = await tx.fetchrow(
        """
        INSERT INTO job_attempts (id, job_id, n, operation, token_hash, vendor_cost, hinted_task_id)
        SELECT $1, $2, (SELECT coalesce(max(n), 0) + 1 FROM job_attempts WHERE job_id = $2), operation, $3, $4,
               CASE WHEN operation IN ('upgrade_1080p', 'upgrade_4k') THEN source_task_id END
          FROM video_jobs
         WHERE id = $2
        RETURNING *
        """,
        attempt_id,
        job_id,
        token_hash,
        vendor_cost,
    )
    return jobs.as_attempt(row)


async def lock_limits(tx: Connection) -> None:
    """Let one claim at a time count what is under way; held until the transaction ends."""
    await tx.execute("SELECT pg_advisory_xact_lock($1)", _LIMITS_LOCK)


async def count_in_flight(tx: Connection) -> int:
    """Jobs that are, or may be, at Kie.ai."""
    count: int = await tx.fetchval(
        "SELECT count(*) FROM video_jobs WHERE status IN ('submitting', 'unknown', 'processing')"
    )
    return count
