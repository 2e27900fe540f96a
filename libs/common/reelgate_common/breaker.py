"""The breaker all submitters share: vendor trouble that hits every job stops all sends.

Closed: sends go. Open: jobs wait in pending. When its time is over one send goes as a probe; its answer
closes the breaker or opens it for twice as long. It opens at once when an answer says that our account
or the vendor is in trouble, and after so many sends in a row that got no usable answer at all. An operator
may stop all sends too; only an operator lets them go on. A restore stops them as well, until `restored.py` is done.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from reelgate_common import metrics, vendor_account
from reelgate_common.db import Connection

log = structlog.get_logger(__name__)

_LONGEST_SECONDS = 300  # a topped-up account is noticed within five minutes
# Written by whatever restores a backup (deploy/compose/restore.sh says it too), before any service starts. The reason
# of a pause that was there before, or came since, follows it.
RESTORED = "restored from a backup: run `reelgate restored`"
_AND_PAUSED = "; paused besides: "

LOOK_AGAIN_SECONDS = 1.0  # an open breaker may be closed early, by an answer to an earlier send


@dataclass(frozen=True)
class Trouble:
    """Why nothing is sent, in the words of an operator, and since when."""

    reason: str
    since: datetime


async def trouble(connection: Connection) -> Trouble | None:
    """What stops the sends; None while they go."""
    row = await connection.fetchrow(
        """
        SELECT failures, reason, opened_at, paused_at, pause_reason,
               (SELECT capped_at FROM vendor_account
                 WHERE capped_at >= date_trunc('day', now(), 'UTC')) AS capped_at
          FROM breaker
        """
    )
    assert row is not None  # noqa: S101 -- the one row is made with the table
    _show(row)
    metrics.vendor_capped.set(int(row["capped_at"] is not None))
    if row["paused_at"]:
        return Trouble(f"paused by an operator: {row['pause_reason']}", row["paused_at"])
    if row["failures"]:
        return Trouble(row["reason"], row["opened_at"])
    return Trouble(vendor_account.CAPPED, row["capped_at"]) if row["capped_at"] else None


def _show(row: Any) -> None:
    metrics.breaker_open.set(int(row["failures"] > 0))
    metrics.sends_paused.set(int(row["paused_at"] is not None))


async def pause(tx: Connection, reason: str) -> None:
    """Stop all sends until `resume`. Sends under way end as they do."""
    await tx.execute(
        """
        UPDATE breaker
           SET paused_at = coalesce(paused_at, now()),
               pause_reason = CASE WHEN starts_with(pause_reason, $2) THEN $2 || $3 ELSE '' END || $1
        """,
        reason,
        RESTORED,
        _AND_PAUSED,
    )


async def pause_for_restore(tx: Connection) -> None:
    """Stop all sends until `end_restore`: what waits now may have been sent since the backup was taken."""
    await tx.execute(
        """
        UPDATE breaker
           SET paused_at = now(),
               pause_reason = CASE WHEN starts_with(pause_reason, $1) THEN pause_reason
                                   ELSE $1 || coalesce($2 || pause_reason, '') END
        """,
        RESTORED,
        _AND_PAUSED,
    )


async def resume(tx: Connection) -> bool:
    """Let sends go on; False when they were not paused. A restore's pause stays, and only the operator's goes."""
    done = await tx.fetchval(
        """
        UPDATE breaker
           SET paused_at = CASE WHEN starts_with(pause_reason, $1) THEN paused_at END,
               pause_reason = CASE WHEN starts_with(pause_reason, $1) THEN $1 END
         WHERE paused_at IS NOT NULL AND pause_reason <> $1
        RETURNING true
        """,
        RESTORED,
    )
    return bool(done)


async def lock_restore(tx: Connection) -> datetime | None:
    """When a restore stopped all sends, held against every change; None when none did."""
    since: datetime | None = await tx.fetchval(
        "SELECT CASE WHEN starts_with(pause_reason, $1) THEN paused_at END FROM breaker FOR UPDATE", RESTORED
    )
    return since


async def end_restore(tx: Connection) -> str | None:
    """Lift a restore's pause; the reason of an operator's that is left, None when sends go on."""
    left: str | None = await tx.fetchval(
        """
        UPDATE breaker
           SET pause_reason = nullif(substr(pause_reason, length($1 || $2) + 1), ''),
               paused_at = CASE WHEN starts_with(pause_reason, $1 || $2) THEN paused_at END
         WHERE starts_with(pause_reason, $1)
        RETURNING pause_reason
        """,
        RESTORED,
        _AND_PAUSED,
    )
    return left


# What `wait_seconds` goes by, for a statement that reads the breaker besides.
STATE = "breaker.failures, breaker.paused_at, extract(epoch FROM breaker.open_until - now())::float8 AS open_for"


IS_TROUBLED = "(SELECT failures > 0 OR strikes > 0 FROM breaker)"  # whether there is anything to `close`


async def wait_seconds(tx: Connection, row: Any) -> float | None:
    """How long sends must wait by a row with STATE: 0 while closed; None when one probe may go, see `take_probe`.

    None is said to one transaction at a time, so that no other takes a slot of the window for a probe that is gone.
    """
    _show(row)
    if row["paused_at"]:
        return LOOK_AGAIN_SECONDS
    if row["failures"] == 0:
        return 0
    if row["open_for"] > 0:
        return float(min(row["open_for"], LOOK_AGAIN_SECONDS))
    mine = await tx.fetchval("SELECT true FROM breaker WHERE open_until <= now() FOR UPDATE SKIP LOCKED")
    return None if mine else LOOK_AGAIN_SECONDS


async def take_probe(tx: Connection, *, within: timedelta) -> bool:
    """Take the right to the one probe; False when another has it. One that never reports ends `within`."""
    taken = await tx.fetchval(
        """
        UPDATE breaker SET probing = true, open_until = now() + $1::interval
         WHERE failures > 0 AND open_until <= now()
        RETURNING true
        """,
        within,
    )
    return bool(taken)


async def trip(tx: Connection, *, reason: str, first_seconds: float, sent_at: datetime | None = None) -> None:
    """Open the breaker, or open it for longer when its probe failed.

    `sent_at` is when the send began, by the database's clock; None: now. While the breaker is open, sends from
    before its opening do not count: they are not the probe.
    """
    opened = await tx.fetchval(
        """
        UPDATE breaker
           SET failures = failures + 1,
               open_until = now() + least($2 * power(2, least(failures, 20)), $3) * interval '1 s',
               probing = false,
               reason = $1,
               opened_at = coalesce(opened_at, now())
         WHERE failures = 0 OR (probing AND coalesce($4, now()) >= opened_at)
        RETURNING failures
        """,
        reason,
        first_seconds,
        float(_LONGEST_SECONDS),
        sent_at,
    )
    if opened:
        metrics.breaker_open.set(1)
        log.error("breaker_opened", reason=reason, failures=opened)


async def strike(tx: Connection, *, reason: str, limit: int, first_seconds: float, sent_at: datetime) -> None:
    """Count a send that got no usable answer: so many in a row, or a probe, and sends stop. `sent_at` as in `trip`."""
    [row] = await tx.fetch("UPDATE breaker SET strikes = strikes + 1 RETURNING strikes, probing")
    if row["probing"] or row["strikes"] >= limit:
        reason = f"{row['strikes']} sends in a row without a usable answer, the last: {reason}"
        await trip(tx, reason=reason, first_seconds=first_seconds, sent_at=sent_at)


async def retry_probe(tx: Connection, *, seconds: float, sent_at: datetime) -> None:
    """The probe said nothing about the trouble: let another go soon. `sent_at` as in `trip`."""
    await tx.execute(
        """
        UPDATE breaker SET probing = false, open_until = now() + $1 * interval '1 s'
         WHERE probing AND $2 >= opened_at
        """,
        seconds,
        sent_at,
    )


async def close(tx: Connection) -> None:
    """The vendor works: let everything go."""
    closed = await tx.fetchval(
        """
        UPDATE breaker b
           SET failures = 0, strikes = 0, probing = false, open_until = 'epoch', reason = NULL, opened_at = NULL
          FROM (SELECT failures FROM breaker WHERE failures > 0 OR strikes > 0) AS before
         WHERE b.failures > 0 OR b.strikes > 0
        RETURNING before.failures > 0
        """
    )
    if closed:
        metrics.breaker_open.set(0)
        log.warning("breaker_closed")
