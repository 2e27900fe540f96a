"""After a backup was restored: what was sent since it was taken nobody knows, and must not be sent again.

A job that was pending in the backup may have been sent an hour later, and paid. So each of them becomes unknown,
as if its answer had been lost: refunded at the deadline, or sent once more where SUBMIT_UNKNOWN_POLICY says so.
"""

from datetime import timedelta
from uuid import UUID

import structlog

from reelgate_common import attempts, breaker, jobs
from reelgate_common.db import Connection, Database
from reelgate_common.domain.job import JobStatus, SendOutcome
from reelgate_common.ids import new_id
from reelgate_common.jobs import Change
from reelgate_common.settings import JobSettings

log = structlog.get_logger(__name__)

# Written by whatever restores a backup, before any service starts; and no other pause is lifted here.
PAUSE_REASON = "restored from a backup: run `reelgate restored`"
_REASON = "restored from a backup: nobody knows whether it was sent since"
_BY = "operator"
_BATCH = 100


async def doubt_pending(db: Database, policy: JobSettings) -> int:
    """Take every pending job for one that may have been sent; return how many. May be repeated after a crash."""
    count = 0
    while done := await _doubt_some(db, policy):
        count += done
    return count


async def resume(db: Database) -> bool:
    """Let sends go on that were stopped by the restore; False when they were not, or an operator stopped them too."""
    async with db.transaction() as tx:
        if await tx.fetchval("SELECT pause_reason FROM breaker FOR UPDATE") != PAUSE_REASON:
            return False
        return await breaker.resume(tx)


async def _doubt_some(db: Database, policy: JobSettings) -> int:
    async with db.transaction() as tx:
        rows = await tx.fetch(
            "SELECT id FROM video_jobs WHERE status = 'pending' ORDER BY turn, id LIMIT $1 FOR UPDATE", _BATCH
        )
        for row in rows:
            await _doubt(tx, row["id"], policy)
        return len(rows)


async def _doubt(tx: Connection, job_id: UUID, policy: JobSettings) -> None:
    deadline = timedelta(seconds=policy.submit_unknown_deadline)
    attempt = await attempts.add(tx, new_id(), job_id, token_hash=b"")  # no token has this hash
    await attempts.record_outcome(tx, attempt.id, SendOutcome.UNKNOWN, code=None, message=_REASON)
    claimed = Change(attempt_id=attempt.id, deadline=deadline)
    await jobs.transition(tx, job_id, JobStatus.SUBMITTING, step="claimed", by=_BY, reason=_REASON, change=claimed)
    doubted = Change(deadline=deadline)
    await jobs.transition(tx, job_id, JobStatus.UNKNOWN, step="unknown", by=_BY, reason=_REASON, change=doubted)
    log.warning("restored_job_doubted", job_id=str(job_id))
