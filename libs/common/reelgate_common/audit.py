"""The books: does every balance equal its ledger, and did every job get exactly the money it should.

`verify` reads the whole history. `RunningAudit` reads what is new since its last pass, so that its cost does
not grow with history; what it cannot see (an old job edited by hand) `verify` does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from reelgate_common import metrics
from reelgate_common.db import Connection, Database

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Finding:
    """Something that must not be: which rule, which wallet or job, and the figures."""

    rule: str
    subject: str
    detail: str


_BALANCE = "balance is the sum of the ledger"
_BALANCES = """
    SELECT c.wallet_address AS subject,
           'balance ' || c.credits || ', ledger ' || coalesce(sum(t.amount), 0) AS detail
      FROM credits c LEFT JOIN credit_transactions t USING (wallet_address)
     WHERE {only}
     GROUP BY c.wallet_address, c.credits
    HAVING c.credits <> coalesce(sum(t.amount), 0)
"""
# Each selects the jobs that break a rule, of those that `only` lets through; none selected means the rule holds.
_JOB_RULES = {
    "a job is charged once, its cost": """
        SELECT j.id::text AS subject, 'cost ' || j.cost || ', charged ' || coalesce(-t.amount, 0) AS detail
          FROM video_jobs j
          LEFT JOIN credit_transactions t ON t.job_id = j.id AND t.transaction_type = 'charge'
         WHERE t.amount IS DISTINCT FROM -j.cost AND {only}
    """,
    "a job is refunded its cost if and only if it says so": """
        SELECT j.id::text AS subject,
               j.status || ', refunded_at ' || coalesce(j.refunded_at::text, 'not set')
                        || ', cost ' || j.cost || ', refund ' || coalesce(t.amount, 0) AS detail
          FROM video_jobs j
          LEFT JOIN credit_transactions t ON t.job_id = j.id AND t.transaction_type = 'refund'
         WHERE ((t.id IS NULL) <> (j.refunded_at IS NULL) OR t.amount <> j.cost) AND {only}
    """,
    "a delivered job keeps its charge unless it was recovered": """
        SELECT j.id::text AS subject, 'completed and refunded' AS detail
          FROM video_jobs j
         WHERE j.status = 'completed' AND j.refunded_at IS NOT NULL AND j.recovered_at IS NULL AND {only}
    """,
    "a job is charged again only when it was refunded and recovered": """
        SELECT j.id::text AS subject, j.status || ' and charged again' AS detail
          FROM video_jobs j JOIN credit_transactions t ON t.job_id = j.id AND t.transaction_type = 'recharge'
         WHERE (j.refunded_at IS NULL OR j.recovered_at IS NULL OR t.amount <> -j.cost) AND {only}
    """,
}
_REFUND = "an undelivered job is refunded within a minute"
_REFUNDS_DUE = """
    SELECT id::text AS subject, status || ' since ' || completed_at AS detail
      FROM video_jobs
     WHERE status IN ('failed', 'canceled') AND refunded_at IS NULL AND completed_at < now() - interval '1 minute'
