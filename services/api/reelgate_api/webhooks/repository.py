"""Every SQL statement of the webhooks' API. An endpoint or delivery of another key is not found."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from reelgate_common.db import Connection
from reelgate_common.ids import new_id

_ENDPOINT = ("id", "url", "events", "description", "disabled_at", "disabled_reason", "failing_since", "created_at")
_DELIVERY = ("id", "type", "job_id", "state", "attempts", "next_attempt_at", "last_status", "last_error", "created_at")

Row = dict[str, Any]


def _endpoint(row: Any) -> Row:
    """What of an endpoint is shown: no secret."""
    return {name: row[name] for name in _ENDPOINT}


def _delivery(row: Any) -> Row:
    """A delivery without its body."""
    return {name: row[name] for name in _DELIVERY} | {"webhook_id": row["endpoint_id"], "url": row["receiver"]}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """An endpoint as its owner wants it."""

    url: str
    events: Sequence[str] | None
    description: str | None
    disabled: bool = False


async def insert(db: Connection, key_id: UUID, wanted: Wanted, *, secret: str, most: int) -> Row | None:
    """Make an endpoint; None when the key has that many already."""
    row = await db.fetchrow(
        """
        INSERT INTO webhook_endpoints (id, key_id, url, events, description, secret)
        SELECT $1, $2, $3, $4, $5, $6
         WHERE (SELECT count(*) FROM webhook_endpoints
                 WHERE key_id = $2 AND url IS NOT NULL AND deleted_at IS NULL) < $7
        RETURNING *
        """,
        new_id(),
        key_id,
        wanted.url,
        wanted.events,
        wanted.description,
        secret,
        most,
    )
    return _endpoint(row) if row else None


async def list_endpoints(db: Connection, key_id: UUID) -> list[Row]:
    """The endpoints of a key, oldest first."""
    rows = await db.fetch(
        """
        SELECT * FROM webhook_endpoints
         WHERE key_id = $1 AND url IS NOT NULL AND deleted_at IS NULL
         ORDER BY id
        """,
        key_id,
    )
    return [_endpoint(row) for row in rows]


async def lock_endpoint(tx: Connection, key_id: UUID, endpoint_id: UUID) -> Row | None:
    """An endpoint of a key, held against changes; None for others', deleted ones and the key's own secret."""
    row = await tx.fetchrow(
        """
        SELECT * FROM webhook_endpoints
         WHERE id = $2 AND key_id = $1 AND url IS NOT NULL AND deleted_at IS NULL
           FOR NO KEY UPDATE
        """,
        key_id,
        endpoint_id,
    )
    return _endpoint(row) if row else None


async def update(tx: Connection, endpoint_id: UUID, wanted: Wanted) -> Row:
    """Change an endpoint; a new URL, and one that is enabled again, start with a clean slate."""
    row = await tx.fetchrow(
        """
        UPDATE webhook_endpoints
           SET url = $2, events = $3, description = $4,
               disabled_at = CASE WHEN $5 THEN coalesce(disabled_at, now()) END,
               disabled_reason = CASE WHEN $5 THEN coalesce(disabled_reason, 'owner') END,
               failing_since = CASE WHEN url = $2 AND (disabled_at IS NULL OR $5) THEN failing_since END
         WHERE id = $1
        RETURNING *
        """,
        endpoint_id,
        wanted.url,
        wanted.events,
        wanted.description,
        wanted.disabled,
    )
    return _endpoint(row)


async def delete(tx: Connection, endpoint_id: UUID) -> None:
    """Forget an endpoint. Its rows stay until they are old: a settlement may be writing to them now."""
    await tx.execute("UPDATE webhook_endpoints SET deleted_at = now() WHERE id = $1", endpoint_id)


async def rotate(
    db: Connection, key_id: UUID, endpoint_id: UUID, *, secret: str, old_valid_for: timedelta
) -> Row | None:
    """Give an endpoint, or the key's own URLs, another secret; None when it is not this key's."""
    row = await db.fetchrow(
        """
        UPDATE webhook_endpoints
           SET previous_secret = secret, previous_until = now() + $4::interval, secret = $3
         WHERE id = $2 AND key_id = $1 AND deleted_at IS NULL
        RETURNING id, secret, previous_until AS previous_secret_valid_until
        """,
        key_id,
        endpoint_id,
        secret,
        old_valid_for,
    )
    return dict(row) if row else None


async def signing_secret(tx: Connection, key_id: UUID, *, fresh: str) -> Row:
    """What signs for the webhook_url of a key's jobs; made from `fresh` when there is none yet."""
    await tx.execute(
        """
        INSERT INTO webhook_endpoints (id, key_id, secret) VALUES ($1, $2, $3)
        ON CONFLICT (key_id) WHERE url IS NULL DO NOTHING
        """,
        new_id(),
        key_id,
        fresh,
    )
    row = await tx.fetchrow(
        """
        SELECT id, secret, CASE WHEN previous_until > now() THEN previous_until END AS previous_secret_valid_until
          FROM webhook_endpoints
         WHERE key_id = $1 AND url IS NULL
        """,
        key_id,
    )
    assert row is not None  # noqa: S101 -- made just before
    return dict(row)


