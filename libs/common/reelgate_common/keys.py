"""API keys: made, listed, revoked. Only the hash of a key is stored."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from reelgate_common.auth import hash_secret
from reelgate_common.db import Connection
from reelgate_common.ids import new_id

log = structlog.get_logger(__name__)

_SHOWN = 16  # characters of a key that tell it from others: rg_live_ and eight of its 64 digits
_COLUMNS = "id, name, prefix, scopes, wallets, is_test, created_at, expires_at, last_used_at, revoked_at"


@dataclass(frozen=True, kw_only=True)
class Key:
    """What is known about a key, which is not the key."""

    id: UUID
    name: str
    prefix: str | None  # None: made before prefixes were kept
    scopes: list[str]
    wallets: list[str] | None  # None: every wallet
    test: bool
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None  # to within a minute
    revoked_at: datetime | None


def _as_key(row: Any) -> Key:
    values = dict(row)
    return Key(test=values.pop("is_test"), **values)


async def create_key(
    tx: Connection,
    name: str,
    *,
    scopes: Sequence[str],
    wallets: Sequence[str] | None,
    expires_at: datetime | None = None,
    test: bool = False,
) -> tuple[Key, str]:
    """Make an API key; the key itself is returned here and never again."""
    key = f"rg_{'test' if test else 'live'}_{secrets.token_hex(32)}"
    row = await tx.fetchrow(
        f"""
        INSERT INTO api_keys (id, name, key_hash, prefix, scopes, wallets, is_test, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        RETURNING {_COLUMNS}
        """,  # noqa: S608 -- columns of ours
        new_id(),
        name,
        hash_secret(key),
        key[:_SHOWN],
        list(dict.fromkeys(scopes)),
        list(dict.fromkeys(wallets)) if wallets is not None else None,
        test,
        expires_at,
    )
    made = _as_key(row)
    log.info("api_key_created", key_id=str(made.id), scopes=made.scopes)
    return made, key


async def list_keys(db: Connection, *, before: UUID | None, limit: int) -> list[Key]:
    """Keys, the newest first, older than the one with the id `before`; also those that are over."""
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM api_keys WHERE $1::uuid IS NULL OR id < $1 ORDER BY id DESC LIMIT $2",  # noqa: S608
        before,
        limit,
    )
    return [_as_key(row) for row in rows]


async def find_key(db: Connection, key_id: UUID) -> Key | None:
    """A key, or None."""
    row = await db.fetchrow(f"SELECT {_COLUMNS} FROM api_keys WHERE id = $1", key_id)  # noqa: S608
    return _as_key(row) if row else None


async def revoke_key(db: Connection, key_id: UUID) -> bool:
    """End a key now and for good; False when there is none. Again changes nothing."""
    found = await db.fetchval(
        "UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1 RETURNING true", key_id
    )
    if found:
        log.info("api_key_revoked", key_id=str(key_id))
    return bool(found)
