"""Our account at Kie.ai: what is left on it, and what a day may cost."""

from datetime import timedelta

from reelgate_common.db import Connection

CAPPED = "the day's limit of spending at Kie.ai is reached (KIE_DAILY_CREDITS)"


async def spent_today(db: Connection) -> float:
    """What the sends of this UTC day that were, or may have been, taken should cost, in Kie.ai's credits.

    Whether a failed generation is billed is not documented: it counts. Attempts' ids sort by time, so that only
    the day's are read; an hour more, since they are made by clocks that may be wrong.
    """
    spent: float = await db.fetchval(
        """
        WITH today AS (SELECT date_trunc('day', now(), 'UTC') AS start)
        SELECT coalesce(sum(vendor_cost), 0)
          FROM job_attempts, today
         WHERE id >= rpad(lpad(to_hex((extract(epoch FROM start - interval '1 h') * 1000)::bigint), 12, '0'),
                          32, '0')::uuid
           AND started_at >= start
           AND (outcome IS NULL OR outcome IN ('accepted', 'unknown'))
        """
    )
    return spent


async def set_capped(tx: Connection, *, capped: bool) -> None:
    """Let everybody know whether the day's limit stops the sends."""
    await tx.execute(
        """
        UPDATE vendor_account SET capped_at = CASE WHEN $1 THEN now() END
         WHERE (coalesce(capped_at, 'epoch') >= date_trunc('day', now(), 'UTC')) <> $1
        """,
        capped,
    )


async def may_look(tx: Connection, *, every: timedelta) -> bool:
    """Take the right to ask for the balance now; False when somebody asked less than `every` ago."""
    row = await tx.fetchrow(
        "UPDATE vendor_account SET asked_at = now() WHERE asked_at <= now() - $1::interval RETURNING id", every
    )
    return row is not None


async def set_balance(tx: Connection, left: float) -> None:
    """Keep the balance as Kie.ai told it."""
    await tx.execute("UPDATE vendor_account SET balance = $1, balance_at = now()", left)


async def balance(db: Connection) -> float | None:
    """The balance as last seen; None before the first time."""
    left: float | None = await db.fetchval("SELECT balance FROM vendor_account")
    return left
