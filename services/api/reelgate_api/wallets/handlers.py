"""Use cases about wallets: see the balance, read the ledger, move credits by hand."""

from collections.abc import Awaitable, Callable
from operator import itemgetter
from typing import Any

from reelgate_api import cursor as cursors
from reelgate_api.wallets import repository
from reelgate_common.auth import Caller
from reelgate_common.db import Connection, Database
from reelgate_common.domain.errors import InvalidInput, NotFound
from reelgate_common.grants import Movement, Recorded

Record = Callable[[Connection, Movement], Awaitable[Recorded]]  # grants.grant or grants.adjust


async def balance(wallet: str, *, caller: Caller, db: Database) -> int:
    """Credits of a wallet of the caller; NotFound also for other people's."""
    _check_sees(caller, wallet)
    async with db.connection() as connection:
        credits_left = await repository.find_balance(connection, wallet)
    if credits_left is None:
        raise NotFound("Wallet not found")
    return credits_left


def _check_sees(caller: Caller, wallet: str) -> None:
    unknowable = "\x00" in wallet  # PostgreSQL has no such text
    if unknowable or (caller.wallets is not None and wallet not in caller.wallets):
        raise NotFound("Wallet not found")


async def ledger(
    wallet: str, *, limit: int, cursor: str | None, caller: Caller, db: Database
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of the movements of a wallet of the caller, newest first, and the cursor of the next, if there is one."""
    before = cursors.decode(cursor) if cursor is not None else None
    await balance(wallet, caller=caller, db=db)
    async with db.connection() as connection:
        found = await repository.ledger(connection, wallet, before=before, limit=limit + 1)
    return cursors.first(found, limit, id_of=itemgetter("id"))


async def move(
    record: Record,
    *,
    wallet: str,
    amount: int,
    reference: str | None,
    key: str | None,
    description: str | None,
    caller: Caller,
    db: Database,
) -> Recorded:
    """Move credits by hand, once for each reference; without one the Idempotency-Key stands for it.

    Admins only, which the routes see to.
    """
    if reference is None and key is None:
        raise InvalidInput(
            "reference", "reference or the header Idempotency-Key is required: a repeat must not move credits twice"
        )
    reference = reference or f"idempotency-key:{caller.key_id}:{key}"
    async with db.transaction() as tx:
        return await record(tx, Movement(wallet=wallet, amount=amount, reference=reference, description=description))