"""
RULES = (_BALANCE, *_JOB_RULES, _REFUND)
_MOST = 100  # of each rule: a broken rule is shown, not dumped

_FIRST_LOOK = timedelta(hours=24)  # how far back the first pass of a process looks
_OVERLAP = timedelta(minutes=10)  # longer than any transaction lasts and any clock is wrong
_SETTLED = timedelta(hours=1)  # entries this old are added up for good
_SLICE = 200  # wallets looked at in each pass though nothing is new, one slice after another


async def verify(db: Database) -> list[Finding]:
    """Read the whole history and return what breaks a rule. One snapshot, so work in hand is no finding."""
    async with db.transaction() as tx:
        await tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        await tx.execute("SET LOCAL statement_timeout = 0")
        findings = await _broken(tx, _BALANCE, _BALANCES.format(only="true"))
        for rule, select in _JOB_RULES.items():
            findings += await _broken(tx, rule, select.format(only="true"))
        return findings + await _broken(tx, _REFUND, _REFUNDS_DUE)


async def _broken(tx: Connection, rule: str, select: str, *arguments: Any) -> list[Finding]:
    rows = await tx.fetch(f"SELECT * FROM ({select}) AS broken LIMIT {_MOST}", *arguments, timeout=3600)  # noqa: S608
    return [Finding(rule, row["subject"], row["detail"]) for row in rows]


class RunningAudit:
    """The audit of what is new. Identifiers are UUIDv7: the newest rows are the end of a primary key."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._last: datetime | None = None
        self._last_wallet = ""
        self._found: list[Finding] = []

    async def run_once(self) -> list[Finding]:
        """Look at the wallets and jobs of new entries, a slice of the other wallets, and refunds that are due.

        What the last pass found is looked at again: it is told until it is mended.
        """
        async with self._db.transaction() as tx:
            await tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            now: datetime = await tx.fetchval("SELECT now()")
            since = _first_id(self._last - _OVERLAP if self._last else now - _FIRST_LOOK)
            wallets, last_wallet = await self._wallets(tx, since)
            findings = await _balances(tx, wallets)
            await _add_up(tx, wallets, settled=_first_id(now - _SETTLED))
            jobs = [*await _jobs(tx, since), *map(UUID, self._found_by(*_JOB_RULES))]
            for rule, select in _JOB_RULES.items():
                findings += await _broken(tx, rule, select.format(only="j.id = ANY($1)"), jobs)
            findings += await _broken(tx, _REFUND, _REFUNDS_DUE)
        self._last, self._last_wallet, self._found = now, last_wallet, findings
        return findings

    async def report(self) -> int:
        """Run once, and tell operators what was found. Nobody mends it: a broken promise is for a person."""
        findings = await self.run_once()
        for rule in RULES:
            metrics.ledger_drift.labels(rule).set(sum(finding.rule == rule for finding in findings))
        for finding in findings:
            log.error("ledger_drift", rule=finding.rule, subject=finding.subject, detail=finding.detail)
        return len(findings)

    async def _wallets(self, tx: Connection, since: UUID) -> tuple[list[str], str]:
        """The wallets to look at now, and where the next slice begins."""
        new = await tx.fetch("SELECT DISTINCT wallet_address FROM credit_transactions WHERE id >= $1", since)
        some = await tx.fetch(
            "SELECT wallet_address FROM credits WHERE wallet_address > $1 ORDER BY wallet_address LIMIT $2",
            self._last_wallet,
            _SLICE,
        )
        last = some[-1]["wallet_address"] if len(some) == _SLICE else ""
        return sorted({row["wallet_address"] for row in (*new, *some)} | self._found_by(_BALANCE)), last

    def _found_by(self, *rules: str) -> set[str]:
        """What broke one of these rules in the last pass."""
        return {finding.subject for finding in self._found if finding.rule in rules}


def _first_id(moment: datetime) -> UUID:
    """The least UUIDv7 of a moment."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


async def _balances(tx: Connection, wallets: Sequence[str]) -> list[Finding]:
    """Compare with what was added up before and the entries since; what differs is added up anew to be sure."""
    doubted = await tx.fetch(
        """
        SELECT c.wallet_address
          FROM credits c LEFT JOIN wallet_checkpoints k USING (wallet_address)
         WHERE c.wallet_address = ANY($1)
           AND c.credits <> coalesce(k.total, 0) + coalesce((
                   SELECT sum(t.amount) FROM credit_transactions t
                    WHERE t.wallet_address = c.wallet_address AND t.id >= coalesce(k.upto, $2)), 0)
        """,
        wallets,
        UUID(int=0),
    )
    names = [row["wallet_address"] for row in doubted]
    if not names:
        return []
    await tx.execute("DELETE FROM wallet_checkpoints WHERE wallet_address = ANY($1)", names)
    return await _broken(tx, _BALANCE, _BALANCES.format(only="c.wallet_address = ANY($1)"), names)


async def _add_up(tx: Connection, wallets: Sequence[str], *, settled: UUID) -> None:
    """Remember the sums of entries older than `settled`, so that they need not be read again."""
    await tx.execute(
        """
        INSERT INTO wallet_checkpoints AS k (wallet_address, upto, total)
        SELECT w.wallet_address, $2, coalesce(old.total, 0) + new.total
          FROM unnest($1::text[]) AS w(wallet_address)
          LEFT JOIN wallet_checkpoints old USING (wallet_address)
         CROSS JOIN LATERAL (
               SELECT sum(t.amount) AS total FROM credit_transactions t
                WHERE t.wallet_address = w.wallet_address AND t.id >= coalesce(old.upto, $3) AND t.id < $2) AS new
         WHERE new.total IS NOT NULL
        ON CONFLICT (wallet_address) DO UPDATE SET upto = excluded.upto, total = excluded.total
        """,
        wallets,
        settled,
        UUID(int=0),
    )


async def _jobs(tx: Connection, since: UUID) -> list[UUID]:
    """The jobs that are new, or whose money moved."""
    rows = await tx.fetch(
        """
        SELECT id FROM video_jobs WHERE id >= $1
         UNION
        SELECT job_id FROM credit_transactions WHERE id >= $1 AND job_id IS NOT NULL
        """,
        since,
    )
    return [row["id"] for row in rows]
