"""Every SQL statement of the reconciler. Each is served by a partial index, so none grows with history."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from reelgate_common.db import Connection
from reelgate_common.domain.job import JobStatus

# What a pass takes is left alone by others for this long: if it crashes, another takes it then.
_PASS_SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class DueCheck:
    """A task to ask record-info about."""

    job_id: UUID
    attempt_id: UUID
    task_id: str


@dataclass(frozen=True, kw_only=True)
class Overdue:
    """A job whose present state has lasted too long, as it was when it was found."""

    id: UUID
    status: JobStatus
    attempt_id: UUID | None
    task_id: str | None  # the job's own, or one that a webhook with the right token named


async def take_due_checks(
    db: Connection, *, limit: int, late_check_days: float, interval_seconds: float
) -> list[DueCheck]:
    """Take jobs whose task is due to be asked about, and put their next check off.

    One that was asked about less than the interval ago, by whomever, is left for later (`verification.may_ask`).

    The task is the job's own, else one that a webhook with the right token named. A job with neither, and a
    failed one older than the vendor's memory, is not asked about any more.
    """
    rows = await db.fetch(
        """
        WITH due AS (
            SELECT id, status = 'failed' AND completed_at < now() - $2::interval AS too_old
              FROM video_jobs
             WHERE next_check_at <= now()
               AND (last_checked_at IS NULL OR last_checked_at <= now() - $4 * interval '1 s')
             ORDER BY next_check_at
             LIMIT $1
               FOR UPDATE SKIP LOCKED
        ), named AS (
            SELECT DISTINCT ON (due.id) due.id, a.id AS attempt_id, coalesce(a.task_id, a.hinted_task_id) AS task_id
              FROM due JOIN video_jobs job USING (id) JOIN job_attempts a ON a.job_id = due.id
             WHERE NOT due.too_old AND coalesce(a.task_id, a.hinted_task_id) IS NOT NULL AND a.verdict IS NULL
             ORDER BY due.id, a.id = job.attempt_id DESC, a.n DESC
        ), put_off AS (
            UPDATE video_jobs
               SET next_check_at = CASE WHEN id IN (SELECT id FROM named) THEN now() + $3 * interval '1 s' END,
                   last_checked_at = now()
             WHERE id IN (SELECT id FROM due)
        )
        SELECT id AS job_id, attempt_id, task_id FROM named
        """,
        limit,
        timedelta(days=late_check_days),
        float(_PASS_SECONDS),
        interval_seconds,
    )
    return [DueCheck(**row) for row in rows]


async def take_overdue(db: Connection, *, limit: int) -> list[Overdue]:
    """Take jobs whose deadline has passed, and put it off while they are dealt with."""
    rows = await db.fetch(
        """
        UPDATE video_jobs SET deadline_at = now() + $2 * interval '1 s'
         WHERE id IN (SELECT id FROM video_jobs
                       WHERE deadline_at <= now()
                       ORDER BY deadline_at
                       LIMIT $1
                         FOR UPDATE SKIP LOCKED)
        RETURNING id, status, attempt_id,
                  coalesce(task_id, (SELECT hinted_task_id FROM job_attempts a WHERE a.id = attempt_id)) AS task_id
        """,
        limit,
        float(_PASS_SECONDS),
    )
    return [Overdue(**{**row, "status": JobStatus(row["status"])}) for row in rows]


async def supersede(tx: Connection, attempt_id: UUID) -> bool:
    """Give an unknown attempt up, so that the job may be sent again; False when one was given up before."""
    row = await tx.fetchrow(
        """
        UPDATE job_attempts AS attempt SET superseded_at = now()
         WHERE id = $1 AND superseded_at IS NULL
           AND NOT EXISTS (SELECT FROM job_attempts other
                            WHERE other.job_id = attempt.job_id AND other.superseded_at IS NOT NULL)
        RETURNING id
        """,
        attempt_id,
    )
    return row is not None


async def find_unrefunded(db: Connection, *, limit: int) -> list[UUID]:
    """Jobs that are over without a video and without their refund."""
    rows = await db.fetch(
        """
        SELECT id FROM video_jobs
         WHERE status IN ('failed', 'canceled') AND refunded_at IS NULL
         ORDER BY completed_at
         LIMIT $1
        """,
        limit,
    )
    return [row["id"] for row in rows]


async def delete_callbacks(tx: Connection, *, older_than: timedelta, limit: int) -> int:
    """Delete webhooks nobody asks about any more; return how many."""
    rows = await tx.fetch(
        """
        DELETE FROM callbacks
         WHERE id IN (SELECT id FROM callbacks WHERE received_at < now() - $1::interval ORDER BY received_at LIMIT $2)
        RETURNING id
        """,
        older_than,
        limit,
    )
    return len(rows)


async def delete_webhook_deliveries(tx: Connection, *, older_than: timedelta, limit: int) -> int:
    """Delete outgoing webhooks with their attempts, whatever became of them; return how many."""
    rows = await tx.fetch(
        """
        DELETE FROM webhook_deliveries
         WHERE id IN (SELECT id FROM webhook_deliveries
                       WHERE created_at < now() - $1::interval ORDER BY created_at LIMIT $2)
        RETURNING id
        """,
        older_than,
        limit,
    )
    return len(rows)


async def delete_idempotency_keys(tx: Connection, *, older_than: timedelta, limit: int) -> int:
    """Delete keys that are old and whose job, if they made one, is over or gone; return how many."""
    rows = await tx.fetch(
        """
        DELETE FROM idempotency_keys
         WHERE (owner, key) IN (
            SELECT owner, key FROM idempotency_keys LEFT JOIN video_jobs ON video_jobs.id = job_id
             WHERE idempotency_keys.created_at < now() - $1::interval
               AND (video_jobs.id IS NULL OR video_jobs.status IN ('completed', 'failed', 'canceled'))
             ORDER BY idempotency_keys.created_at
             LIMIT $2)
        RETURNING key
        """,
        older_than,
        limit,
    )
    return len(rows)


async def delete_rate_limits(db: Connection, *, limit: int) -> int:
    """Delete the rows of keys and wallets that did not ask for a minute; return how many. Waits for nobody's."""
    rows = await db.fetch(
        """
        DELETE FROM rate_limits
         WHERE subject IN (SELECT subject FROM rate_limits WHERE full_at < now() LIMIT $1 FOR UPDATE SKIP LOCKED)
        RETURNING subject
        """,
        limit,
    )
    return len(rows)


async def delete_blind_requests(tx: Connection, *, older_than: timedelta, limit: int) -> int:
    """Delete what no client repeats any more; return how many."""
    rows = await tx.fetch(
        """
        DELETE FROM blind_requests
         WHERE job_id IN (
            SELECT job_id FROM blind_requests WHERE seen_at < now() - $1::interval ORDER BY seen_at LIMIT $2)
        RETURNING job_id
        """,
        older_than,
        limit,
    )
    return len(rows)


async def delete_sessions(tx: Connection, *, limit: int) -> int:
    """Delete sessions that are over; return how many."""
    rows = await tx.fetch(
        """
        DELETE FROM sessions
         WHERE token_hash IN (SELECT token_hash FROM sessions WHERE expires_at < now() ORDER BY expires_at LIMIT $1)
        RETURNING token_hash
        """,
        limit,
    )
    return len(rows)
