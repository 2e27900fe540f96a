"""The end of a job: the only place that writes final states, refunds and recoveries.

`settle` and `refund` and `recover` each lock the job row first, so whichever comes first wins and the
others find the job changed. The database's constraints stand behind them.
"""

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

import structlog

from reelgate_common import jobs, metrics, outbox, tracing, webhooks
from reelgate_common.db import Connection
from reelgate_common.domain.job import BY_DEADLINE, FailureCode, Job, JobStatus
from reelgate_common.ids import new_id
from reelgate_common.jobs import Change, Move
from reelgate_common.messages import JobCanceled, JobCompleted, JobFailed, JobRecovered, JobRefunded
from reelgate_common.settings import JobSettings

log = structlog.get_logger(__name__)


class Delivery(StrEnum):
    """What became of a verified video."""

    COMPLETED = "completed"
    RECOVERED = "recovered"
    ALREADY = "already"  # the job had a video before
    KEPT_BACK = "kept_back"  # the job was canceled


async def deliver(
    tx: Connection, job_id: UUID, *, video_url: str, attempt_id: UUID, by: str, policy: JobSettings
) -> Delivery:
    """Give a verified video to its job, also when the job had failed before."""
    job = await jobs.lock_job(tx, job_id)
    if job is None or job.status is JobStatus.CANCELED:
        return await _keep_back(tx, job_id, by=by)
    if job.status is JobStatus.COMPLETED:
        if job.attempt_id != attempt_id:
            metrics.duplicate_deliveries.inc()
            await jobs.note(tx, job_id, step="duplicate_video", by=by, reason="a second attempt delivered too")
        return Delivery.ALREADY
    if job.status is JobStatus.FAILED:
        return await _recover(tx, job, video_url=video_url, attempt_id=attempt_id, by=by, policy=policy)
    change = delivery(job_id, video_url=video_url, attempt_id=attempt_id, policy=policy)
    await deliver_plain(tx, [Move(job_id, change, tracing.current())], by=by)
    log.info("job_completed", job_id=str(job_id))
    return Delivery.COMPLETED


def delivery(job_id: UUID, *, video_url: str, attempt_id: UUID, policy: JobSettings) -> Change:
    """What is written of a job with its video."""
    return Change(video_url=video_url, video_link=policy.new_video_link(job_id), attempt_id=attempt_id)


async def deliver_plain(
    tx: Connection, moves: Sequence[Move], *, by: str, express: outbox.Express | None = None
) -> None:
    """Complete jobs that are processing, each with its delivery. The caller holds their locks."""
    done = await jobs.transition_all(
        tx,
        moves,
        JobStatus.COMPLETED,
        step="completed",
        by=by,
        announce=lambda done: JobCompleted(
            job_id=done.id, job_version=done.version, video_url=done.shown_video_url or done.video_url or ""
        ),
        came_from=frozenset({JobStatus.PROCESSING}),
        express=express,
    )
    if len(done) < len(moves):
        raise AssertionError(f"{len(moves) - len(done)} jobs deliver that are not processing")


async def _keep_back(tx: Connection, job_id: UUID, *, by: str) -> Delivery:
    metrics.late_successes.labels("no").inc()
    await jobs.note(tx, job_id, step="late_video", by=by, reason="a video came after the job was canceled; not given")
    return Delivery.KEPT_BACK


async def _recover(
    tx: Connection, job: Job, *, video_url: str, attempt_id: UUID, by: str, policy: JobSettings
) -> Delivery:
    """Let a failed job deliver after all: the only way out of a final state. Its row is locked."""
    recharged = job.refunded_at is not None and policy.late_success == "recharge" and await _recharge(tx, job)
    reason = "a late video" + (", charged again" if recharged else ", the refund stays" if job.refunded_at else "")
    await jobs.transition(
        tx,
        job.id,
        JobStatus.COMPLETED,
        step="recovered",
        by=by,
        reason=reason,
        change=delivery(job.id, video_url=video_url, attempt_id=attempt_id, policy=policy),
        announce=lambda done: JobRecovered(
            job_id=job.id,
            job_version=done.version,
            video_url=done.shown_video_url or video_url,
            recharged=recharged,
        ),
        came_from=frozenset({JobStatus.FAILED}),
    )
    metrics.late_successes.labels("yes").inc()
    log.warning("job_recovered", job_id=str(job.id), recharged=recharged, refunded=job.refunded_at is not None)
    return Delivery.RECOVERED


