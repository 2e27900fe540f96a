"""The one transition function, and reading jobs and attempts.

Every change of a job goes through `transition`, alone or with others: one guarded UPDATE whose row count is the
answer, the timeline entry in the same statement, the event for others in the same transaction.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from reelgate_common import metrics, outbox, tracing, webhooks
from reelgate_common.db import Connection
from reelgate_common.domain.job import Attempt, FailureCode, Job, JobStatus, Operation, SendOutcome, leading_to
from reelgate_common.messages import Event

_JOB_FIELDS = tuple(field.name for field in fields(Job))
_ATTEMPT_FIELDS = tuple(field.name for field in fields(Attempt))


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a transition writes besides the status.

    `deadline`, `next_attempt` and `next_check` are counted from the database's clock (`deadline` from
    `deadline_from` when given); None clears them, and a pending job's deadline is always its expiry.
    The others keep their value when None.
    """

    deadline: timedelta | None = None
    deadline_from: datetime | None = None
    next_attempt: timedelta | None = None
    next_check: timedelta | None = None
    attempt_id: UUID | None = None
    task_id: str | None = None
    video_url: str | None = None
    video_link: str | None = None
    failure_code: FailureCode | None = None
    error_message: str | None = None


@dataclass(frozen=True)
class Move:
    """One job's part in a transition of many: what is written, and where in a trace that was decided."""

    job_id: UUID
    change: Change
    place: str | None


async def transition(
    tx: Connection,
    job_id: UUID,
    to: JobStatus,
    *,
    step: str,
    by: str,
    reason: str | None = None,
    came_from: frozenset[JobStatus] | None = None,
    change: Change | None = None,
    announce: Callable[[Job], Event] | None = None,
) -> Job | None:
    """Move a job on; None, and nothing written, when it is not in a state that may.

    `step` names the timeline entry, `by` the service that decided, `reason` why. `came_from` narrows the
    states that the domain's table allows.
    """
    move = Move(job_id, change or Change(), tracing.current())
    moved = await transition_all(
        tx, [move], to, step=step, by=by, reason=reason, came_from=came_from, announce=announce
    )
    return moved.get(job_id)


async def transition_all(
    tx: Connection,
    moves: Sequence[Move],
    to: JobStatus,
    *,
    step: str,
    by: str,
    reason: str | None = None,
    came_from: frozenset[JobStatus] | None = None,
    announce: Callable[[Job], Event] | None = None,
    express: outbox.Express | None = None,
) -> dict[UUID, Job]:
    """As `transition` for many jobs at once: those that moved. Of several jobs the caller holds the locks.

    With `express`, what is announced is published by the caller, and at once: no move has a `next_attempt`.
    """
    rows = await tx.fetch(
        """
        WITH moved AS (
            UPDATE video_jobs job
               SET status = $1,
                   version = version + 1,
                   updated_at = now(),
                   deadline_at = CASE $1 WHEN 'pending' THEN expires_at
                                         ELSE coalesce(move.deadline_from, now()) + move.deadline END,
                   next_attempt_at = now() + move.next_attempt,
                   republish_after = now() + move.next_attempt + interval '10 s',
                   republishes = 0,
                   next_check_at = now() + move.next_check,
                   attempt_id = coalesce(move.attempt_id, job.attempt_id),
                   task_id = coalesce(move.task_id, job.task_id),
                   video_url = coalesce(move.video_url, job.video_url),
                   video_link = coalesce(move.video_link, job.video_link),
                   failure_code = CASE WHEN $1 <> 'completed' THEN coalesce(move.failure_code, job.failure_code) END,
                   error_message = CASE WHEN $1 <> 'completed' THEN coalesce(move.error_message, job.error_message) END,
                   started_at = CASE $1 WHEN 'submitting' THEN coalesce(started_at, now()) ELSE started_at END,
                   completed_at = CASE WHEN $1 IN ('completed', 'failed', 'canceled') THEN now() END,
                   recovered_at = CASE WHEN status = 'failed' AND $1 = 'completed' THEN now() END
              FROM unnest($6::uuid[], $7::timestamptz[], $8::interval[], $9::interval[], $10::interval[], $11::uuid[],
                          $12::text[], $13::text[], $14::text[], $15::text[], $16::text[])
                   AS move(job_id, deadline_from, deadline, next_attempt, next_check, attempt_id,
                           task_id, video_url, video_link, failure_code, error_message)
             WHERE job.id = move.job_id AND job.status = ANY($2)
            RETURNING job.*
        ), told AS (
            INSERT INTO job_events (job_id, seq, event, status, service, attempt, reason)
            SELECT id, version, $3, status, $4,
                   (SELECT n FROM job_attempts WHERE job_attempts.id = moved.attempt_id), $5
              FROM moved
        )
        SELECT * FROM moved
        """,
        to,
        came_from if came_from is not None else leading_to(to),
        step,
        by,
        reason,
        [move.job_id for move in moves],
        [move.change.deadline_from for move in moves],
        [move.change.deadline for move in moves],
        [move.change.next_attempt for move in moves],
        [move.change.next_check for move in moves],
        [move.change.attempt_id for move in moves],
        [move.change.task_id for move in moves],
        [move.change.video_url for move in moves],
        [move.change.video_link for move in moves],
        [move.change.failure_code for move in moves],
        [move.change.error_message for move in moves],
    )
    if not rows:
        return {}
    metrics.job_steps.labels(step).inc(len(rows))
    moved = {row["id"]: as_job(row) for row in rows}
    if announce:
        told = [(announce(job), job) for job in moved.values()]
        changes = {move.job_id: move for move in moves}
        letters = [
            outbox.Letter(
                message,
                tracing.within(job.traceparent, changes[job.id].place),
                changes[job.id].change.next_attempt or timedelta(0),
            )
            for message, job in told
        ]
        await outbox.add_all(tx, letters, express=express)
        await webhooks.fan_out(tx, told)
    return moved


