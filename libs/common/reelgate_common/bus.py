"""RabbitMQ: publish with confirms, consume until stopped, declare the topology.

Two connections a process, because a broker in alarm stops reading a connection that publishes: acks
on the same one would freeze with it. Connections are plain aio-pika ones kept up by a loop of our own:
any trouble closes the connection and opens a new one, which is simpler to reason about than restoring
channels one by one, and what was unacked comes back.
"""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage
from yarl import URL

from reelgate_common import topology
from reelgate_common.outbox import NotTaken, PublishFailed
from reelgate_common.settings import RabbitSettings

log = structlog.get_logger(__name__)

PUBLISH_SECONDS = 5.0  # aio-pika's own timeout does not cover waiting for the connection
_CONNECT_SECONDS = 10.0
_DRAIN_SECONDS = 20.0  # for handlers in hand at shutdown
_HEARTBEAT_SECONDS = 20
TROUBLE = (*aio_pika.exceptions.CONNECTION_EXCEPTIONS, TimeoutError)

Handle = Callable[[AbstractIncomingMessage], Awaitable[None]]
Heard = Callable[[bytes], None]


@dataclass(frozen=True)
class Subscription:
    """A queue, what to do with each of its messages, and how many at once."""

    queue: topology.Queue
    handle: Handle
    prefetch: int


@asynccontextmanager
async def connect(settings: RabbitSettings, name: str) -> AsyncIterator[AbstractConnection]:
    """One connection, closed at the end without waiting for a broker that is gone."""
    url = URL(settings.amqp_url.get_secret_value())
    if "heartbeat" not in url.query:
        url = url.update_query(heartbeat=_HEARTBEAT_SECONDS)
    connection = await aio_pika.connect(url, timeout=_CONNECT_SECONDS, client_properties={"connection_name": name})
    try:
        yield connection
    finally:
        with suppress(*TROUBLE, asyncio.CancelledError):
            async with asyncio.timeout(2):
                await connection.close()