async def _recharge(tx: Connection, job: Job) -> bool:
    """Take the price again; False when the balance does not cover it."""
    return bool(
        await tx.fetchval(
            """
            WITH paid AS (
                UPDATE credits SET credits = credits - $3, updated_at = now()
                 WHERE wallet_address = $2 AND credits >= $3
                RETURNING wallet_address
            ), booked AS (
                INSERT INTO credit_transactions (id, wallet_address, job_id, transaction_type, amount, description)
                SELECT $4, wallet_address, $1, 'recharge', -$3, 'The video came after the refund' FROM paid
            )
            SELECT true FROM paid
            """,
            job.id,
            job.wallet_address,
            job.cost,
            new_id(),
        )
    )


async def fail(
    tx: Connection,
    job_id: UUID,
    code: FailureCode,
    *,
    message: str,
    by: str,
    policy: JobSettings,
    came_from: frozenset[JobStatus] | None = None,
    may_turn_up: bool = True,
) -> Job | None:
    """End a job without a video; None when it is over already or not in `came_from`. The refund follows.

    One that a deadline ends is asked about now and then for a while, unless nothing `may_turn_up`.
    """
    may_turn_up = may_turn_up and code in BY_DEADLINE and policy.late_check_days > 0
    job = await jobs.transition(
        tx,
        job_id,
        JobStatus.FAILED,
        step="failed",
        by=by,
        reason=f"{code}: {message}",
        change=Change(
            failure_code=code,
            error_message=message,
            next_check=timedelta(seconds=policy.late_check_seconds) if may_turn_up else None,
        ),
        announce=lambda done: JobFailed(job_id=job_id, job_version=done.version, code=code, message=message),
        came_from=came_from,
    )
    if job:
        metrics.job_failures.labels(code).inc()
        log.info("job_failed", job_id=str(job_id), code=code)
    return job


async def cancel(tx: Connection, job_id: UUID, *, by: str) -> Job | None:
    """End a pending job its owner took back; None when it is not pending any more. The refund follows."""
    job = await jobs.transition(
        tx,
        job_id,
        JobStatus.CANCELED,
        step="canceled",
        by=by,
        change=Change(failure_code=FailureCode.CANCELED, error_message="Canceled before it was sent"),
        announce=lambda done: JobCanceled(job_id=job_id, job_version=done.version),
    )
    if job:
        metrics.job_failures.labels(FailureCode.CANCELED).inc()
    return job


async def refund(tx: Connection, job_id: UUID, *, by: str) -> int | None:
    """Give a job's charge back, once; None when it delivered, is not over, or was refunded before."""
    job = await jobs.lock_job(tx, job_id)
    if job is None or job.status not in (JobStatus.FAILED, JobStatus.CANCELED) or job.refunded_at is not None:
        return None
    with tracing.span("refund", of=job.traceparent, attributes={"reelgate.job_id": str(job_id)}) as span:
        amount = await _give_back(tx, job, by=by)
        span.set({"reelgate.credits": amount})
    return amount


async def _give_back(tx: Connection, job: Job, *, by: str) -> int:
    row = await tx.fetchrow(
        """
        WITH booked AS (
            INSERT INTO credit_transactions (id, wallet_address, job_id, transaction_type, amount, description)
            SELECT $2, wallet_address, job_id, 'refund', -amount, $3
              FROM credit_transactions
             WHERE job_id = $1 AND transaction_type = 'charge'
            RETURNING wallet_address, amount
        ), paid AS (
            UPDATE credits SET credits = credits.credits + booked.amount, updated_at = now()
              FROM booked
             WHERE credits.wallet_address = booked.wallet_address
            RETURNING booked.amount
        ), marked AS (
            UPDATE video_jobs SET refunded_at = now() WHERE id = $1
            RETURNING extract(epoch FROM refunded_at - completed_at)::float8 AS delay
        )
        SELECT amount, delay FROM paid, marked
        """,
        job.id,
        new_id(),
        f"Video not delivered: {job.failure_code}",
    )
    if row is None:
        raise AssertionError(f"job {job.id} has no charge to refund")
    amount: int = row["amount"]
    await jobs.note(tx, job.id, step="refunded", by=by, reason=f"{amount} credits")
    message = JobRefunded(job_id=job.id, job_version=job.version + 1, amount=amount)
    await outbox.add(tx, message)
    if refunded := await jobs.lock_job(tx, job.id):
        await webhooks.fan_out(tx, [(message, refunded)])
    metrics.refunds.inc()
    metrics.refund_delay_seconds.observe(row["delay"])
    log.info("job_refunded", job_id=str(job.id), amount=amount)
    return amount
