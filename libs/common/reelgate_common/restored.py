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

_REASON = "restored from a backup: nobody knows whether it was sent since"
_BY = "operator"
_BATCH = 100


class NotRestored(Exception):
    """No restore stopped the sends: what waits is sent as ever, and nothing was changed."""

    def __init__(self) -> None:
        super().__init__(
            "sends are not stopped by a restore: nothing was changed."
            " After a restore without restore.sh: `reelgate pause --restored` first, before a submitter runs"
        )


async def doubt_pending(db: Database, policy: JobSettings) -> int:
    """Take every job that waits since before the restore for one that may have been sent; return how many.

    May be repeated after a crash. What was accepted since is surely not sent, and waits on. NotRestored: see there.
    """
    count = 0
    while done := await _doubt_some(db, policy):
        count += done
    return count


async def resume(db: Database) -> str | None:
    """Let sends go on that were stopped by the restore; the reason when an operator stopped them too. NotRestored."""
    async with db.transaction() as tx:
        if await breaker.lock_restore(tx) is None:
            raise NotRestored
        return await breaker.end_restore(tx)


async def _doubt_some(db: Database, policy: JobSettings) -> int:
    async with db.transaction() as tx:
        since = await breaker.lock_restore(tx)
        if since is None:
            raise NotRestored
        rows = await tx.fetch(
            """
            SELECT id FROM video_jobs
             WHERE status = 'pending' AND created_at < $1
             ORDER BY turn, id LIMIT $2 FOR UPDATE
            """,
            since,
            _BATCH,
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
    # As after a send: an upgrade's task is known before it is sent, and can be asked about.
    ask = timedelta(seconds=policy.hint_interval_seconds) if attempt.operation.is_upgrade else None
    doubted = Change(deadline=deadline, next_check=ask)
    await jobs.transition(tx, job_id, JobStatus.UNKNOWN, step="unknown", by=_BY, reason=_REASON, change=doubted)
    log.warning("restored_job_doubted", job_id=str(job_id))