async def note(tx: Connection, job_id: UUID, *, step: str, by: str, reason: str | None = None) -> None:
    """Write a timeline entry without a change of state, for what a person looking later wants to know."""
    await tx.execute(
        """
        WITH noted AS (
            UPDATE video_jobs SET version = version + 1, updated_at = now() WHERE id = $1
            RETURNING id, version, status, attempt_id
        )
        INSERT INTO job_events (job_id, seq, event, status, service, attempt, reason)
        SELECT id, version, $2, status, $3,
               (SELECT n FROM job_attempts WHERE job_attempts.id = noted.attempt_id), $4
          FROM noted
        """,
        job_id,
        step,
        by,
        reason,
    )
    metrics.job_steps.labels(step).inc()


def as_job(row: Any) -> Job:
    """A row of video_jobs as the domain's Job."""
    values = {name: row[name] for name in _JOB_FIELDS}
    values["status"] = JobStatus(values["status"])
    values["operation"] = Operation(values["operation"])
    code = values["failure_code"]
    values["failure_code"] = FailureCode(code) if code else None
    return Job(**values)


def as_attempt(row: Any) -> Attempt:
    """A row of job_attempts as the domain's Attempt."""
    values = {name: row[name] for name in _ATTEMPT_FIELDS}
    values["operation"] = Operation(values["operation"])
    outcome = values["outcome"]
    values["outcome"] = SendOutcome(outcome) if outcome else None
    return Attempt(**values)


async def lock_job(tx: Connection, job_id: UUID) -> Job | None:
    """The job, held against every other change until the transaction ends."""
    row = await tx.fetchrow("SELECT * FROM video_jobs WHERE id = $1 FOR UPDATE", job_id)
    return as_job(row) if row else None


async def find_attempts(tx: Connection, attempt_ids: Sequence[UUID]) -> dict[UUID, tuple[Attempt, str | None]]:
    """Calls to Kie.ai by their own ids, each with the traceparent of the request that made its job."""
    rows = await tx.fetch(
        """
        SELECT attempt.*, job.traceparent
          FROM job_attempts attempt JOIN video_jobs job ON job.id = attempt.job_id
         WHERE attempt.id = ANY($1)
        """,
        attempt_ids,
    )
    return {row["id"]: (as_attempt(row), row["traceparent"]) for row in rows}


async def find_trace(db: Connection, job_id: UUID) -> str | None:
    """The traceparent of the request that made a job."""
    found: str | None = await db.fetchval("SELECT traceparent FROM video_jobs WHERE id = $1", job_id)
    return found


async def find_attempt(tx: Connection, attempt_id: UUID) -> Attempt | None:
    """One call to Kie.ai, by its own id."""
    row = await tx.fetchrow("SELECT * FROM job_attempts WHERE id = $1", attempt_id)
    return as_attempt(row) if row else None
