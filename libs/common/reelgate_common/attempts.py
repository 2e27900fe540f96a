"""What is known of the calls to Kie.ai: their outcomes, and which task belongs to which job.

Outcomes are guarded by the attempt, not by its lease: a submitter that slept past its lease still brings
in the truth of its own call.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import asyncpg
import structlog

from reelgate_common import breaker, jobs, settlement
from reelgate_common.db import Connection
from reelgate_common.domain.job import Attempt, Job, JobStatus, SendOutcome
from reelgate_common.jobs import Change, Move
from reelgate_common.messages import JobRequested, JobSubmitted
from reelgate_common.outbox import Express
from reelgate_common.settings import JobSettings

log = structlog.get_logger(__name__)


class Contradicted(Exception):
    """The evidence contradicts what is recorded."""


@dataclass(frozen=True, kw_only=True)
class NewAttempt:
    """A call that is about to be made."""

    id: UUID
    job_id: UUID
    token_hash: bytes
    vendor_cost: float


async def add(tx: Connection, attempt_id: UUID, job_id: UUID, *, token_hash: bytes, vendor_cost: float = 0) -> Attempt:
    """As `add_all` for one call."""
    new = NewAttempt(id=attempt_id, job_id=job_id, token_hash=token_hash, vendor_cost=vendor_cost)
    return (await add_all(tx, [new]))[job_id]


async def add_all(tx: Connection, new: Sequence[NewAttempt]) -> dict[UUID, Attempt]:
    """Record calls that are about to be made; they come back by their jobs' ids.

    The database refuses a job a second one that may be at Kie.ai. The task that an upgrade is asked about is known
    before its call is made.
    """
    rows = await tx.fetch(
        """
        INSERT INTO job_attempts (id, job_id, n, operation, token_hash, vendor_cost, hinted_task_id)
        SELECT new.id, job.id, (SELECT coalesce(max(n), 0) + 1 FROM job_attempts WHERE job_id = job.id), job.operation,
               new.token_hash, new.vendor_cost,
               CASE WHEN job.operation IN ('upgrade_1080p', 'upgrade_4k') THEN job.source_task_id END
          FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::float8[]) AS new(id, job_id, token_hash, vendor_cost)
          JOIN video_jobs job ON job.id = new.job_id
        RETURNING *
        """,
        [each.id for each in new],
        [each.job_id for each in new],
        [each.token_hash for each in new],
        [each.vendor_cost for each in new],
    )
    return {row["job_id"]: jobs.as_attempt(row) for row in rows}


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


@dataclass(frozen=True)
class Taken:
    """Kie.ai's word that it has taken a call, under this task id."""

    attempt: Attempt
    task_id: str
    place: str | None  # in a trace


async def accept_plain(
    tx: Connection, taken: Sequence[Taken], *, by: str, policy: JobSettings, express: Express
) -> tuple[frozenset[UUID], bool]:
    """What `accept` does for many calls at once, where it is plain: the ids of those attempts.

    Besides, whether the breaker has trouble to forget, now that the vendor is known to work.

    Plain is a job that waits for nothing but this answer, and that nobody else holds. Raises Contradicted when a
    task belongs to another attempt; nothing is written then.
    """
    try:
        rows = await tx.fetch(
            f"""
            WITH held AS (
                SELECT job.id, taken.attempt_id, taken.task_id
                  FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS taken(job_id, attempt_id, task_id)
                  JOIN video_jobs job ON job.id = taken.job_id
                 WHERE job.status = 'submitting' AND job.attempt_id = taken.attempt_id
                 ORDER BY job.id
                   FOR NO KEY UPDATE OF job SKIP LOCKED
            )
            UPDATE job_attempts attempt
               SET outcome = 'accepted', outcome_at = now(), task_id = held.task_id
              FROM held
             WHERE attempt.id = held.attempt_id AND attempt.outcome IS NULL
            RETURNING attempt.id, {breaker.IS_TROUBLED} AS is_troubled
            """,  # noqa: S608
            [each.attempt.job_id for each in taken],
            [each.attempt.id for each in taken],
            [each.task_id for each in taken],
        )
    except asyncpg.UniqueViolationError as error:
        raise Contradicted("a task belongs to another attempt") from error
    done = frozenset(row["id"] for row in rows)
    moves = [
        Move(each.attempt.job_id, _processing(each.attempt, each.task_id, policy), each.place)
        for each in taken
        if each.attempt.id in done
    ]
    if moves:
        moved = await jobs.transition_all(
            tx, moves, JobStatus.PROCESSING, step="submitted", by=by, announce=_submitted, express=express
        )
        if len(moved) < len(moves):
            raise AssertionError("a job was submitting and locked")
    return done, any(row["is_troubled"] for row in rows)


def _processing(attempt: Attempt, task_id: str, policy: JobSettings) -> Change:
    return Change(
        attempt_id=attempt.id,
        task_id=task_id,
        deadline=timedelta(seconds=policy.processing_deadline),
        next_check=timedelta(seconds=policy.first_poll_seconds),
    )


def _submitted(job: Job) -> JobSubmitted:
    return JobSubmitted(job_id=job.id, job_version=job.version, task_id=job.task_id or "")


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
        change=_processing(attempt, task_id, policy),
        announce=_submitted,
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
