"""Forgetting a wallet: everything that tells who it was and what it asked for. The books stay, under another name.

The jobs go in batches, each its own transaction; money, keys and the wallet itself in one transaction at the end. So
one that is cut short leaves a wallet with fewer jobs and right books, and is finished by being called again.
"""

from dataclasses import dataclass
from uuid import UUID, uuid4

import structlog

from reelgate_common import removal
from reelgate_common.custody import deletion
from reelgate_common.db import Connection, Database
from reelgate_common.domain.request import ERASED
from reelgate_common.ids import new_id

log = structlog.get_logger(__name__)

_AT_ONCE = 500
_SHOWN = 10  # jobs that are named in a refusal
_PATIENCE_SECONDS = 3600  # for a ledger of millions of entries

# Its jobs that must come to their end first.
_UNDER_WAY = """
    SELECT id FROM video_jobs
     WHERE wallet_address = $1 AND (completed_at IS NULL OR (status <> 'completed' AND refunded_at IS NULL))
     ORDER BY id
"""
# Keys that are for this wallet only: who holds one is its owner, or acts for nobody else.
_ITS_KEYS = "wallets <@ ARRAY[$1::text] AND wallets <> '{}'"


class NotErasable(Exception):
    """The wallet cannot be forgotten now; the message says why. Called again later, it may be."""


@dataclass(frozen=True, kw_only=True)
class Holdings:
    """What is kept of a wallet."""

    wallet_address: str
    credits: int
    ledger_entries: int
    jobs: int
    under_way: list[UUID]
    keys: int  # for this wallet only
    keys_shared: int  # for others, too
    sessions: int

    @property
    def is_known(self) -> bool:
        """Whether there is anything to forget."""
        return any((self.credits, self.ledger_entries, self.jobs, self.keys, self.keys_shared, self.sessions))


@dataclass(frozen=True, kw_only=True)
class Erased:
    """What became of it."""

    pseudonym: str | None  # its name in the ledger from now on; None: it never had an entry
    jobs: int
    ledger_entries: int
    credits_forfeited: int
    keys: int
    sessions: int


async def look(db: Connection, wallet: str) -> Holdings:
    """What is kept of a wallet now."""
    [row] = await db.fetch(
        f"""
        SELECT coalesce((SELECT credits FROM credits WHERE wallet_address = $1), 0) AS credits,
               (SELECT count(*) FROM credit_transactions WHERE wallet_address = $1) AS ledger_entries,
               (SELECT count(*) FROM video_jobs WHERE wallet_address = $1) AS jobs,
               ARRAY({_UNDER_WAY}) AS under_way,
               (SELECT count(*) FROM api_keys WHERE {_ITS_KEYS}) AS keys,
               (SELECT count(*) FROM api_keys WHERE $1 = ANY(wallets) AND NOT ({_ITS_KEYS})) AS keys_shared,
               (SELECT count(*) FROM sessions WHERE wallet_address = $1) AS sessions
        """,  # noqa: S608 -- conditions of ours
        wallet,
    )
    return Holdings(wallet_address=wallet, **row)


async def erase(db: Database, wallet: str, *, forfeit_credits: bool = False) -> Erased:
    """Forget a wallet; NotErasable while a job is under way, a video in the bucket, or credits nobody gave up are left.

    Its address may be used again: it is then a wallet never seen.
    """
    if wallet.startswith(ERASED):
        raise NotErasable(f"{wallet} is what is left of a wallet that was erased")
    async with db.connection() as connection:
        found = await look(connection, wallet)
    if not found.is_known:
        raise NotErasable(f"nothing is known of the wallet {wallet}")
    _check(found.under_way, found.credits, forfeit_credits=forfeit_credits)
    async with db.transaction() as tx:
        sessions = await _shut_out(tx, wallet)
    await _remove_videos(db, wallet)
    count = 0
    while batch := await _remove_jobs(db, wallet):
        count += batch
    async with db.transaction() as tx:
        await tx.execute("SET LOCAL statement_timeout = 0")
        credits_left = await _lock(tx, wallet)
        _check(await _under_way(tx, wallet), credits_left or 0, forfeit_credits=forfeit_credits)
        if await tx.fetchval("SELECT EXISTS (SELECT FROM video_jobs WHERE wallet_address = $1)", wallet):
            raise NotErasable("a job came meanwhile: run this again")
        if credits_left:
            await _forfeit(tx, wallet, credits_left)
        pseudonym, entries = (None, 0) if credits_left is None else await _rename(tx, wallet)
        sessions += await _shut_out(tx, wallet)  # what its owner opened meanwhile
        keys = await _forget_callers(tx, wallet)
    log.info("wallet_erased", pseudonym=pseudonym, jobs=count)
    return Erased(
        pseudonym=pseudonym,
        jobs=count,
        ledger_entries=entries,
        credits_forfeited=credits_left or 0,
        keys=keys,
        sessions=sessions,
    )


def _check(under_way: list[UUID], credits_left: int, *, forfeit_credits: bool) -> None:
    if under_way:
        names = ", ".join(map(str, under_way[:_SHOWN])) + (", …" if len(under_way) > _SHOWN else "")
        raise NotErasable(f"{len(under_way)} jobs are not over, or wait for their refund: {names}")
    if credits_left and not forfeit_credits:
        raise NotErasable(f"{credits_left} credits are left, which would be lost: pay them out, or forfeit them")


