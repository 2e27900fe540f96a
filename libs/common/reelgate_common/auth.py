"""API keys: made, stored hashed, looked up."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from reelgate_common.db import Connection
from reelgate_common.domain.errors import NotAuthenticated
from reelgate_common.ids import new_id

_PREFIX = "rg_live_"
JOBS = "jobs"  # create and read jobs
ADMIN = "admin"  # whatever an operator may


@dataclass(frozen=True)
class Caller:
    """Who asks. `wallets` None: may act for every wallet."""

    key_id: str | None
    wallets: tuple[str, ...] | None
    scopes: frozenset[str]

    @property
    def is_admin(self) -> bool:
        """May do what operators do."""
        return ADMIN in self.scopes


ANYONE = Caller(None, None, frozenset({JOBS}))  # AUTH_MODE=open


def hash_secret(secret: str) -> bytes:
    """How secrets with enough randomness of their own are stored."""
    return hashlib.sha256(secret.encode()).digest()


async def create_key(
    tx: Connection, name: str, *, scopes: Sequence[str], wallets: Sequence[str] | None
) -> tuple[UUID, str]:
    """Make an API key; the key itself is returned here and never again."""
    key = _PREFIX + secrets.token_hex(32)
    key_id = new_id()
    await tx.execute(
        "INSERT INTO api_keys (id, name, key_hash, scopes, wallets) VALUES ($1, $2, $3, $4, $5)",
        key_id,
        name,
        hash_secret(key),
        list(scopes),
        list(wallets) if wallets is not None else None,
    )
    return key_id, key


async def find_caller(db: Connection, key: str) -> Caller:
    """Who a key belongs to; NotAuthenticated when it is unknown, revoked or expired.

    Looked up by hash: an index probe over a 256-bit random value tells an attacker nothing by its time.
    """
    row = await db.fetchrow(
        """
        SELECT id, scopes, wallets FROM api_keys
         WHERE key_hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
        """,
        hash_secret(key),
    )
    if row is None:
        raise NotAuthenticated("This API key is unknown, revoked or expired")
    wallets = row["wallets"]
    return Caller(str(row["id"]), tuple(wallets) if wallets is not None else None, frozenset(row["scopes"]))
