"""The sender: takes what is due, sends it, records what came back. Every callback process runs one."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID

import structlog

from reelgate_callback.settings import Settings
from reelgate_callback.webhooks import receiver, repository, schedule, signature
from reelgate_callback.webhooks.receiver import Answer, Outcome, Receiver
from reelgate_callback.webhooks.repository import Delivery
from reelgate_common import metrics, tracing, webhooks
from reelgate_common.db import Connection, Database
from reelgate_common.domain.errors import Unavailable
from reelgate_common.ids import new_id
from reelgate_common.service import background
from reelgate_common.strangers import open_resolver
from reelgate_common.webhooks import Notice

log = structlog.get_logger(__name__)

_PER_ENDPOINT = 4  # at once: what a small receiver bears
_LEASE = timedelta(seconds=60)  # well over what a request may take, so that only a death repeats it
_IDLE_SECONDS = 0.5  # between looks for what is due
_AWAY_SECONDS = 1.0
_WATCH_SECONDS = 15.0


class Sender:
    """Sends due webhooks. What it has in hand is kept in memory only to bound it."""

    def __init__(self, db: Database, to: Receiver, *, in_flight: int, disable_after: timedelta) -> None:
        self._db = db
        self._receiver = to
        self._in_flight = in_flight
        self._disable_after = disable_after
        self._in_hand: dict[asyncio.Task[None], UUID] = {}  # to the endpoint it is for

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send inside the block; at its end take nothing new and finish what is in hand."""
        async with background(self._run(), self._watch()):
            yield
        await self._drain()

    async def run_once(self) -> int:
        """Send what is due now, as much as fits at once, and wait for the answers; return how many."""
        started = await self._start_due()
        await self._drain()
        return started

    async def _run(self) -> None:
        while True:
            try:
                started = await self._start_due()
            except Unavailable as error:
                log.warning("webhooks_paused", error=str(error))
                await asyncio.sleep(_AWAY_SECONDS)
                continue
            if not started:
                await self._rest()

    async def _rest(self) -> None:
        """Until something in hand is done, and so there is room, or it is time to look again."""
        if self._in_hand:
            await asyncio.wait(self._in_hand, timeout=_IDLE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.sleep(_IDLE_SECONDS)

    async def _start_due(self) -> int:
        room = self._in_flight - len(self._in_hand)
        if room <= 0:
            return 0
        async with self._db.connection() as connection:
            taken = await repository.take(
                connection, limit=room, busy=Counter(self._in_hand.values()), per_endpoint=_PER_ENDPOINT, lease=_LEASE
            )
        for delivery in taken:
            task = asyncio.create_task(self._send(delivery))
            self._in_hand[task] = delivery.endpoint_id
            task.add_done_callback(self._in_hand.pop)
        return len(taken)

    async def _drain(self) -> None:
        if not self._in_hand:
            return
        _, unfinished = await asyncio.wait(self._in_hand, timeout=receiver.SECONDS + 5)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)

    async def _send(self, delivery: Delivery) -> None:
        """Send one and record the answer; if that fails it is sent again under the same id."""
        structlog.contextvars.bind_contextvars(
            webhook_id=str(delivery.id), endpoint_id=str(delivery.endpoint_id), job_id=str(delivery.job_id)
        )
        about = {
            "http.request.method": "POST",
            "server.address": _host(delivery.url),  # no more of it: a path may be a secret
            "reelgate.job_id": str(delivery.job_id),
            "reelgate.webhook_id": str(delivery.id),
        }
        with tracing.span("send webhook", "client", of=delivery.traceparent, attributes=about) as span:
            await self._try(delivery, span)

    async def _try(self, delivery: Delivery, span: tracing.Span) -> None:
        try:
            headers = signature.headers(delivery.id, datetime.now(UTC), delivery.body, secrets=delivery.secrets)
            if place := tracing.current():
                headers |= {"traceparent": place}
            answer = await self._receiver.post(delivery.url, delivery.body, headers)
            span.set({"http.response.status_code": answer.status, "reelgate.outcome": answer.outcome})
            metrics.webhook_attempts.labels(answer.outcome).inc()
            await self._record(delivery, answer)
        except Unavailable as error:
            log.warning("webhook_not_recorded", error=str(error))
        except Exception:
            metrics.loop_failures.labels("webhooks").inc()
            log.exception("webhook_crashed")

    async def _record(self, delivery: Delivery, answer: Answer) -> None:
        state, next_in = _verdict(delivery, answer)
        async with self._db.transaction() as tx:
            if not await repository.record(tx, delivery, answer, state=state, next_in=next_in):
                return
            if answer.outcome is Outcome.DELIVERED:
                await repository.mark_working(tx, delivery.endpoint_id)
            else:
                await repository.mark_failing(tx, delivery)
                await self._give_up_endpoint(tx, delivery, gone=answer.outcome is Outcome.GONE)
        if state == "failed":
            metrics.webhooks_given_up.inc()
        log.info("webhook_sent", outcome=answer.outcome, status=answer.status, attempt=delivery.attempts, state=state)

    async def _give_up_endpoint(self, tx: Connection, delivery: Delivery, *, gone: bool) -> None:
        """Disable an endpoint that is gone or has failed for days, and tell its owner's others."""
        if gone:
            given_up = await repository.disable(tx, delivery, reason="gone")
        else:
            given_up = await repository.disable(tx, delivery, reason="failing", failing_for=self._disable_after)
        if given_up is None:
            return
        notice = Notice(
            event_id=new_id(),
            type=webhooks.DISABLED,
            at=given_up.disabled_at,
            data={
                "webhook": {
                    "id": str(given_up.id),
                    "url": given_up.url,
                    "disabled_reason": given_up.disabled_reason,
                    "failing_since": given_up.failing_since and given_up.failing_since.isoformat(),
                }
            },
        )
        await webhooks.deliver(tx, notice, await repository.find_witnesses(tx, given_up.key_id))
        metrics.webhook_endpoints_disabled.labels(given_up.disabled_reason).inc()
        log.warning("webhook_endpoint_disabled", reason=given_up.disabled_reason)

    async def _watch(self) -> None:
        while True:
            try:
                async with self._db.connection() as connection:
                    metrics.webhook_queue_age.set(await repository.queue_age(connection))
            except Unavailable as error:
                log.warning("webhooks_not_watched", error=str(error))
            await asyncio.sleep(_WATCH_SECONDS)


@asynccontextmanager
async def open_sender(db: Database, settings: Settings) -> AsyncIterator[None]:
    """Send what is due inside the block."""
    async with open_resolver() as resolver, Receiver.open(resolver, allow_private=settings.webhook_allow_private) as to:
        disable_after = timedelta(days=settings.webhook_disable_days)
        sender = Sender(db, to, in_flight=settings.webhooks_in_flight, disable_after=disable_after)
        async with sender.running():
            yield


def _host(url: str) -> str | None:
    with suppress(ValueError):  # which the receiver makes an answer of
        return urlsplit(url).hostname
    return None


def _verdict(delivery: Delivery, answer: Answer) -> tuple[str, timedelta | None]:
    """The state of a delivery after an answer, and when it is tried again if it is."""
    if answer.outcome is Outcome.DELIVERED:
        return "delivered", None
    if answer.outcome is Outcome.GONE:
        return "failed", None
    next_in = schedule.delay_after(delivery.tries, retry_after=answer.retry_after)
    return ("pending" if next_in else "failed"), next_in
