"""Use cases of the submitter: claim a job, send it once, record what is known of the call."""

import asyncio
import random
import secrets
import time
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlencode

import structlog

from reelgate_common import attempts, breaker, jobs, metrics, outbox, settlement, slots, tracing, vendor_account
from reelgate_common.auth import hash_secret
from reelgate_common.db import Connection, Database
from reelgate_common.domain.errors import Unavailable
from reelgate_common.domain.job import Attempt, FailureCode, Job, JobStatus, SendOutcome
from reelgate_common.ids import new_id
from reelgate_common.jobs import Change
from reelgate_common.kie import operations
from reelgate_common.kie.answers import Send
from reelgate_common.messages import JobRequested
from reelgate_common.outbox import Relay
from reelgate_submitter import repository
from reelgate_submitter.settings import Settings

log = structlog.get_logger(__name__)

BY = "submitter"
_HOLD_SECONDS = 60.0  # a permit that waited this long goes back to the outbox: brokers limit unacked time
_POSTPONED = timedelta(seconds=5)
_SEND_UNTIL = 0.8  # share of the lease after which nothing is sent any more
_RECORD_RETRY_SECONDS = 0.5


@dataclass(frozen=True)
class Claim:
    """A job this process may send, once, until `send_before` (a time.monotonic() value)."""

    job: Job
    attempt: Attempt
    callback_url: str
    send_before: float


