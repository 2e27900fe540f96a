"""The SQL of single jobs."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from reelgate_common import jobs
from reelgate_common.db import Connection
from reelgate_common.domain.job import Job


async def find_job(db: Connection, job_id: UUID, *, wallets: Sequence[str] | None) -> Job | None:
    """A job of one of these wallets (None: of any)."""
    row = await db.fetchrow(
        "SELECT * FROM video_jobs WHERE id = $1 AND ($2::text[] IS NULL OR wallet_address = ANY($2))", job_id, wallets
    )
    return jobs.as_job(row) if row else None


async def find_job_of_task(db: Connection, task_id: str, *, wallets: Sequence[str] | None) -> tuple[UUID, UUID] | None:
    """Job and attempt of a task we know, of one of these wallets."""
    row = await db.fetchrow(
        """
        SELECT j.id, a.id AS attempt_id
          FROM job_attempts a JOIN video_jobs j ON j.id = a.job_id
         WHERE a.task_id = $1 AND a.operation IN ('generate', 'extend')
           AND ($2::text[] IS NULL OR j.wallet_address = ANY($2))
        """,
        task_id,
        wallets,
    )
    return (row["id"], row["attempt_id"]) if row else None


async def request_cancel(tx: Connection, job_id: UUID) -> None:
    """Ask for a cancellation that is honoured if the send turns out not to have happened."""
    await tx.execute(
        "UPDATE video_jobs SET cancel_requested_at = coalesce(cancel_requested_at, now()) WHERE id = $1", job_id
    )


async def timeline(db: Connection, job_id: UUID) -> list[dict[str, Any]]:
    """Every entry of a job, oldest first."""
    rows = await db.fetch(
        "SELECT seq, at, event, status, service, attempt, reason FROM job_events WHERE job_id = $1 ORDER BY seq", job_id
    )
    return [dict(row) for row in rows]
