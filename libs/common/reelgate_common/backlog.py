"""How much is not done yet. Each count ends after so many rows: none grows with history."""

from collections.abc import Sequence
from typing import Any

from reelgate_common.db import Connection
from reelgate_common.domain.job import JobStatus

OPEN = (JobStatus.PENDING, JobStatus.SUBMITTING, JobStatus.PROCESSING, JobStatus.UNKNOWN)
MOST_COUNTED = 10_000


async def standing(db: Connection, states: Sequence[JobStatus], *, at_most: int) -> list[dict[str, Any]]:
    """How many jobs are in each of these states, counted so far, and when the oldest of them was accepted.

    Said as a range of (status, id), so that only the index of that order will do: with `status = state` the planner
    may look through all of history for a state that is rare.
    """
    rows = await db.fetch(
        """
        SELECT state, found.*,
               coalesce(extract(epoch FROM now() - found.oldest_at), 0)::float8 AS oldest_seconds
          FROM unnest($1::text[]) AS states(state)
               CROSS JOIN LATERAL (
               SELECT count(*)::int AS count, min(created_at) AS oldest_at
                 FROM (SELECT created_at FROM video_jobs
                        WHERE (status, id) >= (state, '00000000-0000-0000-0000-000000000000'::uuid)
                          AND (status, id) <= (state, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
                        ORDER BY status, id
                        LIMIT $2) AS of_state) AS found
        """,
        list(states),
        at_most,
    )
    return [dict(row) for row in rows]


async def waiting(db: Connection, *, at_most: int) -> dict[str, Any]:
    """Refunds and messages that are not out yet, counted so far."""
    [row] = await db.fetch(
        """
        SELECT (SELECT count(*)::int
                  FROM (SELECT FROM video_jobs
                         WHERE status IN ('failed', 'canceled') AND refunded_at IS NULL LIMIT $1) AS due
               ) AS refunds_due,
               (SELECT count(*)::int FROM (SELECT FROM outbox LIMIT $1) AS rows) AS outbox
        """,
        at_most,
    )
    return dict(row)


async def due(db: Connection, *, at_most: int) -> dict[str, Any]:
    """What is due and late: how long the oldest of each kind waits, in seconds (0: none does), and how many do."""
    [row] = await db.fetch(
        """
        SELECT coalesce(extract(epoch FROM now() - (
                   SELECT min(completed_at) FROM video_jobs
                    WHERE status IN ('failed', 'canceled') AND refunded_at IS NULL)), 0)::float8 AS oldest_refund,
               coalesce(extract(epoch FROM now() - (
                   SELECT min(available_at) FROM outbox WHERE available_at <= now())), 0)::float8 AS oldest_message,
               (SELECT count(*)::int FROM (
                   SELECT FROM outbox WHERE available_at <= now() LIMIT $1) AS due) AS messages,
               (SELECT count(*)::int FROM (
                   SELECT FROM webhook_deliveries
                    WHERE state = 'pending' AND next_attempt_at <= now() LIMIT $1) AS due) AS webhooks
        """,
        at_most,
    )
    return dict(row)
