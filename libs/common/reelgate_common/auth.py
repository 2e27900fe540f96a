"""Who asks: the holder of an API key, or of a session that a wallet's signature opened."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from reelgate_common.db import Connection
from reelgate_common.domain.errors import NotAuthenticated

SESSION_PREFIX = "rgs_"

READ = "read"  # see
JOBS = "jobs"  # also create and change
ADMIN = "admin"  # also whatever an operator may
SCOPES = (READ, JOBS, ADMIN)  # each includes those before it


@dataclass(frozen=True)
class Caller:
    """Who asks. `wallets` None: may act for every wallet."""

    key_id: str | None
    wallets: tuple[str, ...] | None
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        """Whether one of the caller's scopes is or includes this one."""
        return not self.scopes.isdisjoint(SCOPES[SCOPES.index(scope) :])

    def may_use(self, wallet: str) -> bool:
        """Whether a wallet, and what belongs to it, is the caller's."""
        return self.wallets is None or wallet in self.wallets

    @property
    def is_admin(self) -> bool:
        """May do what operators do, which is never bound to wallets."""
        return ADMIN in self.scopes and self.wallets is None

    @property
    def is_session(self) -> bool:
        """Signed in with a wallet: anybody can make any number of those."""
        return self.key_id is None and self.wallets is not None

    @property
    def owner(self) -> str | None:
        """Whose things are kept apart from others': the key's, the signed-in wallet's; None where nobody is asked."""
        return self.key_id or (f"wallet:{self.wallets[0]}" if self.wallets else None)


ANYONE = Caller(None, None, frozenset({JOBS}))  # AUTH_MODE=open


def hash_secret(secret: str) -> bytes:
    """How secrets with enough randomness of their own are stored."""
    return hashlib.sha256(secret.encode()).digest()


async def find_caller(db: Connection, token: str) -> Caller:
    """Who a key or a session belongs to; NotAuthenticated when it is unknown or over.

    Looked up by hash: an index probe over a 256-bit random value tells an attacker nothing by its time.
    """
    if token.startswith(SESSION_PREFIX):
        return await _find_session(db, token)
    [caller] = await find_keys(db, [token])
    return known(caller)


def known(caller: Caller | None) -> Caller:
    """A key's caller; NotAuthenticated when there is none."""
    if caller is None:
        raise NotAuthenticated("This API key is unknown, revoked or expired")
    return caller


async def find_keys(db: Connection, keys: Sequence[str]) -> list[Caller | None]:
    """Who each of these keys belongs to; None for one that is unknown or over."""
    hashes = [hash_secret(key) for key in keys]
    rows = await db.fetch(
        """
        SELECT key_hash, id, scopes, wallets,
               last_used_at IS NULL OR last_used_at < now() - interval '1 min' AS use_is_news
          FROM unnest($1::bytea[]) AS asked(key_hash) JOIN api_keys USING (key_hash) -- `= ANY` is planned at each call
         WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
        """,
        list(set(hashes)),
    )
    if news := [row["id"] for row in rows if row["use_is_news"]]:
        await _note_use(db, news)
    callers = {row["key_hash"]: _caller(row) for row in rows}
    return [callers.get(one) for one in hashes]


def _caller(row: asyncpg.Record) -> Caller:
    wallets = row["wallets"]
    return Caller(str(row["id"]), tuple(wallets) if wallets is not None else None, frozenset(row["scopes"]))


async def _note_use(db: Connection, key_ids: Sequence[UUID]) -> None:
    """Note that keys are in use, but for those that somebody notes just now: nobody waits for it."""
    await db.execute(
        """
        UPDATE api_keys SET last_used_at = now()
         WHERE id IN (SELECT id FROM api_keys
                       WHERE id = ANY($1) AND (last_used_at IS NULL OR last_used_at < now() - interval '1 min')
                         FOR NO KEY UPDATE SKIP LOCKED)
        """,
        key_ids,
    )


async def _find_session(db: Connection, token: str) -> Caller:
    wallet = await db.fetchval(
        "SELECT wallet_address FROM sessions WHERE token_hash = $1 AND expires_at > now()", hash_secret(token)
    )
    if wallet is None:
        raise NotAuthenticated("This session is unknown or over: sign in again")
    # Wallets are told apart by their spelling, and clients spell an address in one of these two ways.
    return Caller(None, (wallet, wallet.lower()), frozenset({JOBS}))
