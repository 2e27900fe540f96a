"""Credits that come or go without a job: grants and adjustments."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

import structlog

from reelgate_common.db import Connection
from reelgate_common.domain.errors import BalanceTooLow, IdempotencyMismatch, NotFound
from reelgate_common.domain.request import check_wallet
from reelgate_common.ids import new_id

log = structlog.get_logger(__name__)

MAX_AMOUNT = 1_000_000_000  # credits; far from any sum of them that a bigint could not hold
MAX_TEXT = 255  # characters of a reference or a description
WALLET = r"^[\x21-\x7e]{1,128}$"

Kind = Literal["grant", "adjustment"]


@dataclass(frozen=True, kw_only=True)
class Movement:
    """What is asked for. The same `reference` again is the same movement."""

    wallet: str
    amount: int  # what the balance shall gain
    reference: str
    description: str | None = None


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """The ledger's entry for a movement; `replayed` when it stood there before."""

    id: UUID
    wallet_address: str
    transaction_type: Kind
    amount: int
    reference: str
    description: str | None
    created_at: datetime
    replayed: bool


async def grant(tx: Connection, movement: Movement) -> Recorded:
    """Give credits to a wallet, which is opened if it was never seen.

    InvalidInput for a name that no wallet may have. IdempotencyMismatch when the reference stands for something else.
    """
    check_wallet(movement.wallet)
    await tx.execute(
        "INSERT INTO credits (wallet_address) VALUES ($1) ON CONFLICT (wallet_address) DO NOTHING", movement.wallet
    )
    return await _record(tx, "grant", movement)


async def adjust(tx: Connection, movement: Movement) -> Recorded:
    """Correct a balance, up or down; NotFound for a wallet never seen, BalanceTooLow rather than below zero.

    IdempotencyMismatch when the reference stands for something else.
    """
    if not await tx.fetchval("SELECT true FROM credits WHERE wallet_address = $1", movement.wallet):
        raise NotFound("Wallet not found")
    return await _record(tx, "adjustment", movement)


async def _record(tx: Connection, kind: Kind, movement: Movement) -> Recorded:
    if earlier := await _insert(tx, kind, movement):
        same = (earlier.wallet_address, earlier.transaction_type, earlier.amount)
        if same != (movement.wallet, kind, movement.amount):
            raise IdempotencyMismatch("This reference stands for another movement of credits: take a new one")
        return earlier
    await _add(tx, movement)
    recorded = await _find(tx, movement.reference, replayed=False)
    log.info("credits_moved", entry_id=str(recorded.id), kind=kind, amount=movement.amount)
    return recorded


async def _insert(tx: Connection, kind: Kind, movement: Movement) -> Recorded | None:
    """Write the entry; the one that has the reference already instead, if any."""
    made = await tx.fetchval(
        """
        INSERT INTO credit_transactions (id, wallet_address, transaction_type, amount, reference, description)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (reference) DO NOTHING
        RETURNING true
        """,
        new_id(),
        movement.wallet,
        kind,
        movement.amount,
        movement.reference,
        movement.description,
    )
    return None if made else await _find(tx, movement.reference, replayed=True)


async def _find(tx: Connection, reference: str, *, replayed: bool) -> Recorded:
    [row] = await tx.fetch(
        """
        SELECT id, wallet_address, transaction_type, amount, reference, description, created_at
          FROM credit_transactions
         WHERE reference = $1
        """,
        reference,
    )
    return Recorded(**row, replayed=replayed)


async def _add(tx: Connection, movement: Movement) -> None:
    covered = await tx.fetchval(
        """
        UPDATE credits SET credits = credits + $2, updated_at = now()
         WHERE wallet_address = $1 AND credits + $2 >= 0
        RETURNING true
        """,
        movement.wallet,
        movement.amount,
    )
    if not covered:
        balance = await tx.fetchval("SELECT credits FROM credits WHERE wallet_address = $1", movement.wallet)
        raise BalanceTooLow(balance=balance, amount=movement.amount)