async def _under_way(tx: Connection, wallet: str) -> list[UUID]:
    return [row["id"] for row in await tx.fetch(_UNDER_WAY, wallet)]


async def _shut_out(tx: Connection, wallet: str) -> int:
    """End what the wallet's owner calls with, so that nothing new comes; return how many sessions there were."""
    await tx.execute(f"UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE {_ITS_KEYS}", wallet)  # noqa: S608
    await tx.execute(
        "UPDATE api_keys SET wallets = array_remove(wallets, $1) WHERE $1 = ANY(wallets) AND cardinality(wallets) > 1",
        wallet,
    )
    ended = await tx.fetch("DELETE FROM sessions WHERE wallet_address = $1 RETURNING token_hash", wallet)
    return len(ended)


async def _remove_videos(db: Database, wallet: str) -> None:
    """Have the reconciler take the wallet's videos out of the bucket; NotErasable until it has."""
    deleted = True
    while deleted:
        async with db.transaction() as tx:
            deleted = bool(await deletion.delete_of_wallet(tx, wallet, by="operator", reason="the wallet is erased"))
    async with db.connection() as connection:
        left, seconds = await removal.files_of_wallet(connection, wallet)
    if left:
        minutes = 1 + int(seconds / 60)  # a copy that is under way has its time first
        raise NotErasable(f"{left} videos are being removed from the bucket: run this again in {minutes} min")


async def _remove_jobs(db: Database, wallet: str) -> int:
    async with db.transaction() as tx:
        return await removal.remove_of_wallet(tx, wallet, limit=_AT_ONCE)


async def _lock(tx: Connection, wallet: str) -> int | None:
    """Hold the wallet against every charge, grant and new job; its balance, None when it was never opened."""
    balance: int | None = await tx.fetchval("SELECT credits FROM credits WHERE wallet_address = $1 FOR UPDATE", wallet)
    return balance


async def _forfeit(tx: Connection, wallet: str, amount: int) -> None:
    await tx.execute(
        """
        WITH booked AS (
            INSERT INTO credit_transactions (id, wallet_address, transaction_type, amount, reference)
            VALUES ($1, $2, 'adjustment', -$3::bigint, $4)
        )
        UPDATE credits SET credits = credits - $3 WHERE wallet_address = $2
        """,
        entry := new_id(),
        wallet,
        amount,
        f"erasure:{entry}",
    )


async def _rename(tx: Connection, wallet: str) -> tuple[str, int]:
    """Give the wallet's balance and ledger to a name that leads to nobody; that name, and how many entries it has."""
    pseudonym = f"{ERASED}{uuid4()}"  # by chance alone: no hash, which whoever knows the address could make again
    await tx.execute(
        """
        INSERT INTO credits (wallet_address, credits, last_turn)
        SELECT $2, credits, last_turn FROM credits WHERE wallet_address = $1
        """,
        wallet,
        pseudonym,
    )
    said = await tx.execute(
        """
        UPDATE credit_transactions
           SET wallet_address = $2,
               description = CASE WHEN transaction_type NOT IN ('grant', 'adjustment') THEN description END
         WHERE wallet_address = $1
        """,
        wallet,
        pseudonym,
        timeout=_PATIENCE_SECONDS,
    )
    await tx.execute("DELETE FROM wallet_checkpoints WHERE wallet_address = $1", wallet)
    await tx.execute("DELETE FROM credits WHERE wallet_address = $1", wallet, timeout=_PATIENCE_SECONDS)
    return pseudonym, int(said.split()[-1])


async def _forget_callers(tx: Connection, wallet: str) -> int:
    """Delete the wallet's own keys with what belongs to them, and answers kept for others that name it."""
    rows = await tx.fetch(f"SELECT id FROM api_keys WHERE {_ITS_KEYS} FOR UPDATE", wallet)  # noqa: S608
    keys = [row["id"] for row in rows]
    await tx.execute(
        """
        DELETE FROM webhook_deliveries
         WHERE endpoint_id IN (SELECT id FROM webhook_endpoints WHERE key_id = ANY($1))
        """,
        keys,
        timeout=_PATIENCE_SECONDS,
    )
    await tx.execute("DELETE FROM webhook_endpoints WHERE key_id = ANY($1)", keys)
    await tx.execute(
        """
        DELETE FROM idempotency_keys
         WHERE owner = ANY($1)
            OR jsonb_path_exists(answer, '$.** ? (@.wallet_address == $wallet || @.wallets[*] == $wallet)', $2)
        """,
        [f"wallet:{wallet}", *map(str, keys)],
        {"wallet": wallet},  # as a whole, in its place: without an answer about another, its repeat would be made anew
        timeout=_PATIENCE_SECONDS,
    )
    await tx.execute("DELETE FROM rate_limits WHERE subject = 'wallet:' || $1", wallet)
    await tx.execute("DELETE FROM api_keys WHERE id = ANY($1)", keys)
    return len(keys)
