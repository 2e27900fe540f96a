"""The one place that acks: what becomes of a message after its handler."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import structlog

from reelgate_common import metrics, parked, topology, tracing
from reelgate_common.bus import Delivery, Publisher, Subscription
from reelgate_common.connection import TROUBLE, is_cancelled
from reelgate_common.domain.errors import Unavailable
from reelgate_common.messages import Event, UnreadableMessage
from reelgate_common.outbox import PublishFailed

log = structlog.get_logger(__name__)

E = TypeVar("E", bound=Event)

_AWAY_SECONDS = 1.0


def subscription(
    queue: topology.Queue,
    event: type[E],
    handler: Callable[[E], Awaitable[None]],
    *,
    publisher: Publisher,
    prefetch: int,
    is_permit: bool = False,
) -> Subscription:
    """Bind a handler to a queue. It may be run more than once for one message, and must not mind.

    A permit may wait long, and is for another job than it names: its handling is no span of its own.
    """

    async def handle(delivery: Delivery) -> None:
        structlog.contextvars.bind_contextvars(queue=queue.name, message_id=delivery.message_id)
        with tracing.continuing(delivery.headers.get("traceparent")):
            if is_permit:
                end = await _conclude(delivery, queue, event, handler, publisher)
            else:
                with _told(delivery, queue) as span:
                    end = await _conclude(delivery, queue, event, handler, publisher)
                    span.set({"reelgate.end": end})
        metrics.messages.labels(queue.name, end).inc()

    return Subscription(queue, handle, prefetch)


def _told(delivery: Delivery, queue: topology.Queue) -> AbstractContextManager[tracing.Span]:
    about = {
        "messaging.system": "rabbitmq",
        "messaging.operation.type": "process",
        "messaging.destination.name": queue.name,
        "messaging.message.id": delivery.message_id,
    }
    return tracing.span(f"process {queue.event.routing_key}", "consumer", attributes=about)


async def _conclude(
    delivery: Delivery,
    queue: topology.Queue,
    event: type[E],
    handler: Callable[[E], Awaitable[None]],
    publisher: Publisher,
) -> str:
    """Run the handler and ack, reject or park. A shutdown leaves the message unacked: it comes back."""
    try:
        # Counted before the handler runs, or a message that kills the process would come back for ever.
        if rounds(delivery, queue) >= topology.MAX_ROUNDS:
            return await _park(delivery, queue, publisher, reason="too many rounds")
        message = event.read(delivery.body)
        structlog.contextvars.bind_contextvars(job_id=str(message.job_id))
        await _while_away(handler, message)
    except UnreadableMessage as error:
        log.exception("message_unreadable")
        return await _park(delivery, queue, publisher, reason=str(error))
    except Exception:
        log.exception("message_crashed")
        return await _reject(delivery)
    return await _answer(delivery.ack(), "acked")


async def _while_away(handler: Callable[[E], Awaitable[None]], message: E) -> None:
    """Hold the message while the database or the vendor is away: rejecting it would only burn its rounds."""
    while True:
        try:
            await handler(message)
        except Unavailable as error:
            log.warning("handler_waits", error=str(error))
            await asyncio.sleep(_AWAY_SECONDS)
        else:
            return


async def _reject(delivery: Delivery) -> str:
    """Send it to the retry queue, from where it comes back."""
    return await _answer(delivery.reject(), "rejected")


async def _park(delivery: Delivery, queue: topology.Queue, publisher: Publisher, *, reason: str) -> str:
    """Put it aside with the reason, then ack; when even that fails, another round."""
    headers = parked.headers_of(queue=queue.name, reason=reason, original=delivery.headers)
    try:
        await publisher.park(message_id=delivery.message_id or "", body=delivery.body, headers=headers)
    except PublishFailed as error:
        log.warning("parking_failed", error=str(error))
        return await _reject(delivery)
    log.error("message_parked", reason=reason)
    return await _answer(delivery.ack(), "parked")


async def _answer(answer: Awaitable[None], end: str) -> str:
    """Tell the broker; the end, or `lost` when the channel the message came through is gone: it comes again."""
    try:
        await answer
    except TROUBLE as error:
        log.warning("answer_lost", answer=end, error=type(error).__name__)
    except asyncio.CancelledError:
        # aiormq cancels whoever waits on a connection that breaks.
        if is_cancelled():
            raise
        log.warning("answer_lost", answer=end, error="CancelledError")
    else:
        return end
    return "lost"


def rounds(delivery: Delivery, queue: topology.Queue) -> int:
    """How often the broker sent this message round through the retry queue."""
    deaths: Any = delivery.headers.get("x-death") or []
    return sum(
        int(death.get("count", 0))
        for death in deaths
        if death.get("queue") == queue.name and death.get("reason") in {"rejected", "delivery_limit"}
    )