async def declare(connection: AbstractConnection) -> None:
    """Make every exchange, queue and binding; no change where they stand. Raises when one stands otherwise."""
    async with connection.channel() as channel:
        events = await channel.declare_exchange(topology.EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
        dead = await channel.declare_exchange(topology.DEAD_LETTERS, aio_pika.ExchangeType.DIRECT, durable=True)
        await channel.declare_queue(topology.PARKED, durable=True, arguments=topology.parked_arguments())
        for queue in topology.QUEUES:
            work = await channel.declare_queue(queue.name, durable=True, arguments=topology.work_arguments(queue))
            retry = await channel.declare_queue(
                queue.retry_name, durable=True, arguments=topology.retry_arguments(queue)
            )
            await retry.bind(dead, queue.name)
            await work.bind(events, queue.event.routing_key)


async def _pause(seconds: float = 1.0) -> None:
    await asyncio.sleep(seconds * random.uniform(0.5, 1.5))  # noqa: S311 -- spreads reconnects, keeps no secret


class _Link(ABC):
    """One connection kept up until cancelled; `_serve` says what to do with it while it lasts."""

    def __init__(self, settings: RabbitSettings, name: str) -> None:
        self._settings = settings
        self._name = name
        self.ready = asyncio.Event()
        self.stopping = asyncio.Event()

    async def run(self) -> None:
        while not self.stopping.is_set():
            try:
                async with connect(self._settings, self._name) as connection:
                    await self._serve(connection)
            except TROUBLE as error:
                log.warning("broker_unreachable", link=self._name, error=type(error).__name__, detail=str(error))
            except asyncio.CancelledError:
                # aiormq cancels whoever waits on a stuck connection; only our own stop may end the loop.
                if _is_cancelled():
                    raise
                log.warning("broker_stuck", link=self._name)
            finally:
                self.ready.clear()
            if not self.stopping.is_set():
                await _pause()

    @abstractmethod
    async def _serve(self, connection: AbstractConnection) -> None:
        """Work on the connection until it ends, or until told to stop."""


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _until_closed(*closings: Awaitable[Any]) -> None:
    """Return when the first of them ends, however it ends."""
    waiters = [asyncio.ensure_future(closing) for closing in closings]
    try:
        await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiters:
            waiter.cancel()


class Publisher(_Link):
    """Publishes persistent messages and waits for the broker's confirm."""

    _channel: AbstractChannel
    _events: AbstractExchange

    async def _serve(self, connection: AbstractConnection) -> None:
        self._channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        self._events = await self._channel.get_exchange(topology.EXCHANGE, ensure=False)
        self.ready.set()
        log.info("broker_connected", link=self._name)
        await _until_closed(connection.closed(), self._channel.closed(), self.stopping.wait())
        if not self.stopping.is_set():
            log.warning("broker_connection_lost", link=self._name)

    async def publish(self, *, routing_key: str, message_id: str, body: bytes, headers: dict[str, Any]) -> None:
        """Publish an event. NotTaken when the broker refused it for sure, else PublishFailed."""
        message = self._message(message_id, body, headers)
        mandatory = routing_key in topology.LISTENED_TO
        await self._send(lambda: self._events.publish(message, routing_key, mandatory=mandatory))

    async def park(self, *, message_id: str, body: bytes, headers: dict[str, Any]) -> None:
        """Put a message aside for an operator. Raises like `publish`."""
        message = self._message(message_id, body, headers)
        await self._send(lambda: self._channel.default_exchange.publish(message, topology.PARKED, mandatory=True))

    def _message(self, message_id: str, body: bytes, headers: dict[str, Any]) -> aio_pika.Message:
        return aio_pika.Message(
            body,
            message_id=message_id,
            headers=headers,
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )

    async def _send(self, publish: Callable[[], Awaitable[Any]]) -> None:
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                await self.ready.wait()
                await publish()
        except aio_pika.exceptions.DeliveryError as error:  # a nack, or returned as unroutable
            raise NotTaken(f"the broker refused the message: {type(error).__name__}") from error
        except TimeoutError as error:
            raise PublishFailed("the broker did not confirm in time") from error
        except TROUBLE as error:
            raise PublishFailed(f"the broker is away: {type(error).__name__}") from error
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            raise PublishFailed("the connection was declared stuck") from error


class Consumer(_Link):
    """Consumes every subscription until stopped; comes back by itself after any trouble."""

    def __init__(self, settings: RabbitSettings, name: str, subscriptions: Sequence[Subscription]) -> None:
        super().__init__(settings, name)
        self._subscriptions = subscriptions
        self._in_hand: set[asyncio.Task[None]] = set()

    async def _serve(self, connection: AbstractConnection) -> None:
        gone = asyncio.Event()
        closings: list[Awaitable[Any]] = [connection.closed(), gone.wait(), self.stopping.wait()]
        started = []
        for subscription in self._subscriptions:
            channel = await connection.channel(publisher_confirms=False)
            await channel.set_qos(prefetch_count=subscription.prefetch)
            underlay = await channel.get_underlay_channel()
            # The broker takes a consumer away when its queue is deleted.
            underlay.on_consumer_cancel_callbacks.add(lambda _: gone.set())
            queue = await channel.get_queue(subscription.queue.name, ensure=False)
            started.append((queue, await queue.consume(self._track(subscription.handle))))
            closings.append(channel.closed())
        self.ready.set()
        log.info("consumers_started", queues=[s.queue.name for s in self._subscriptions])
        await _until_closed(*closings)
        if not self.stopping.is_set():
            log.warning("consumers_lost", link=self._name)
            return
        for queue, tag in started:
            await queue.cancel(tag, timeout=2)
        await self._drain()  # before the connection closes, so that what is finished is acked

    def _track(self, handle: Handle) -> Callable[[AbstractIncomingMessage], Awaitable[None]]:
        async def tracked(message: AbstractIncomingMessage) -> None:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 -- aio-pika runs each callback in a task
            self._in_hand.add(task)
            try:
                await handle(message)
            finally:
                self._in_hand.discard(task)

        return tracked

    async def stop(self, running: asyncio.Task[None]) -> None:
        """Take nothing new, finish what is in hand; what does not finish in time stays unacked."""
        self.stopping.set()
        if self.ready.is_set():
            await asyncio.wait({running}, timeout=_DRAIN_SECONDS + 5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await self._drain()

    async def _drain(self) -> None:
        if self._in_hand:
            await asyncio.wait(set(self._in_hand), timeout=_DRAIN_SECONDS)
        for task in set(self._in_hand):
            task.cancel()


class Listener(_Link):
    """Hears events while it is connected, by a queue that goes with the connection: what is missed is lost."""

    def __init__(self, settings: RabbitSettings, name: str, routing_keys: Sequence[str], heard: Heard) -> None:
        super().__init__(settings, name)
        self._routing_keys = routing_keys
        self._heard = heard

    async def _serve(self, connection: AbstractConnection) -> None:
        gone = asyncio.Event()
        channel = await connection.channel(publisher_confirms=False)
        underlay = await channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(lambda _: gone.set())
        queue = await channel.declare_queue(exclusive=True, auto_delete=True, arguments=topology.live_arguments())
        for routing_key in self._routing_keys:
            await queue.bind(topology.EXCHANGE, routing_key)
        await queue.consume(self._hear, no_ack=True)
        self.ready.set()
        await _until_closed(connection.closed(), channel.closed(), gone.wait(), self.stopping.wait())
        if not self.stopping.is_set():
            log.warning("listener_lost", link=self._name)

    async def _hear(self, message: AbstractIncomingMessage) -> None:
        self._heard(message.body)


@asynccontextmanager
async def _kept_up(link: _Link, name: str) -> AsyncIterator[None]:
    task = asyncio.create_task(link.run(), name=name)
    try:
        yield
    finally:
        link.stopping.set()  # a connection under way may swallow the cancellation
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Bus:
    """A process's two connections, opened in the background: a broker that is away stops no start."""

    def __init__(self, settings: RabbitSettings, name: str) -> None:
        self._settings = settings
        self._name = name
        self.publisher = Publisher(settings, f"{name}.publish")

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: RabbitSettings, name: str) -> AsyncIterator[Self]:
        """Keep a publishing connection up until the end of the block."""
        bus = cls(settings, name)
        async with _kept_up(bus.publisher, "publisher"):
            yield bus

    @asynccontextmanager
    async def consuming(self, subscriptions: Sequence[Subscription]) -> AsyncIterator[Consumer]:
        """Consume inside the block; at its end take nothing new and finish what is in hand."""
        consumer = Consumer(self._settings, f"{self._name}.consume", subscriptions)
        task = asyncio.create_task(consumer.run(), name="consumer")
        try:
            yield consumer
        finally:
            await consumer.stop(task)

    @asynccontextmanager
    async def listening(self, routing_keys: Sequence[str], heard: Heard) -> AsyncIterator[Listener]:
        """Hear these events inside the block, as long as the broker is there."""
        listener = Listener(self._settings, f"{self._name}.live", routing_keys, heard)
        async with _kept_up(listener, "listener"):
            yield listener

    async def declare(self) -> None:
        """Mend the topology over a connection of its own."""
        async with connect(self._settings, f"{self._name}.topology") as connection:
            await declare(connection)

    async def depth(self, queue: topology.Queue) -> int | None:
        """Messages ready in a queue; None when the broker or the queue is away."""
        try:
            async with (
                asyncio.timeout(_CONNECT_SECONDS),
                connect(self._settings, f"{self._name}.depth") as connection,
                connection.channel() as channel,
            ):
                found = await channel.declare_queue(queue.name, passive=True)
                return found.declaration_result.message_count
        except TROUBLE:
            return None
