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


async def open_session(
    db: Connection, token: str, wallet: str, *, nonce: str, valid_for: timedelta, not_after: datetime | None
) -> datetime | None:
    """Use a nonce up for a session, stored by the hash of its token; when it ends, which is not after `not_after`.

    None when the nonce was never made, is used up or has expired.
    """
    until: datetime | None = await db.fetchval(
        """
        WITH taken AS (
            DELETE FROM sign_in_nonces WHERE nonce = $1 AND expires_at > now() RETURNING nonce
        )
        INSERT INTO sessions (token_hash, wallet_address, expires_at)
        SELECT $2, $3, least(now() + $4::interval, $5::timestamptz) FROM taken
        RETURNING expires_at
        """,
        nonce,
        hash_secret(token),
        wallet,
        valid_for,
        not_after,
    )
    return until


async def end_session(db: Connection, token: str) -> None:
    """Forget a session."""
    await db.execute("DELETE FROM sessions WHERE token_hash = $1", hash_secret(token))
