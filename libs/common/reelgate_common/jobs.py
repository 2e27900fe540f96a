"""The one transition function, and reading jobs and attempts.

Every change of a job goes through `transition`: one guarded UPDATE whose row count is the answer, the
timeline entry in the same statement, the event for others in the same transaction.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from reelgate_common import metrics, outbox, webhooks
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
    change = change or Change()
    row = await tx.fetchrow(
        """
        WITH moved AS (
            UPDATE video_jobs
               SET status = $2,
                   version = version + 1,
                   updated_at = now(),
                   deadline_at = CASE $2 WHEN 'pending' THEN expires_at ELSE coalesce($4, now()) + $5::interval END,
                   next_attempt_at = now() + $6::interval,
                   republish_after = now() + $6::interval + interval '10 s',
                   republishes = 0,
                   next_check_at = now() + $7::interval,
                   attempt_id = coalesce($8, attempt_id),
                   task_id = coalesce($9, task_id),
                   video_url = coalesce($10, video_url),
                   video_link = coalesce($16, video_link),
                   failure_code = CASE WHEN $2 <> 'completed' THEN coalesce($11, failure_code) END,
                   error_message = CASE WHEN $2 <> 'completed' THEN coalesce($12, error_message) END,
                   started_at = CASE $2 WHEN 'submitting' THEN coalesce(started_at, now()) ELSE started_at END,
                   completed_at = CASE WHEN $2 IN ('completed', 'failed', 'canceled') THEN now() END,
                   recovered_at = CASE WHEN status = 'failed' AND $2 = 'completed' THEN now() END
             WHERE id = $1 AND status = ANY($3)
            RETURNING *
        ), told AS (
            INSERT INTO job_events (job_id, seq, event, status, service, attempt, reason)
            SELECT id, version, $13, status, $14,
                   (SELECT n FROM job_attempts WHERE job_attempts.id = moved.attempt_id), $15
              FROM moved
        )
        SELECT * FROM moved
        """,
        job_id,
        to,
        came_from if came_from is not None else leading_to(to),
        change.deadline_from,
        change.deadline,
        change.next_attempt,
        change.next_check,
        change.attempt_id,
        change.task_id,
        change.video_url,
        change.failure_code,
        change.error_message,
        step,
        by,
        reason,
        change.video_link,
    )
    if row is None:
        return None
    metrics.job_steps.labels(step).inc()
    job = as_job(row)
    if announce:
        message = announce(job)
        await outbox.add(tx, message, after=change.next_attempt or timedelta(0))
        await webhooks.fan_out(tx, message, job)
    return job


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


async def find_trace(db: Connection, job_id: UUID) -> str | None:
    """The traceparent of the request that made a job."""
    found: str | None = await db.fetchval("SELECT traceparent FROM video_jobs WHERE id = $1", job_id)
    return found


async def find_attempt(tx: Connection, attempt_id: UUID) -> Attempt | None:
    """One call to Kie.ai, by its own id."""
    row = await tx.fetchrow("SELECT * FROM job_attempts WHERE id = $1", attempt_id)
    return as_attempt(row) if row else None
