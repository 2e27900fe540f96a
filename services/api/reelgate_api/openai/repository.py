"""Every SQL statement of the OpenAI format."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from reelgate_common import jobs
from reelgate_common.db import Connection
from reelgate_common.domain.job import FINAL, Job


async def find_video(
    db: Connection, job_id: UUID, *, wallets: Sequence[str] | None, also_hidden: bool = False
) -> Job | None:
    """A job of one of these wallets (None: of any) that was not deleted."""
    row = await db.fetchrow(
        """
        SELECT * FROM video_jobs
         WHERE id = $1 AND ($2::text[] IS NULL OR wallet_address = ANY($2)) AND ($3 OR hidden_at IS NULL)
        """,
        job_id,
        wallets,
        also_hidden,
    )
    return jobs.as_job(row) if row else None


async def hide(tx: Connection, job_id: UUID) -> bool:
    """Delete a finished video from view; False when it is not finished, or deleted already."""
    return bool(
        await tx.fetchval(
            """
            UPDATE video_jobs SET hidden_at = now()
             WHERE id = $1 AND hidden_at IS NULL AND status = ANY($2)
            RETURNING true
            """,
            job_id,
            list(FINAL),
        )
    )


async def lock_same(tx: Connection, owner: str, request_hash: bytes, *, alone: bool) -> None:
    """Hold back the retries of this request until the transaction ends, and with `alone` everything like it."""
    if alone:
        await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", owner + request_hash.hex())
    else:
        await tx.execute("SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 0))", owner + request_hash.hex())


async def match_retry(tx: Connection, owner: str, request_hash: bytes, *, retry: int, within: timedelta) -> UUID | None:
    """The job of the request that is repeated: the newest equal one, first of those no such retry was answered with."""
    job_id: UUID | None = await tx.fetchval(
        """
        UPDATE blind_requests SET retry = greatest(retry, $3), seen_at = clock_timestamp()
         WHERE job_id = (
            SELECT job_id FROM blind_requests
             WHERE owner = $1 AND request_hash = $2 AND seen_at > clock_timestamp() - $4::interval
             ORDER BY retry < $3 DESC, job_id DESC
             LIMIT 1)
        RETURNING job_id
        """,
        owner,
        request_hash,
        retry,
        within,
    )
    return job_id


async def match_late_original(tx: Connection, owner: str, request_hash: bytes, *, waited: timedelta) -> UUID | None:
    """The job that a retry made while the request it repeats was here already, waiting for so long."""
    job_id: UUID | None = await tx.fetchval(
        """
        UPDATE blind_requests SET original_came = true
         WHERE job_id = (
            SELECT job_id FROM blind_requests
             WHERE owner = $1 AND request_hash = $2 AND NOT original_came
               AND created_at > clock_timestamp() - $3::interval
             ORDER BY job_id
             LIMIT 1
               FOR UPDATE SKIP LOCKED)
        RETURNING job_id
        """,
        owner,
        request_hash,
        waited,
    )
    return job_id


async def remember(tx: Connection, job_id: UUID, owner: str, request_hash: bytes, *, retry: int) -> None:
    """Keep what was asked for, so that its repetition is known."""
    await tx.execute(
        """
        INSERT INTO blind_requests (job_id, owner, request_hash, retry, original_came)
        VALUES ($1, $2, $3, $4, $4 = 0)
        ON CONFLICT DO NOTHING
        """,
        job_id,
        owner,
        request_hash,
        retry,
    )
