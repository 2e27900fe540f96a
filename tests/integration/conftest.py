"""A queue of a test's own, and a line to the broker that can be cut."""

import asyncio
from contextlib import asynccontextmanager
from typing import ClassVar
from uuid import uuid4

import pytest
from fault_proxy import FaultProxy
from prometheus_client import REGISTRY
from yarl import URL

from reelgate_common import bus as bus_module
from reelgate_common import connection as connection_module
from reelgate_common import topology
from reelgate_common.bus import Bus
from reelgate_common.connection import connect
from reelgate_common.consumer import subscription
from reelgate_common.ids import new_id
from reelgate_common.messages import Event
from reelgate_common.settings import RabbitSettings


@pytest.fixture
async def wire(broker):
    """A proxy in front of the broker, and the settings to go through it."""
    url = URL(broker.amqp_url.get_secret_value())
    async with FaultProxy.open(url.host, url.port or 5672) as proxy:
        proxy.settings = RabbitSettings(amqp_url=str(url.with_host("127.0.0.1").with_port(proxy.port)))
        yield proxy


@pytest.fixture
async def quick_reconnects(monkeypatch):
    async def pause(seconds=1.0):
        await asyncio.sleep(0.05)

    monkeypatch.setattr(connection_module, "_pause", pause)


@pytest.fixture
async def bus(broker):
    async with Bus.open(broker, "tests") as opened:
        await asyncio.wait_for(opened.publisher.ready.wait(), 10)
        yield opened


class Happened(Event):
    """Something only these tests listen to."""

    routing_key: ClassVar[str] = "test.happened"


@pytest.fixture
async def own_queue(broker, channel, monkeypatch):
    """A queue of this test alone, with quick retries; gone afterwards."""
    event = type("Happened", (Happened,), {"routing_key": f"test.{uuid4().hex[:8]}", "__module__": __name__})
    queue = topology.Queue("tester", event)
    monkeypatch.setattr(topology, "RETRY_MILLISECONDS", 100)
    monkeypatch.setattr(topology, "MAX_ROUNDS", 3)
    monkeypatch.setattr(topology, "QUEUES", (queue,))
    async with connect(broker, "tests") as connection:
        await bus_module.declare(connection)
    yield queue
    for name in (queue.name, queue.retry_name):
        await channel.queue_delete(name)


@pytest.fixture
def consuming(bus):
    """Run a handler on a queue inside the block."""

    @asynccontextmanager
    async def consume(queue, handler, *, through=None, prefetch=10, drain_seconds=bus_module.DRAIN_SECONDS):
        through = through or bus
        made = subscription(queue, queue.event, handler, publisher=through.publisher, prefetch=prefetch)
        async with through.consuming([made], drain_seconds=drain_seconds) as consumer:
            await asyncio.wait_for(consumer.ready.wait(), 10)
            yield consumer

    return consume


@pytest.fixture
def publish(bus):
    """Publish an event of a queue, or a body in its place, with headers of one's own."""

    async def send(queue, body=None, *, headers=None):
        event = queue.event(job_id=new_id(), job_version=1)
        body = event.model_dump_json().encode() if body is None else body
        await bus.publisher.publish(
            routing_key=queue.event.routing_key, message_id=str(event.event_id), body=body, headers=headers or {}
        )
        return event

    return send


@pytest.fixture
def waiting(channel):
    """Messages ready in a queue. The count follows what happens with a delay."""

    async def count(name):
        return (await channel.declare_queue(name, passive=True)).declaration_result.message_count

    return count


@pytest.fixture
def take(channel, eventually):
    """The next message of a queue."""

    async def get(name):
        queue = await channel.get_queue(name, ensure=False)
        return await eventually(lambda: queue.get(no_ack=True, fail=False))

    return get


@pytest.fixture
def ended_as():
    """How many messages of a queue ended so in this process, such as `acked`."""

    def count(queue, end):
        return REGISTRY.get_sample_value("reelgate_messages_total", {"queue": queue.name, "end": end}) or 0

    return count
