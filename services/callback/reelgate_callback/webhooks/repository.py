"""Every SQL statement about sending webhooks."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from reelgate_callback.webhooks.receiver import Answer
from reelgate_common.db import Connection
from reelgate_common.webhooks import DISABLED, Target


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A webhook to be sent now."""

    id: UUID
    endpoint_id: UUID
    job_id: UUID | None
    url: str
    body: str
    attempts: int  # this one included
    tries: int  # in the present schedule, this one included
    secrets: list[str]
    traceparent: str | None  # of the request that made the job


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One that was given up."""

    id: UUID
    key_id: UUID
    url: str
    disabled_at: datetime
    disabled_reason: str
    failing_since: datetime | None


async def take(
    db: Connection, *, limit: int, busy: Mapping[UUID, int], per_endpoint: int, lease: timedelta
) -> list[Delivery]:
    """Take deliveries that are due, in turn of endpoints, and put their next attempt off.

    `busy` is how many of an endpoint's this process has in hand: whoever has fewest comes first, so that a
    receiver that is slow, or has thousands waiting, delays its own. A taker that dies leaves a delivery to
    others when the lease is over.
    """
    rows = await db.fetch(
        """
        WITH open AS (
            SELECT e.id, coalesce(busy.count, 0) AS busy
              FROM webhook_endpoints e
              JOIN api_keys k ON k.id = e.key_id
              LEFT JOIN unnest($2::uuid[], $3::integer[]) AS busy(id, count) ON busy.id = e.id
             WHERE e.deleted_at IS NULL AND e.disabled_at IS NULL
               AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
        ), due AS (
            SELECT waiting.id
              FROM open CROSS JOIN LATERAL (
                SELECT id, next_attempt_at, row_number() OVER (ORDER BY next_attempt_at) AS place
                  FROM webhook_deliveries
                 WHERE endpoint_id = open.id AND state = 'pending' AND next_attempt_at <= now()
                 ORDER BY next_attempt_at
                 LIMIT greatest($4 - open.busy, 0)
              ) AS waiting
             ORDER BY open.busy + waiting.place, waiting.next_attempt_at
             LIMIT $1
        ), taken AS (
            SELECT id FROM webhook_deliveries
             WHERE id IN (SELECT id FROM due) AND state = 'pending' AND next_attempt_at <= now()
               FOR UPDATE SKIP LOCKED
        )
        UPDATE webhook_deliveries d
           SET next_attempt_at = now() + $5::interval, attempts = attempts + 1, tries = tries + 1
          FROM webhook_endpoints e
         WHERE d.id IN (SELECT id FROM taken) AND e.id = d.endpoint_id
        RETURNING d.id, d.endpoint_id, d.job_id, coalesce(d.url, e.url) AS url, d.body, d.attempts, d.tries,
                  array_remove(ARRAY[e.secret, CASE WHEN e.previous_until > now() THEN e.previous_secret END], NULL)
                  AS secrets, (SELECT traceparent FROM video_jobs WHERE video_jobs.id = d.job_id) AS traceparent
        """,
        limit,
        list(busy),
        list(busy.values()),
        per_endpoint,
        lease,
    )
    return [Delivery(**row) for row in rows]


async def record(tx: Connection, delivery: Delivery, answer: Answer, *, state: str, next_in: timedelta | None) -> bool:
    """Write down one attempt and what becomes of the delivery; False when somebody else has it by now.

    That it was delivered counts whoever says so.
    """
    return bool(
        await tx.fetchval(
            """
            WITH logged AS (
                INSERT INTO webhook_attempts (delivery_id, n, milliseconds, status, error, answer)
                VALUES ($1, $2, $5, $6, $7, $8)
                ON CONFLICT DO NOTHING
            )
            UPDATE webhook_deliveries
               SET state = $3, next_attempt_at = now() + $4::interval, last_status = $6, last_error = $7
             WHERE id = $1 AND state = 'pending' AND (attempts = $2 OR $3 = 'delivered')
            RETURNING true
            """,
            delivery.id,
            delivery.attempts,
            state,
            next_in,
            answer.milliseconds,
            answer.status,
            answer.error,
            answer.text,
        )
    )


async def mark_working(tx: Connection, endpoint_id: UUID) -> None:
    """End an endpoint's streak of failures."""
    await tx.execute(
        "UPDATE webhook_endpoints SET failing_since = NULL WHERE id = $1 AND failing_since IS NOT NULL", endpoint_id
    )


async def mark_failing(tx: Connection, delivery: Delivery) -> None:
    """Begin a streak of failures, unless one is under way or the endpoint has another URL by now."""
    await tx.execute(
        "UPDATE webhook_endpoints SET failing_since = now() WHERE id = $1 AND url = $2 AND failing_since IS NULL",
        delivery.endpoint_id,
        delivery.url,
    )


async def disable(
    tx: Connection, delivery: Delivery, *, reason: str, failing_for: timedelta = timedelta(0)
) -> Endpoint | None:
    """Give up the endpoint at this URL if its streak is that long; None when there is nothing to give up."""
    row = await tx.fetchrow(
        """
        UPDATE webhook_endpoints
           SET disabled_at = now(), disabled_reason = $3
         WHERE id = $1 AND url = $2 AND disabled_at IS NULL AND failing_since <= now() - $4::interval
        RETURNING id, key_id, url, disabled_at, disabled_reason, failing_since
        """,
        delivery.endpoint_id,
        delivery.url,
        reason,
        failing_for,
    )
    return Endpoint(**row) if row else None


async def find_witnesses(tx: Connection, key_id: UUID) -> list[Target]:
    """The endpoints of a key that want to hear when one of them is given up, itself included."""
    rows = await tx.fetch(
        """
        SELECT id FROM webhook_endpoints
         WHERE key_id = $1 AND url IS NOT NULL AND deleted_at IS NULL AND (events IS NULL OR $2 = ANY(events))
        """,
        key_id,
        DISABLED,
    )
    return [Target(row["id"]) for row in rows]


async def queue_age(db: Connection) -> float:
    """Seconds that the delivery that waits longest has been due; 0 when none waits."""
    seconds: float = await db.fetchval(
        """
        SELECT coalesce(extract(epoch FROM now() - min(waiting.next_attempt_at)), 0)::float8
          FROM webhook_endpoints e
          JOIN api_keys k ON k.id = e.key_id
         CROSS JOIN LATERAL (
            SELECT next_attempt_at FROM webhook_deliveries
             WHERE endpoint_id = e.id AND state = 'pending' AND next_attempt_at <= now()
             ORDER BY next_attempt_at
             LIMIT 1
         ) AS waiting
         WHERE e.deleted_at IS NULL AND e.disabled_at IS NULL
           AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
        """
    )
    return seconds
