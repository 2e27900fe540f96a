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
from reelgate_common.ids import first_id

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
# What a job says of its money beside what the ledger says. Not a join: which of them a planner takes hangs on what it
# believes of the newest rows, of which it knows nothing; this reads two ranges and adds up.
_BOOKS = """
    SELECT id, max(status) AS status, max(cost) AS cost, max(refunded_at) AS refunded_at,
           max(recovered_at) AS recovered_at,
           sum(amount) FILTER (WHERE transaction_type = 'charge') AS charge,
           sum(amount) FILTER (WHERE transaction_type = 'refund') AS refund,
           sum(amount) FILTER (WHERE transaction_type = 'recharge') AS recharge
      FROM (SELECT id, status, cost, refunded_at, recovered_at, NULL AS transaction_type, NULL::bigint AS amount
              FROM video_jobs WHERE {jobs}
             UNION ALL
            SELECT job_id, NULL, NULL, NULL, NULL, transaction_type, amount
              FROM credit_transactions WHERE job_id IS NOT NULL AND {entries}) AS said
     GROUP BY id
    HAVING max(cost) IS NOT NULL -- a job that was removed leaves its entries
"""
# Of each job: what must not be, and the figures.
_JOB_RULES = {
    "a job is charged once, its cost": (
        "charge IS DISTINCT FROM -cost",
        "'cost ' || cost || ', charged ' || coalesce(-charge, 0)",
    ),
    "a job is refunded its cost if and only if it says so": (
        "(refund IS NULL) <> (refunded_at IS NULL) OR refund <> cost",
        """format('%s, refunded_at %s, cost %s, refund %s',
                  status, coalesce(refunded_at::text, 'not set'), cost, coalesce(refund, 0))""",
    ),
    "a delivered job keeps its charge unless it was recovered": (
        "status = 'completed' AND refunded_at IS NOT NULL AND recovered_at IS NULL",
        "'completed and refunded'",
    ),
    "a job is charged again only when it was refunded and recovered": (
        "recharge IS NOT NULL AND (refunded_at IS NULL OR recovered_at IS NULL OR recharge <> -cost)",
        "status || ' and charged again'",
    ),
}
_BROKEN = " OR ".join(f"({broken})" for broken, _ in _JOB_RULES.values())
_EACH = ", ".join(f"('{rule}', {broken}, {detail})" for rule, (broken, detail) in _JOB_RULES.items())
_JUDGED = f"""
    SELECT rule, subject, detail
      FROM (SELECT rule, id::text AS subject, detail, row_number() OVER (PARTITION BY rule ORDER BY id) AS n
              FROM ({_BOOKS}) AS books, LATERAL (VALUES {_EACH}) AS judged (rule, is_broken, detail)
             WHERE ({_BROKEN}) AND is_broken) AS found
     WHERE n <= {{most}}
"""  # noqa: S608 -- words of ours
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
        findings += await _judged(tx, jobs="true", entries="true")
        return findings + await _broken(tx, _REFUND, _REFUNDS_DUE)


async def _judged(tx: Connection, *arguments: Any, jobs: str, entries: str) -> list[Finding]:
    """What breaks a rule among these jobs; `entries` lets through all of theirs at least."""
    rows = await tx.fetch(_JUDGED.format(jobs=jobs, entries=entries, most=_MOST), *arguments, timeout=3600)
    return [Finding(**row) for row in rows]


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
            begin = self._last - _OVERLAP if self._last else now - _FIRST_LOOK
            since = first_id(begin)
            wallets, last_wallet = await self._wallets(tx, since)
            findings = await _balances(tx, wallets)
            await _add_up(tx, wallets, settled=first_id(now - _SETTLED))
            entries = first_id(begin - _OVERLAP)  # a job's own, also where its clock was ahead of theirs
            findings += await _judged(tx, since, entries, jobs="id >= $1", entries="id >= $2 AND job_id >= $1")
            found = {job_id for job_id in map(UUID, self._found_by(*_JOB_RULES)) if job_id < since}
            older = sorted(found | await _older_jobs(tx, since))
            if older:
                findings += await _judged(tx, older, jobs="id = ANY($1)", entries="job_id = ANY($1)")
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


async def _older_jobs(tx: Connection, since: UUID) -> set[UUID]:
    """The jobs of before whose money moved since."""
    rows = await tx.fetch("SELECT DISTINCT job_id FROM credit_transactions WHERE id >= $1 AND job_id < $1", since)
    return {row["job_id"] for row in rows}
