"""The SQL of signing in."""

from datetime import datetime, timedelta

from reelgate_common.auth import hash_secret
from reelgate_common.db import Connection


async def keep_nonce(db: Connection, nonce: str, *, valid_for: timedelta) -> datetime:
    """Keep a nonce in the place of the oldest; until when it is good."""
    until: datetime = await db.fetchval(
        """
        INSERT INTO sign_in_nonces (nonce, expires_at) VALUES ($1, now() + $2::interval)
        ON CONFLICT (slot) DO UPDATE SET nonce = excluded.nonce, expires_at = excluded.expires_at
        RETURNING expires_at
        """,
        nonce,
        valid_for,
    )
    return until


async def take_nonce(db: Connection, nonce: str) -> bool:
    """Use a nonce up; False when it was never made, is used up or has expired."""
    taken = await db.fetchval(
        "DELETE FROM sign_in_nonces WHERE nonce = $1 AND expires_at > now() RETURNING true", nonce
    )
    return bool(taken)


async def open_session(
    db: Connection, token: str, wallet: str, *, valid_for: timedelta, not_after: datetime | None
) -> datetime:
    """Store a session by the hash of its token; when it ends, which is not after `not_after`."""
    until: datetime = await db.fetchval(
        """
        INSERT INTO sessions (token_hash, wallet_address, expires_at)
        VALUES ($1, $2, least(now() + $3::interval, $4::timestamptz))
        RETURNING expires_at
        """,
        hash_secret(token),
        wallet,
        valid_for,
        not_after,
    )
    return until


async def end_session(db: Connection, token: str) -> None:
    """Forget a session."""
    await db.execute("DELETE FROM sessions WHERE token_hash = $1", hash_secret(token))