@dataclass(frozen=True)
class Submitter:
    """Turns permits into sends."""

    db: Database
    vendor: operations.Sends
    relay: Relay
    settings: Settings
    # One claim at a time per process: waiting tasks would only crowd the window's rows.
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    # Set at shutdown: permits still waiting for a slot are left to others, sends under way are finished.
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def use_permit(self, permit: JobRequested) -> None:
        """Claim the fairest due job when the window allows, and send it. Nothing due: the permit is spent."""
        claim = await self._claim_in_turn(permit)
        if claim is None:
            return
        structlog.contextvars.bind_contextvars(job_id=str(claim.job.id), attempt_id=str(claim.attempt.id))
        if claim.attempt.n == 1:
            wait = claim.attempt.started_at - claim.job.created_at
            metrics.send_wait_seconds.observe(wait.total_seconds())
        about = {"reelgate.job_id": str(claim.job.id), "reelgate.attempt_id": str(claim.attempt.id)}
        with tracing.span("send", of=claim.job.traceparent, attributes=about) as span:
            outcome = await self._send(claim)
            span.set({"reelgate.outcome": outcome})
        self.relay.wake()

    async def _send(self, claim: Claim) -> SendOutcome:
        with metrics.send_seconds.labels(claim.job.operation).time():
            send = await operations.send(
                self.vendor, claim.job, callback_url=claim.callback_url, send_before=claim.send_before
            )
        metrics.sends.labels(claim.job.operation, send.outcome).inc()
        metrics.vendor_credits.labels(send.outcome).inc(self._cost_of(claim.job))
        await self._record(claim, send)
        return send.outcome

    async def _claim_in_turn(self, permit: JobRequested) -> Claim | None:
        give_up = time.monotonic() + _HOLD_SECONDS
        async with self.turn:
            while True:
                found = await self._claim()
                if not isinstance(found, float):
                    return found
                if time.monotonic() + found > give_up:
                    await self._postpone(permit)
                    return None
                await self._wait(found)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        except TimeoutError:
            return
        raise asyncio.CancelledError  # the message stays unacked, and the broker gives it to another

    async def _postpone(self, permit: JobRequested) -> None:
        again = JobRequested(job_id=permit.job_id, job_version=permit.job_version)
        async with self.db.transaction() as tx:
            await outbox.add(tx, again, after=_POSTPONED)

    async def _claim(self) -> Claim | float | None:
        """A claim, committed before the call; or the seconds to wait for a slot; or None: nothing is due."""
        claimed_at = time.monotonic()
        lease = self.settings.submit_lease_seconds
        async with self.db.transaction() as tx:
            due = await repository.lock_fairest_due(tx)
            if due is None:
                return None
            cost = self._cost_of(due)
            if wait := await self._wait_seconds(tx, cost):
                return wait
            attempt_id, token = new_id(), secrets.token_urlsafe(32)
            attempt = await attempts.add(tx, attempt_id, due.id, token_hash=hash_secret(token), vendor_cost=cost)
            job = await jobs.transition(
                tx,
                due.id,
                JobStatus.SUBMITTING,
                step="claimed",
                by=BY,
                change=Change(attempt_id=attempt_id, deadline=timedelta(seconds=lease)),
            )
        if job is None:
            raise AssertionError(f"job {due.id} was pending and locked")
        query = urlencode({"attempt": attempt_id, "token": token})
        callback_url = f"{self.settings.callback_url}?{query}"
        return Claim(job, attempt, callback_url, send_before=claimed_at + lease * _SEND_UNTIL)

    def _cost_of(self, job: Job) -> float:
        """What Kie.ai should bill us for it, in its credits."""
        return self.settings.vendor_prices.find(job.operation, model=job.model, resolution=job.resolution) or 0

    async def _wait_seconds(self, tx: Connection, cost: float) -> float:
        """0 when this send may go: the breaker and our own limits let it, as the probe if need be, and in its slot."""
        settings = self.settings
        open_for = await breaker.wait_seconds(tx)
        if open_for:
            return open_for
        if await self._is_over_limits(tx, cost):
            return breaker.LOOK_AGAIN_SECONDS
        full_for = await slots.SENDS.take(
            tx,
            count=settings.kie_sends_per_window,
            seconds=settings.kie_send_window_seconds + settings.kie_send_margin_seconds,
        )
        if full_for or open_for is not None:
            return full_for
        taken = await breaker.take_probe(tx, within=timedelta(seconds=settings.submit_lease_seconds))
        return 0 if taken else breaker.LOOK_AGAIN_SECONDS

    async def _is_over_limits(self, tx: Connection, cost: float) -> bool:
        """Whether one more would be more at once, or more a day, than the operator allows. 0 is no limit."""
        settings = self.settings
        if not settings.kie_concurrent_tasks and not settings.kie_daily_credits:
            return False
        await repository.lock_limits(tx)  # the next claim counts only when this one is committed
        if settings.kie_concurrent_tasks and await repository.count_in_flight(tx) >= settings.kie_concurrent_tasks:
            return True
        if not settings.kie_daily_credits:
            return False
        capped = await vendor_account.spent_today(tx) + cost > settings.kie_daily_credits
        await vendor_account.set_capped(tx, capped=capped)
        return capped

    async def _record(self, claim: Claim, send: Send) -> None:
        """Write what is known of the call, however long the database is away: nobody else knows it."""
        log.info("send_ended", outcome=send.outcome, code=send.code, message=send.message, task_id=send.task_id)
        while True:
            try:
                async with self.db.transaction() as tx:
                    await self._conclude(tx, claim.attempt, send)
            except Unavailable as error:
                log.error("outcome_not_recorded", outcome=send.outcome, task_id=send.task_id, error=str(error))  # noqa: TRY400 -- each half second; the reason is in the text
                await asyncio.sleep(_RECORD_RETRY_SECONDS)
            else:
                return

    async def _conclude(self, tx: Connection, attempt: Attempt, send: Send) -> None:
        """Record the outcome on the attempt and move its job on, if it is still about this attempt."""
        job = await jobs.lock_job(tx, attempt.job_id)
        if job is None:
            return
        await self._tell_breaker(tx, attempt, send)
        if send.outcome is SendOutcome.ACCEPTED and send.task_id:
            if await attempts.accept(tx, attempt, send.task_id, by=BY, reason=None, policy=self.settings):
                return
            send = Send(outcome=SendOutcome.UNKNOWN, code=send.code, message="the task id belongs to another job")
        written = await attempts.record_outcome(tx, attempt.id, send.outcome, code=send.code, message=send.message)
        if written and job.attempt_id == attempt.id and job.status in {JobStatus.SUBMITTING, JobStatus.UNKNOWN}:
            await self._move_on(tx, job, attempt, send)

    async def _tell_breaker(self, tx: Connection, attempt: Attempt, send: Send) -> None:
        """What an answer says about the vendor, whatever becomes of its job."""
        first, sent_at = self.settings.breaker_first_seconds, attempt.started_at
        match send.outcome:
            case SendOutcome.ACCEPTED | SendOutcome.REFUSED:
                await breaker.close(tx)
            case SendOutcome.BLOCKED:
                await breaker.trip(tx, reason=f"{send.code}: {send.message}", first_seconds=first, sent_at=sent_at)
            case SendOutcome.UNKNOWN | SendOutcome.NOT_SENT:
                limit = self.settings.breaker_failures_in_a_row
                await breaker.strike(tx, reason=str(send.message), limit=limit, first_seconds=first, sent_at=sent_at)
            case SendOutcome.THROTTLED:
                await breaker.retry_probe(tx, seconds=first, sent_at=sent_at)

    async def _move_on(self, tx: Connection, job: Job, attempt: Attempt, send: Send) -> None:
        reason = f"{send.outcome}: {send.message}"
        if send.outcome is SendOutcome.REFUSED:
            message = send.message or "Kie.ai refused the request"
            await settlement.fail(tx, job.id, FailureCode.REFUSED, message=message, by=BY, policy=self.settings)
        elif send.outcome is SendOutcome.UNKNOWN:
            change = Change(
                deadline=timedelta(seconds=self.settings.submit_unknown_deadline),
                deadline_from=attempt.started_at,
                # An upgrade's task is known before it is sent, and asking about it says what became of the send.
                next_check=timedelta(seconds=self.settings.hint_interval_seconds)
                if attempt.operation.is_upgrade
                else None,
            )
            await jobs.transition(tx, job.id, JobStatus.UNKNOWN, step="unknown", by=BY, reason=reason, change=change)
        else:
            delay = timedelta(seconds=self._delay_seconds(send.outcome, attempt.n))
            await attempts.back_to_pending(tx, job, delay=delay, step=send.outcome, by=BY, reason=reason)

    def _delay_seconds(self, outcome: SendOutcome, tries: int) -> float:
        """Full jitter under a doubling limit, above a floor that fits the reason."""
        settings = self.settings
        limit = min(settings.retry_first_seconds * 2.0 ** min(tries, 20), settings.retry_max_seconds)
        floor = {
            # A throttle lasts until the window has moved on.
            SendOutcome.THROTTLED: settings.kie_send_window_seconds / 2,
            # Behind the breaker's probe, so that a job that trips it by itself is not always the probe.
            SendOutcome.BLOCKED: min(
                settings.breaker_first_seconds * 2.0 ** min(tries, 20), settings.retry_max_seconds
            ),
        }.get(outcome, 0.0)
        return floor + random.uniform(0, limit)  # noqa: S311 -- spreads retries, keeps no secret
