"""The SQL about wallets."""

from typing import Any
from uuid import UUID

from reelgate_common.db import Connection


async def find_balance(db: Connection, wallet: str) -> int | None:
    """Credits of a wallet; None for one never seen."""
    balance: int | None = await db.fetchval("SELECT credits FROM credits WHERE wallet_address = $1", wallet)
    return balance


async def ledger(db: Connection, wallet: str, *, before: UUID | None, limit: int) -> list[dict[str, Any]]:
    """Movements of a wallet, the newest first, older than the one with the id `before`."""
    rows = await db.fetch(
        """
        SELECT id, transaction_type, amount, job_id, description, created_at
          FROM credit_transactions
         WHERE wallet_address = $1 AND ($2::uuid IS NULL OR id < $2)
         ORDER BY id DESC
         LIMIT $3
        """,
        wallet,
        before,
        limit,
    )
    return [dict(row) for row in rows]
