"""Permits that got lost are made again: for the reconciler's pass and the cron endpoint."""

from uuid import UUID

import structlog

from reelgate_common import outbox, topology
from reelgate_common.bus import Bus
from reelgate_common.db import Connection, Database
from reelgate_common.messages import JobRequested

log = structlog.get_logger(__name__)

_OVERDUE = "status = 'pending' AND republish_after <= now() AND next_attempt_at <= now()"  # and so is its permit


async def run_once(db: Database, bus: Bus, *, by: str, limit: int) -> int:
    """Queue due pending jobs again whose permit is neither in the outbox nor in the queue; return how many.

    A permit that is only delivered and unacked looks lost too; one too many does no harm, since it finds
    no job to claim. The database is asked first: the broker takes a connection for the question.
    """
    async with db.connection() as connection:
        if not await _may_be_lost(connection):
            return 0
    if await bus.depth(topology.JOB_REQUESTED) != 0:
        return 0
    async with db.transaction() as tx:
        lost = await _take_lost(tx, limit)
        for job_id, version in lost:
            await outbox.add(tx, JobRequested(job_id=job_id, job_version=version))
    if lost:
        log.warning("permits_republished", count=len(lost), by=by)
    return len(lost)


async def _may_be_lost(db: Connection) -> bool:
    """Whether there is a job whose permit should have been used by now, wherever it is."""
    found: bool = await db.fetchval(f"SELECT EXISTS (SELECT FROM video_jobs WHERE {_OVERDUE})")  # noqa: S608
    return found


async def _take_lost(tx: Connection, limit: int) -> list[tuple[UUID, int]]:
    """Each time a job's permit is made again, the next time is twice as far away."""
    rows = await tx.fetch(
        f"""
        UPDATE video_jobs
           SET republishes = republishes + 1,
               republish_after = now() + least(power(2, republishes + 1), 360) * interval '10 s'
         WHERE id IN (
            SELECT id FROM video_jobs AS job
             WHERE {_OVERDUE}
               AND NOT EXISTS (SELECT FROM outbox
                                WHERE outbox.job_id = job.id AND outbox.routing_key = 'job.requested')
             ORDER BY republish_after
             LIMIT $1
               FOR UPDATE SKIP LOCKED)
        RETURNING id, version
        """,  # noqa: S608
        limit,
    )
    return [(row["id"], row["version"]) for row in rows]
