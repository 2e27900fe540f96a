"""Deleting videos: what callers see ends in the transaction, the file in the bucket soon after it."""

from uuid import UUID

from reelgate_common import jobs
from reelgate_common.db import Connection
from reelgate_common.domain.job import JobStatus

_AT_ONCE = 500


async def delete(tx: Connection, job_id: UUID, *, by: str, reason: str) -> bool:
    """Give a job's video to nobody any more; False when there is none, or it was deleted before.

    The reconciler removes its file, also one that a copy under way still brings. The job and its charge stay.
    """
    job = await jobs.lock_job(tx, job_id)
    if job is None or job.status is not JobStatus.COMPLETED or job.video_deleted_at is not None:
        return False
    await tx.execute(
        """
        UPDATE videos
           SET state = CASE WHEN attempts = 0 THEN 'deleted' ELSE 'deleting' END,
               due_at = CASE WHEN attempts > 0 THEN greatest(now(), CASE WHEN state = 'due' THEN due_at END) END
         WHERE job_id = $1 AND state NOT IN ('deleting', 'deleted')
        """,
        job_id,
    )
    await tx.execute(
        """
        UPDATE video_jobs
           SET video_deleted_at = now(), video_kept_at = NULL, video_expires_at = NULL
         WHERE id = $1
        """,
        job_id,
    )
    await jobs.note(tx, job_id, step="video_deleted", by=by, reason=reason)
    return True


async def delete_of_wallet(tx: Connection, wallet_address: str, *, by: str, reason: str) -> int:
    """Delete some videos of a wallet; return how many. Call it, each in its own transaction, until that is 0."""
    rows = await tx.fetch(
        """
        SELECT id FROM video_jobs
         WHERE wallet_address = $1 AND status = 'completed' AND video_deleted_at IS NULL
         ORDER BY id
         LIMIT $2
        """,
        wallet_address,
        _AT_ONCE,
    )
    for row in rows:
        await delete(tx, row["id"], by=by, reason=reason)
    return len(rows)
