"""The SQL of operators' looks. Each statement ends after so many rows: none grows with history."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from reelgate_common import jobs
from reelgate_common.db import Connection
from reelgate_common.domain.job import Job


async def sends(db: Connection, *, window_seconds: float) -> dict[str, Any]:
    """What was sent within the window, the breaker, and our account at Kie.ai as last seen."""
    [row] = await db.fetch(
        """
        SELECT (SELECT count(*)::int FROM send_slots
                 WHERE used_at > clock_timestamp() - $1 * interval '1 s') AS in_window,
               paused_at IS NOT NULL AS is_paused,
               CASE WHEN failures > 0 THEN open_until END AS next_try_at,
               vendor_account.balance, vendor_account.balance_at
          FROM breaker, vendor_account
        """,
        window_seconds,
    )
    return dict(row)


async def history(db: Connection, *, since: UUID, bucket: timedelta, at_most: int) -> list[dict[str, Any]]:
    """The newest jobs by when they were accepted and the state they are in now."""
    rows = await db.fetch(
        """
        SELECT date_bin($2, created_at, 'epoch') AS at, status AS state, count(*)::int AS count,
               min(created_at) AS oldest_at
          FROM (SELECT created_at, status FROM video_jobs WHERE id >= $1 ORDER BY id DESC LIMIT $3) AS newest
         GROUP BY 1, 2
         ORDER BY 1, 2
        """,
        since,
        bucket,
        at_most,
    )
    return [dict(row) for row in rows]


async def outcomes(db: Connection, *, since: UUID, at_most: int) -> dict[str, int]:
    """What came of the newest sends."""
    rows = await db.fetch(
        """
        SELECT coalesce(outcome, 'under_way') AS outcome, count(*)::int AS count
          FROM (SELECT outcome FROM job_attempts WHERE id >= $1 ORDER BY id DESC LIMIT $2) AS newest
         GROUP BY 1
         ORDER BY 1
        """,
        since,
        at_most,
    )
    return {row["outcome"]: row["count"] for row in rows}


async def latency(db: Connection, *, since: UUID, at_most: int) -> list[dict[str, Any]]:
    """Percentiles of how long the newest videos waited, were made and took in all, in seconds."""
    rows = await db.fetch(
        """
        WITH newest AS MATERIALIZED (
            SELECT created_at, started_at, completed_at
              FROM video_jobs
             WHERE status = 'completed' AND id >= $1 AND started_at IS NOT NULL AND recovered_at IS NULL
             ORDER BY id DESC
             LIMIT $2
        ), taken AS (
            SELECT 1 AS place, 'waiting' AS step, started_at - created_at AS time FROM newest
             UNION ALL
            SELECT 2, 'making', completed_at - started_at FROM newest
             UNION ALL
            SELECT 3, 'whole', completed_at - created_at FROM newest
        )
        SELECT step, videos, found[1] AS p50, found[2] AS p95, found[3] AS p99
          FROM (SELECT place, step, count(*)::int AS videos,
                       percentile_cont('{0.5,0.95,0.99}'::float8[]) WITHIN GROUP (ORDER BY extract(epoch FROM time))
                           AS found
                  FROM taken GROUP BY place, step) AS summed
         ORDER BY place
        """,
        since,
        at_most,
    )
    return [dict(row) for row in rows]


async def callbacks(db: Connection, *, since: UUID, at_most: int) -> dict[str, int]:
    """Of the newest tasks that are over, how many Kie.ai never called us about."""
    [row] = await db.fetch(
        """
        SELECT count(*)::int AS finished,
               count(*) FILTER (WHERE NOT EXISTS (SELECT FROM callbacks WHERE attempt_id = ended.id))::int AS missing
          FROM (SELECT id FROM job_attempts
                 WHERE id >= $1 AND verdict IS NOT NULL AND operation IN ('generate', 'extend')
                 ORDER BY id DESC
                 LIMIT $2) AS ended
        """,
        since,
        at_most,
    )
    return dict(row)


async def find_job(db: Connection, job_id: UUID) -> Job | None:
    """One job, whoever's it is."""
    row = await db.fetchrow("SELECT * FROM video_jobs WHERE id = $1", job_id)
    return jobs.as_job(row) if row else None


async def find_by_task(db: Connection, task_id: str) -> Job | None:
    """The job one of whose sends Kie.ai gave this task."""
    row = await db.fetchrow(
        """
        SELECT * FROM video_jobs
         WHERE id = (SELECT job_id FROM job_attempts WHERE task_id = $1 AND operation IN ('generate', 'extend'))
        """,
        task_id,
    )
    return jobs.as_job(row) if row else None
