"""What is known of the calls to Kie.ai: their outcomes, and which task belongs to which job.

Outcomes are guarded by the attempt, not by its lease: a submitter that slept past its lease still brings
in the truth of its own call.
"""

from datetime import timedelta
from uuid import UUID

import asyncpg
import structlog

from reelgate_common import jobs, settlement
from reelgate_common.db import Connection
from reelgate_common.domain.job import Attempt, Job, JobStatus, SendOutcome
from reelgate_common.jobs import Change
from reelgate_common.messages import JobRequested, JobSubmitted
from reelgate_common.settings import JobSettings

log = structlog.get_logger(__name__)


async def add(tx: Connection, attempt_id: UUID, job_id: UUID, *, token_hash: bytes, vendor_cost: float = 0) -> Attempt:
    """Record a call that is about to be made. The database refuses a second one that may be at Kie.ai.

    The task that an upgrade is asked about is known before its call is made.
    """
    row = await tx.fetchrow(
        """
        INSERT INTO job_attempts (id, job_id, n, operation, token_hash, vendor_cost, hinted_task_id)
        SELECT $1, $2, (SELECT coalesce(max(n), 0) + 1 FROM job_attempts WHERE job_id = $2), operation, $3, $4,
               CASE WHEN operation IN ('upgrade_1080p', 'upgrade_4k') THEN source_task_id END
          FROM video_jobs
         WHERE id = $2
        RETURNING *
        """,
        attempt_id,
        job_id,
        token_hash,
        vendor_cost,
    )
    return jobs.as_attempt(row)


async def record_outcome(
    tx: Connection, attempt_id: UUID, outcome: SendOutcome, *, code: int | None, message: str | None
) -> bool:
    """Write how a call ended; False when something surer is written already."""
    row = await tx.fetchrow(
        """
        UPDATE job_attempts
           SET outcome = $2, outcome_at = now(), vendor_code = $3, vendor_message = $4
         WHERE id = $1 AND (outcome IS NULL OR outcome = 'unknown')
        RETURNING id
        """,
        attempt_id,
        outcome,
        code,
        message,
    )
    return row is not None


async def accept(
    tx: Connection, attempt: Attempt, task_id: str, *, by: str, reason: str | None, policy: JobSettings
) -> Job | None:
    """Record that Kie.ai has the job under this task id, and let the job go on to processing.

    Also when the job is over by a deadline: its task is then known for the late check. None when another
    attempt owns the task, or this one has another: the evidence contradicts what is recorded.
    """
    job = await jobs.lock_job(tx, attempt.job_id)
    known = await jobs.find_attempt(tx, attempt.id)  # read again: the job's lock is held only now
    if job is None or known is None:
        return None
    if known.task_id == task_id:
        return job
    if not await _take_task(tx, attempt, job, task_id):
        return None
    moved = await jobs.transition(
        tx,
        attempt.job_id,
        JobStatus.PROCESSING,
        step="submitted",
        by=by,
        reason=reason,
        change=Change(
            attempt_id=attempt.id,
            task_id=task_id,
            deadline=timedelta(seconds=policy.processing_deadline),
            next_check=timedelta(seconds=policy.first_poll_seconds),
        ),
        announce=lambda sent: JobSubmitted(job_id=sent.id, job_version=sent.version, task_id=task_id),
    )
    if moved:
        log.info("job_submitted", job_id=str(moved.id), task_id=task_id)
        return moved
    if job.status is JobStatus.FAILED and job.task_id is None:
        await tx.execute(
            "UPDATE video_jobs SET task_id = $2, attempt_id = $3 WHERE id = $1", job.id, task_id, attempt.id
        )
    await jobs.note(tx, job.id, step="task_found", by=by, reason=f"attempt {attempt.n} has task {task_id}")
    return job


async def _take_task(tx: Connection, attempt: Attempt, job: Job, task_id: str) -> bool:
    superseded = job.attempt_id not in (None, attempt.id)
    try:
        async with tx.transaction():  # a savepoint: a task owned by another job must not end ours
            row = await tx.fetchrow(
                """
                UPDATE job_attempts
                   SET outcome = 'accepted', outcome_at = now(), task_id = $2,
                       superseded_at = CASE WHEN $3 THEN coalesce(superseded_at, now()) ELSE superseded_at END
                 WHERE id = $1 AND (task_id IS NULL OR task_id = $2)
                RETURNING id
                """,
                attempt.id,
                task_id,
                superseded,
            )
    except asyncpg.UniqueViolationError:
        row = None
    if row is None:
        log.error("task_contradicts", job_id=str(job.id), attempt_id=str(attempt.id), task_id=task_id)
    return row is not None


async def back_to_pending(tx: Connection, job: Job, *, delay: timedelta, step: str, by: str, reason: str) -> Job | None:
    """Let a job that was surely not taken wait for another try, with a permit that becomes due with it.

    A cancellation asked for meanwhile is honoured here. The caller holds the job's lock.
    """
    wish = job.cancel_requested_at is not None
    waiting = await jobs.transition(
        tx,
        job.id,
        JobStatus.PENDING,
        step=step,
        by=by,
        reason=reason,
        change=Change(next_attempt=delay),
        announce=None if wish else lambda waiting: JobRequested(job_id=job.id, job_version=waiting.version),
    )
    return await settlement.cancel(tx, job.id, by=by) if waiting and wish else waiting
