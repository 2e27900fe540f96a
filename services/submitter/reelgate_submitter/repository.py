"""Every SQL statement of the submitter."""

from uuid import UUID

from reelgate_common import jobs
from reelgate_common.db import Connection
from reelgate_common.domain.job import Attempt


async def ensure_slots(tx: Connection, count: int) -> None:
    """One row for each send that the vendor's window allows."""
    await tx.execute("INSERT INTO send_slots (n) SELECT generate_series(1, $1) ON CONFLICT DO NOTHING", count)


async def lock_fairest_due(tx: Connection) -> UUID | None:
    """The due pending job whose wallet's turn it is, held until the transaction ends; None when there is none."""
    job_id: UUID | None = await tx.fetchval(
        """
        SELECT id FROM video_jobs
         WHERE status = 'pending' AND next_attempt_at <= now()
         ORDER BY turn, id
         LIMIT 1
           FOR UPDATE SKIP LOCKED
        """
    )
    return job_id


async def take_slot(tx: Connection, *, count: int, window_seconds: float) -> float:
    """Take one send of the vendor's window: 0 when taken, else the seconds until one is free."""
    taken = await tx.fetchval(
        """
        UPDATE send_slots SET used_at = clock_timestamp()
         WHERE n = (SELECT n FROM send_slots
                     WHERE n <= $1 AND used_at <= clock_timestamp() - $2 * interval '1 s'
                     ORDER BY used_at
                     LIMIT 1
                       FOR UPDATE SKIP LOCKED)
        RETURNING true
        """,
        count,
        window_seconds,
    )
    if taken:
        return 0
    wait: float | None = await tx.fetchval(
        """
        SELECT extract(epoch FROM min(used_at) - clock_timestamp())::float8 + $2 FROM send_slots WHERE n <= $1
        """,
        count,
        window_seconds,
    )
    return max(wait or 0, 0.005)  # a row locked by another submitter frees itself within milliseconds


async def add_attempt(tx: Connection, attempt_id: UUID, job_id: UUID, *, token_hash: bytes) -> Attempt:
    """Record a call that is about to be made. The database refuses a second one that may be at Kie.ai."""
    row = await tx.fetchrow(
        """
        INSERT INTO job_attempts (id, job_id, n, token_hash)
        SELECT $1, $2, coalesce(max(n), 0) + 1, $3 FROM job_attempts WHERE job_id = $2
        RETURNING *
        """,
        attempt_id,
        job_id,
        token_hash,
    )
    return jobs.as_attempt(row)
