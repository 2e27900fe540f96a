"""Use cases of the submitter: claim a job, send it once, record what is known of the call."""

import asyncio
import random
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate
from typing import Any
from urllib.parse import urlencode

import structlog

from reelgate_common import attempts, breaker, jobs, metrics, outbox, settlement, slots, tracing, vendor_account
from reelgate_common.attempts import NewAttempt, Taken
from reelgate_common.auth import hash_secret
from reelgate_common.batches import IN_NO_HURRY, Batches, may_be_of_one
from reelgate_common.db import Connection, Database
from reelgate_common.domain.errors import Unavailable
from reelgate_common.domain.job import Attempt, FailureCode, Job, JobStatus, SendOutcome
from reelgate_common.ids import new_id
from reelgate_common.jobs import Change, Move
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


class Submitter:
    """Turns permits into sends. Permits that come at the same time claim together, and acceptances are recorded so."""

    def __init__(self, db: Database, vendor: operations.Sends, relay: Relay, settings: Settings) -> None:
        self.db = db
        self.vendor = vendor
        self.relay = relay
        self.settings = settings
        # Set at shutdown: permits still waiting for a slot are left to others, sends under way are finished.
        self.stopping = asyncio.Event()
        self._claims = Batches(self._claim_all, name="claims", of_one=may_be_of_one, pause=IN_NO_HURRY)
        self._acceptances = Batches(self._accept_all, name="acceptances", of_one=may_be_of_one, pause=IN_NO_HURRY)

    async def use_permit(self, permit: JobRequested) -> None:
        """Claim the fairest due job when the window allows, and send it. Nothing due: the permit is spent."""
        claim = await self._claim(permit)
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

    async def _send(self, claim: Claim) -> SendOutcome:
        with metrics.send_seconds.labels(claim.job.operation).time():
            send = await operations.send(
                self.vendor, claim.job, callback_url=claim.callback_url, send_before=claim.send_before
            )
        metrics.sends.labels(claim.job.operation, send.outcome).inc()
        metrics.vendor_credits.labels(send.outcome).inc(self._cost_of(claim.job))
        await self._record(claim, send)
        return send.outcome

    async def _claim(self, permit: JobRequested) -> Claim | None:
        give_up = time.monotonic() + _HOLD_SECONDS
        while True:
            found = await self._claims(permit)
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

    async def _claim_all(self, permits: Sequence[JobRequested]) -> Sequence[Claim | float | None]:
        """For each permit a claim, committed before its call; or the seconds to wait; or None: nothing is due."""
        if self.stopping.is_set():
            return [breaker.LOOK_AGAIN_SECONDS] * len(permits)
        claimed_at = time.monotonic()
        async with self.db.transaction() as tx:
            due, vendor = await repository.lock_fairest_due(tx, len(permits))
            may_go, wait = await self._take_slots(tx, due, vendor) if due else (0, 0.0)
            claims = await self._write_claims(tx, due[:may_go], claimed_at) if may_go else []
        return [*claims, *[wait] * (len(due) - may_go), *[None] * (len(permits) - len(due))]

    async def _write_claims(self, tx: Connection, due: Sequence[Job], claimed_at: float) -> list[Claim]:
        lease = self.settings.submit_lease_seconds
        tokens = [secrets.token_urlsafe(32) for _ in due]
        new = [
            NewAttempt(id=new_id(), job_id=job.id, token_hash=hash_secret(token), vendor_cost=self._cost_of(job))
            for job, token in zip(due, tokens, strict=True)
        ]
        recorded = await attempts.add_all(tx, new)
        deadline = timedelta(seconds=lease)
        moves = [Move(each.job_id, Change(attempt_id=each.id, deadline=deadline), None) for each in new]
        moved = await jobs.transition_all(tx, moves, JobStatus.SUBMITTING, step="claimed", by=BY)
        if len(moved) < len(due):
            raise AssertionError("a job was pending and locked")
        return [
            Claim(
                moved[each.job_id],
                recorded[each.job_id],
                f"{self.settings.callback_url}?{urlencode({'attempt': each.id, 'token': token})}",
                send_before=claimed_at + lease * _SEND_UNTIL,
            )
            for each, token in zip(new, tokens, strict=True)
        ]

    def _cost_of(self, job: Job) -> float:
        """What Kie.ai should bill us for it, in its credits."""
        return self.settings.vendor_prices.find(job.operation, model=job.model, resolution=job.resolution) or 0

    async def _take_slots(self, tx: Connection, due: Sequence[Job], vendor: Any) -> tuple[int, float]:
        """How many of the first of these sends may go, each in its slot of the window; the seconds the others wait.

        The breaker and our own limits let them: one alone while it is the breaker's probe.
        """
        settings = self.settings
        open_for = await breaker.wait_seconds(tx, vendor)
        if open_for:
            return 0, open_for
        is_probe = open_for is None
        room = await self._room(tx, due[:1] if is_probe else due)
        if not room:
            return 0, breaker.LOOK_AGAIN_SECONDS
        taken, full_for = await slots.SENDS.take_up_to(
            tx,
            room,
            count=settings.kie_sends_per_window,
            seconds=settings.kie_send_window_seconds + settings.kie_send_margin_seconds,
        )
        if taken and is_probe:
            taken = int(await breaker.take_probe(tx, within=timedelta(seconds=settings.submit_lease_seconds)))
        return taken, full_for or breaker.LOOK_AGAIN_SECONDS

    async def _room(self, tx: Connection, due: Sequence[Job]) -> int:
        """How many of the first of these would not be more at once, or more a day, than the operator allows."""
        settings, room = self.settings, len(due)
        if not settings.kie_concurrent_tasks and not settings.kie_daily_credits:  # 0 is no limit
            return room
        await repository.lock_limits(tx)  # the next claim counts only when this one is committed
        if settings.kie_concurrent_tasks:
            room = min(room, max(0, settings.kie_concurrent_tasks - await repository.count_in_flight(tx)))
        if not room or not settings.kie_daily_credits:
            return room
        spent = await vendor_account.spent_today(tx)
        sums = accumulate(self._cost_of(job) for job in due[:room])
        affordable = sum(spent + cost <= settings.kie_daily_credits for cost in sums)
        await vendor_account.set_capped(tx, capped=affordable < room)
        return affordable

    async def _record(self, claim: Claim, send: Send) -> None:
        """Write what is known of the call, however long the database is away: nobody else knows it."""
        log.info("send_ended", outcome=send.outcome, code=send.code, message=send.message, task_id=send.task_id)
        while True:
            try:
                if await self._is_accepted(claim.attempt, send):
                    return
                async with self.db.transaction() as tx:
                    await self._conclude(tx, claim.attempt, send)
                self.relay.wake()
            except Unavailable as error:
                log.error("outcome_not_recorded", outcome=send.outcome, task_id=send.task_id, error=str(error))  # noqa: TRY400 -- each half second; the reason is in the text
                await asyncio.sleep(_RECORD_RETRY_SECONDS)
            else:
                return

    async def _is_accepted(self, attempt: Attempt, send: Send) -> bool:
        """Record what most calls come to, together with others; False when that must be looked at by itself."""
        if send.outcome is not SendOutcome.ACCEPTED or not send.task_id:
            return False
        if not await self._acceptances(Taken(attempt, send.task_id, tracing.current())):
            return False
        log.info("job_submitted", job_id=str(attempt.job_id), task_id=send.task_id)
        return True

    async def _accept_all(self, taken: Sequence[Taken]) -> Sequence[bool]:
        try:
            with self.relay.express() as express:
                async with self.db.transaction() as tx:
                    done, was_troubled = await attempts.accept_plain(
                        tx, taken, by=BY, policy=self.settings, express=express
                    )
                    if was_troubled:
                        await breaker.close(tx)
        except attempts.Contradicted:
            done = frozenset()
        return [each.attempt.id in done for each in taken]

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
