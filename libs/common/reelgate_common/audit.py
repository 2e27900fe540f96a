"""The books: does every balance equal its ledger, and did every job get exactly the money it should."""

from dataclasses import dataclass

from reelgate_common.db import Database


@dataclass(frozen=True)
class Finding:
    """Something that must not be: which rule, which wallet or job, and the figures."""

    rule: str
    subject: str
    detail: str


# Each selects what breaks a rule; nothing selected means the rule holds.
_RULES = {
    "balance is the sum of the ledger": """
        SELECT c.wallet_address AS subject,
               'balance ' || c.credits || ', ledger ' || coalesce(sum(t.amount), 0) AS detail
          FROM credits c LEFT JOIN credit_transactions t USING (wallet_address)
         GROUP BY c.wallet_address, c.credits
        HAVING c.credits <> coalesce(sum(t.amount), 0)
    """,
    "a job is charged once, its cost": """
        SELECT j.id::text AS subject, 'cost ' || j.cost || ', charged ' || coalesce(-t.amount, 0) AS detail
          FROM video_jobs j
          LEFT JOIN credit_transactions t ON t.job_id = j.id AND t.transaction_type = 'charge'
         WHERE t.amount IS DISTINCT FROM -j.cost
    """,
    "a job is refunded if and only if it says so": """
        SELECT j.id::text AS subject, j.status || ', refunded_at ' || coalesce(j.refunded_at::text, 'not set') AS detail
          FROM video_jobs j
          LEFT JOIN credit_transactions t ON t.job_id = j.id AND t.transaction_type = 'refund'
         WHERE (t.id IS NULL) <> (j.refunded_at IS NULL)
    """,
    "a delivered job keeps its charge unless it was recovered": """
        SELECT id::text AS subject, 'completed and refunded' AS detail
          FROM video_jobs
         WHERE status = 'completed' AND refunded_at IS NOT NULL AND recovered_at IS NULL
    """,
    "an undelivered job is refunded within a minute": """
        SELECT id::text AS subject, status || ' since ' || completed_at AS detail
          FROM video_jobs
         WHERE status IN ('failed', 'canceled') AND refunded_at IS NULL
           AND completed_at < now() - interval '1 minute'
    """,
}
_MOST = 100  # of each rule: a broken rule is shown, not dumped


async def verify(db: Database) -> list[Finding]:
    """Read the whole history and return what breaks a rule. One snapshot, so work in hand is no finding."""
    findings = []
    async with db.transaction() as tx:
        await tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        await tx.execute("SET LOCAL statement_timeout = 0")
        for rule, select in _RULES.items():
            rows = await tx.fetch(f"SELECT * FROM ({select}) AS broken LIMIT {_MOST}", timeout=3600)  # noqa: S608
            findings += [Finding(rule, row["subject"], row["detail"]) for row in rows]
    return findings
