"""Every SQL statement about answers that are kept for a repeat."""

from typing import Any

from reelgate_common.db import Connection


async def lock(tx: Connection, owner: str, key: str) -> None:
    """Wait until no other transaction answers a request with this key; Busy when that takes long."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, hashtextextended($2, 0)))", owner, key)


async def find(tx: Connection, owner: str, key: str) -> tuple[bytes, dict[str, Any] | None] | None:
    """The hash of the request a key was used for, and its answer (None: it was for a job)."""
    row = await tx.fetchrow(
        "SELECT request_hash, answer FROM idempotency_keys WHERE owner = $1 AND key = $2", owner, key
    )
    return (row["request_hash"], row["answer"]) if row else None


async def keep(tx: Connection, owner: str, key: str, *, request_hash: bytes, answer: dict[str, Any]) -> bool:
    """Keep an answer; False when a job took the key meanwhile."""
    kept = await tx.fetchval(
        """
        INSERT INTO idempotency_keys (owner, key, request_hash, answer) VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING
        RETURNING true
        """,
        owner,
        key,
        request_hash,
        answer,
    )
    return bool(kept)
