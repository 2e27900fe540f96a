"""The one place that acks: what becomes of a message after its handler."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog
from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import AMQPError

from reelgate_common import metrics, topology
from reelgate_common.bus import Publisher, Subscription
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
) -> Subscription:
    """Bind a handler to a queue. It may be run more than once for one message, and must not mind."""

    async def handle(delivery: AbstractIncomingMessage) -> None:
        structlog.contextvars.bind_contextvars(queue=queue.name, message_id=delivery.message_id)
        end = await _conclude(delivery, queue, event, handler, publisher)
        metrics.messages.labels(queue.name, end).inc()

    return Subscription(queue, handle, prefetch)


async def _conclude(
    delivery: AbstractIncomingMessage,
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
        await delivery.ack()
    except UnreadableMessage as error:
        log.exception("message_unreadable")
        return await _park(delivery, queue, publisher, reason=str(error))
    except AMQPError as error:
        log.warning("ack_failed", error=type(error).__name__)  # the channel is gone; it will be redelivered
        return "lost"
    except Exception:
        log.exception("message_crashed")
        return await _reject(delivery)
    return "acked"


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


async def _reject(delivery: AbstractIncomingMessage) -> str:
    """Send it to the retry queue, from where it comes back."""
    try:
        await delivery.reject(requeue=False)
    except AMQPError:
        return "lost"
    return "rejected"


async def _park(delivery: AbstractIncomingMessage, queue: topology.Queue, publisher: Publisher, *, reason: str) -> str:
    """Put it aside with the reason, then ack; when even that fails, another round."""
    headers = {"x-parked-from": queue.name, "x-parked-reason": reason}
    try:
        await publisher.park(message_id=delivery.message_id or "", body=delivery.body, headers=headers)
        await delivery.ack()
    except (PublishFailed, AMQPError) as error:
        log.warning("parking_failed", error=str(error))
        return await _reject(delivery)
    log.error("message_parked", reason=reason)
    return "parked"


def rounds(delivery: AbstractIncomingMessage, queue: topology.Queue) -> int:
    """How often the broker sent this message round through the retry queue."""
    deaths: Any = (delivery.headers or {}).get("x-death") or []
    return sum(
        int(death.get("count", 0))
        for death in deaths
        if death.get("queue") == queue.name and death.get("reason") in {"rejected", "delivery_limit"}
    )