async def owns(db: Connection, key_id: UUID, endpoint_id: UUID) -> bool:
    """Whether an endpoint, or what signs for its jobs' own URLs, is this key's."""
    return bool(
        await db.fetchval(
            "SELECT true FROM webhook_endpoints WHERE id = $2 AND key_id = $1 AND deleted_at IS NULL",
            key_id,
            endpoint_id,
        )
    )


async def list_deliveries(
    db: Connection, endpoint_id: UUID, *, state: str | None, before: UUID | None, limit: int
) -> list[Row]:
    """An endpoint's deliveries, the newest first, older than the one with the id `before`."""
    rows = await db.fetch(
        """
        SELECT d.*, coalesce(d.url, e.url) AS receiver
          FROM webhook_deliveries d JOIN webhook_endpoints e ON e.id = d.endpoint_id
         WHERE d.endpoint_id = $1 AND ($2::text IS NULL OR d.state = $2)
           AND ($3::uuid IS NULL
                OR (d.created_at, d.id) < (SELECT created_at, id FROM webhook_deliveries WHERE id = $3))
         ORDER BY d.created_at DESC, d.id DESC
         LIMIT $4
        """,
        endpoint_id,
        state,
        before,
        limit,
    )
    return [_delivery(row) for row in rows]


async def find_delivery(db: Connection, key_id: UUID, delivery_id: UUID) -> Row | None:
    """A delivery of one of a key's endpoints, with its body."""
    row = await db.fetchrow(
        """
        SELECT d.*, coalesce(d.url, e.url) AS receiver
          FROM webhook_deliveries d JOIN webhook_endpoints e ON e.id = d.endpoint_id
         WHERE d.id = $2 AND e.key_id = $1 AND e.deleted_at IS NULL
        """,
        key_id,
        delivery_id,
    )
    return _delivery(row) | {"body": row["body"]} if row else None


async def list_attempts(db: Connection, delivery_id: UUID) -> list[Row]:
    """What was tried for a delivery, oldest first."""
    rows = await db.fetch(
        "SELECT n, at, milliseconds, status, error, answer FROM webhook_attempts WHERE delivery_id = $1 ORDER BY n",
        delivery_id,
    )
    return [dict(row) for row in rows]


async def replay(db: Connection, key_id: UUID, delivery_id: UUID) -> Row | None:
    """Make a delivery due now, with the whole schedule before it; None when it is not this key's."""
    row = await db.fetchrow(
        """
        UPDATE webhook_deliveries d
           SET state = 'pending', tries = 0, next_attempt_at = now()
          FROM webhook_endpoints e
         WHERE d.id = $2 AND e.id = d.endpoint_id AND e.key_id = $1 AND e.deleted_at IS NULL
        RETURNING d.*, coalesce(d.url, e.url) AS receiver
        """,
        key_id,
        delivery_id,
    )
    return _delivery(row) if row else None


async def replay_range(
    db: Connection, endpoint_id: UUID, *, start: datetime, end: datetime, failed_only: bool, limit: int
) -> list[datetime]:
    """Make deliveries made in [start, end) due now, oldest first; return when they were made.

    What is pending is left alone: it is sent anyway.
    """
    rows = await db.fetch(
        """
        UPDATE webhook_deliveries
           SET state = 'pending', tries = 0, next_attempt_at = now()
         WHERE id IN (SELECT id FROM webhook_deliveries
                       WHERE endpoint_id = $1 AND created_at >= $2 AND created_at < $3
                         AND (state = 'failed' OR state = 'delivered' AND NOT $4)
                       ORDER BY created_at, id
                       LIMIT $5)
           AND state <> 'pending'
        RETURNING created_at
        """,
        endpoint_id,
        start,
        end,
        failed_only,
        limit,
    )
    return [row["created_at"] for row in rows]
