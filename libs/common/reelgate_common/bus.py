"""RabbitMQ: declare the topology, publish with confirms, consume until stopped.

Two connections a process, because a broker in alarm stops reading a connection that publishes: acks
on the same one would freeze with it. What was unacked when one is lost comes back over the next.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self, cast

import aio_pika
import structlog
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage
from aiormq import Channel, spec
from aiormq.abc import DeliveredMessage

from reelgate_common import topology
from reelgate_common.connection import CONNECT_SECONDS, TROUBLE, Link, connect, is_cancelled, kept_up, until_closed
from reelgate_common.outbox import NotTaken, PublishFailed
from reelgate_common.settings import RabbitSettings

log = structlog.get_logger(__name__)

PUBLISH_SECONDS = 5.0  # aio-pika's own timeout does not cover waiting for the connection
DRAIN_SECONDS = 20.0  # for handlers in hand at shutdown, unless a service needs longer
CANCEL_SECONDS = 2.0  # for those cancelled then to clean up


class Delivery:
    """A message that was given to us. aio-pika's own takes a tenth of the time of its whole handling to make."""

    def __init__(self, message: DeliveredMessage) -> None:
        properties = message.header.properties
        self.body = message.body
        self.message_id = properties.message_id
        self.headers: dict[str, Any] = properties.headers or {}
        self._channel = message.channel
        self._tag = cast(int, message.delivery_tag)

    async def ack(self) -> None:
        """It is done with."""
        await self._channel.basic_ack(self._tag)

    async def reject(self) -> None:
        """Send it where the queue's dead letters go."""
        await self._channel.basic_reject(self._tag, requeue=False)


Handle = Callable[[Delivery], Awaitable[None]]
Heard = Callable[[bytes], None]


@dataclass(frozen=True)
class Subscription:
    """A queue, what to do with each of its messages, and how many at once."""

    queue: topology.Queue
    handle: Handle
    prefetch: int


@dataclass(frozen=True)
class Depth:
    """Messages that are ready in a queue, and who consumes it."""

    messages: int
    consumers: int


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


class Publisher(Link):
    """Publishes persistent messages and waits for the broker's confirm."""

    _channel: Channel

    async def _serve(self, connection: AbstractConnection) -> None:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        self._channel = cast(Channel, await channel.get_underlay_channel())
        self.ready.set()
        log.info("broker_connected", link=self._name)
        await until_closed(connection.closed(), channel.closed(), self.stopping.wait())
        if not self.stopping.is_set():
            log.warning("broker_connection_lost", link=self._name)

    async def publish(self, *, routing_key: str, message_id: str, body: bytes, headers: dict[str, Any]) -> None:
        """Publish an event. NotTaken when the broker refused it for sure, else PublishFailed."""
        mandatory = routing_key in topology.LISTENED_TO
        await self._send(topology.EXCHANGE, routing_key, _properties(message_id, headers), body, mandatory=mandatory)

    async def park(self, *, message_id: str, body: bytes, headers: dict[str, Any]) -> None:
        """Put a message aside for an operator. Raises like `publish`."""
        await self._send("", topology.PARKED, _properties(message_id, headers), body, mandatory=True)

    async def _send(
        self, exchange: str, routing_key: str, properties: spec.Basic.Properties, body: bytes, *, mandatory: bool
    ) -> None:
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                await self.ready.wait()
                # aiormq's own call: aio-pika's waits for the socket after each message, before the next is written.
                await self._channel.basic_publish(
                    body,
                    exchange=exchange,
                    routing_key=routing_key,
                    properties=properties,
                    mandatory=mandatory,
                    wait=False,
                )
        except aio_pika.exceptions.DeliveryError as error:  # a nack, or returned as unroutable
            raise NotTaken(f"the broker refused the message: {type(error).__name__}") from error
        except TimeoutError as error:
            raise PublishFailed("the broker did not confirm in time") from error
        except TROUBLE as error:
            raise PublishFailed(f"the broker is away: {type(error).__name__}") from error
        except asyncio.CancelledError as error:
            if is_cancelled():
                raise
            raise PublishFailed("the connection was declared stuck") from error


def _properties(message_id: str, headers: dict[str, Any]) -> spec.Basic.Properties:
    return spec.Basic.Properties(
        message_id=message_id,
        headers=headers,
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )


class Consumer(Link):
    """Consumes every subscription until stopped; comes back by itself after any trouble.

    A handler runs in a task of its own: aiormq cancels its callbacks with the connection, and what a handler
    does may be paid for. Its message is given out again meanwhile.
    """

    def __init__(
        self, settings: RabbitSettings, name: str, subscriptions: Sequence[Subscription], *, drain_seconds: float
    ) -> None:
        super().__init__(settings, name)
        self._drain_seconds = drain_seconds
        # The places outlive connections: handlers of old ones count beside those of the new.
        self._subscriptions = [(each, asyncio.Semaphore(each.prefetch)) for each in subscriptions]
        self._in_hand: set[asyncio.Task[None]] = set()
        self._finished = asyncio.Event()

    async def _serve(self, connection: AbstractConnection) -> None:
        gone = asyncio.Event()
        closings: list[Awaitable[Any]] = [connection.closed(), gone.wait(), self.stopping.wait()]
        started = []
        for subscription, places in self._subscriptions:
            channel = await connection.channel(publisher_confirms=False)
            await channel.set_qos(prefetch_count=subscription.prefetch)
            underlay = cast(Channel, await channel.get_underlay_channel())
            # The broker takes a consumer away when its queue is deleted.
            underlay.on_consumer_cancel_callbacks.add(lambda _: gone.set())
            begun = await underlay.basic_consume(subscription.queue.name, self._starter(subscription.handle, places))
            started.append((underlay, begun.consumer_tag))
            closings.append(channel.closed())
        self.ready.set()
        log.info("consumers_started", queues=[subscription.queue.name for subscription, _ in self._subscriptions])
        await until_closed(*closings)
        if not self.stopping.is_set():
            log.warning("consumers_lost", link=self._name, in_hand=len(self._in_hand))
            return
        for underlay, tag in started:
            await underlay.basic_cancel(cast(str, tag), timeout=2)
        await self._finished.wait()  # before the connection closes, so that what is finished is acked

    def _starter(
        self, handle: Handle, places: asyncio.Semaphore
    ) -> Callable[[DeliveredMessage], Coroutine[Any, Any, None]]:
        async def start(message: DeliveredMessage) -> None:
            await places.acquire()  # cancelled here with the connection, a message was never begun
            if self.stopping.is_set():
                places.release()
                return
            task = asyncio.ensure_future(handle(Delivery(message)))
            self._in_hand.add(task)
            task.add_done_callback(self._in_hand.discard)
            task.add_done_callback(lambda _: places.release())

        return start

    async def stop(self, running: asyncio.Task[None]) -> None:
        """Take nothing new, finish what is in hand; what does not finish in time is cancelled and comes again."""
        self.stopping.set()
        if self._in_hand:
            await asyncio.wait(self._in_hand, timeout=self._drain_seconds)
        for task in self._in_hand:
            task.cancel()
        if self._in_hand:
            await asyncio.wait(self._in_hand, timeout=CANCEL_SECONDS)
        self._finished.set()
        if self.ready.is_set():
            await asyncio.wait({running}, timeout=5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class Listener(Link):
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
        await until_closed(connection.closed(), channel.closed(), gone.wait(), self.stopping.wait())
        if not self.stopping.is_set():
            log.warning("listener_lost", link=self._name)

    async def _hear(self, message: AbstractIncomingMessage) -> None:
        self._heard(message.body)


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
        async with kept_up(bus.publisher, "publisher"):
            yield bus

    @asynccontextmanager
    async def consuming(
        self, subscriptions: Sequence[Subscription], *, drain_seconds: float = DRAIN_SECONDS
    ) -> AsyncIterator[Consumer]:
        """Consume inside the block; at its end take nothing new and finish what is in hand."""
        consumer = Consumer(self._settings, f"{self._name}.consume", subscriptions, drain_seconds=drain_seconds)
        task = asyncio.create_task(consumer.run(), name="consumer")
        try:
            yield consumer
        finally:
            await consumer.stop(task)

    @asynccontextmanager
    async def listening(self, routing_keys: Sequence[str], heard: Heard) -> AsyncIterator[Listener]:
        """Hear these events inside the block, as long as the broker is there."""
        listener = Listener(self._settings, f"{self._name}.live", routing_keys, heard)
        async with kept_up(listener, "listener"):
            yield listener

    async def declare(self) -> None:
        """Mend the topology over a connection of its own."""
        async with connect(self._settings, f"{self._name}.topology") as connection:
            await declare(connection)

    async def depth(self, queue: topology.Queue) -> int | None:
        """Messages ready in a queue; None when the broker or the queue is away."""
        found = await self.depths([queue.name])
        return found[queue.name].messages if found and queue.name in found else None

    async def depths(self, names: Sequence[str]) -> dict[str, Depth] | None:
        """How much is in each of these queues that is there; None when the broker is away."""
        found = {}
        try:
            async with (
                asyncio.timeout(CONNECT_SECONDS),
                connect(self._settings, f"{self._name}.depth") as connection,
            ):
                channel = await connection.channel()
                for name in names:
                    if channel.is_closed:  # by a queue that is not there
                        channel = await connection.channel()
                    with suppress(aio_pika.exceptions.ChannelNotFoundEntity):
                        told = (await channel.declare_queue(name, passive=True)).declaration_result
                        found[name] = Depth(told.message_count or 0, told.consumer_count or 0)
        except TROUBLE:
            return None
        return found
