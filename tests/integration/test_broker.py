"""Outbox, publisher and consumer on a real RabbitMQ."""

import asyncio
import gc
import json
from contextlib import asynccontextmanager
from typing import ClassVar
from uuid import uuid4

import aio_pika
import pytest
from yarl import URL

from reelgate_common import bus as bus_module
from reelgate_common import outbox, topology
from reelgate_common.bus import Bus
from reelgate_common.consumer import subscription
from reelgate_common.domain.errors import Unavailable
from reelgate_common.ids import new_id
from reelgate_common.messages import CallbackReceived, Event, JobFailed, JobRequested, JobSubmitted
from reelgate_common.outbox import NotTaken, PublishFailed, Relay
from reelgate_common.settings import RabbitSettings


class Wire:
    """A TCP proxy in front of the broker whose connections can be cut, as a network does."""

    def __init__(self, url):
        self._to = URL(url)
        self._writers = set()
        self.connections = 0

    async def serve(self, reader, writer):
        there = await asyncio.open_connection(self._to.host, self._to.port or 5672)
        self.connections += 1
        pair = {writer, there[1]}
        self._writers |= pair
        await asyncio.gather(self._pump(reader, there[1]), self._pump(there[0], writer))
        self._writers -= pair

    async def _pump(self, reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    def cut(self):
        for writer in self._writers:
            writer.transport.abort()


@pytest.fixture
async def wire(broker):
    made = Wire(broker.amqp_url.get_secret_value())
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        url = URL(broker.amqp_url.get_secret_value())
        made.settings = RabbitSettings(amqp_url=str(url.with_port(server.sockets[0].getsockname()[1])))
        yield made
        made.cut()


@pytest.fixture
async def quick_reconnects(monkeypatch):
    async def pause(seconds=1.0):
        await asyncio.sleep(0.05)

    monkeypatch.setattr(bus_module, "_pause", pause)


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
    async with bus_module.connect(broker, "tests") as connection:
        await bus_module.declare(connection)
    yield queue
    for name in (queue.name, queue.retry_name):
        await channel.queue_delete(name)


@pytest.fixture
def consuming(bus):
    """Run a handler on a queue inside the block."""

    @asynccontextmanager
    async def consume(queue, handler, *, through=None):
        through = through or bus
        made = subscription(queue, queue.event, handler, publisher=through.publisher, prefetch=10)
        async with through.consuming([made]) as consumer:
            await asyncio.wait_for(consumer.ready.wait(), 10)
            yield consumer

    return consume


@pytest.fixture
def publish(bus):
    async def send(queue, body=None):
        event = queue.event(job_id=new_id(), job_version=1)
        body = event.model_dump_json().encode() if body is None else body
        await bus.publisher.publish(
            routing_key=queue.event.routing_key, message_id=str(event.event_id), body=body, headers={}
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


# Outbox ---------------------------------------------------------------------------------------------


async def test_a_row_goes_when_its_message_is_confirmed(db, bus, cast, stored, take):
    message = JobFailed(job_id=new_id(), job_version=3, code="refused", message="no")
    await cast(outbox.add, message)

    assert await Relay(db, bus.publisher).run_once() == 1

    taken = await take(topology.JOB_FAILED.name)
    assert JobFailed.read(taken.body) == message
    assert (taken.message_id, taken.delivery_mode) == (str(message.event_id), aio_pika.DeliveryMode.PERSISTENT)
    assert await stored.count("outbox") == 0


async def test_a_row_that_is_not_due_stays(db, bus, cast, stored):
    await cast(outbox.add, JobRequested(job_id=new_id(), job_version=1), after=outbox.timedelta(hours=1))

    assert await Relay(db, bus.publisher).run_once() == 0
    assert await stored.count("outbox") == 1


async def test_a_message_nobody_durable_listens_to_leaves_the_outbox(db, bus, cast, stored):
    await cast(outbox.add, JobSubmitted(job_id=new_id(), job_version=1, task_id="t"))

    assert await Relay(db, bus.publisher).run_once() == 1
    assert await stored.count("outbox") == 0


async def test_a_message_without_its_queue_stays_and_backs_off(db, bus, cast, stored, channel):
    queue = await channel.get_queue(topology.CALLBACK_RECEIVED.name, ensure=False)
    await queue.unbind(topology.EXCHANGE, CallbackReceived.routing_key)
    await cast(outbox.add, CallbackReceived(job_id=new_id(), job_version=0, callback_id=new_id()))
    await cast(outbox.add, JobFailed(job_id=new_id(), job_version=3, code="refused", message="no"))

    published = await Relay(db, bus.publisher).run_once()
    await queue.bind(topology.EXCHANGE, CallbackReceived.routing_key)

    [row] = await stored.rows("SELECT routing_key, attempts, available_at > now() AS later FROM outbox")
    assert published == 1
    assert row == {"routing_key": "callback.received", "attempts": 1, "later": True}


async def test_relays_share_the_work(db, bus, cast, waiting, eventually, stored):
    for _ in range(30):
        await cast(outbox.add, JobFailed(job_id=new_id(), job_version=3, code="refused", message="no"))

    counts = await asyncio.gather(*(Relay(db, bus.publisher).run_once() for _ in range(4)))

    async def all_arrived():
        return await waiting(topology.JOB_FAILED.name) == 30

    assert sum(counts) == 30
    assert await eventually(all_arrived)
    assert await stored.count("outbox") == 0


async def test_a_woken_relay_publishes_at_once(db, bus, cast, take):
    relay = Relay(db, bus.publisher)
    running = asyncio.create_task(relay.run())
    await cast(outbox.add, JobRequested(job_id=new_id(), job_version=1))
    relay.wake()

    assert await take(topology.JOB_REQUESTED.name)

    running.cancel()
    await asyncio.wait({running})


async def test_a_broker_that_is_away_leaves_every_row(db, publisher, cast, stored):
    await cast(outbox.add, JobRequested(job_id=new_id(), job_version=1))
    publisher.failures["job.requested"] = PublishFailed("away")

    with pytest.raises(PublishFailed):
        await Relay(db, publisher).run_once()

    [row] = await stored.rows("SELECT attempts, available_at <= now() AS due FROM outbox")
    assert row == {"attempts": 0, "due": True}


async def test_what_was_confirmed_beside_a_failure_is_not_published_again(db, publisher, cast, stored):
    await cast(outbox.add, JobRequested(job_id=new_id(), job_version=1))
    await cast(outbox.add, JobSubmitted(job_id=new_id(), job_version=1, task_id="t"))
    publisher.failures["job.requested"] = PublishFailed("away")

    with pytest.raises(PublishFailed):
        await Relay(db, publisher).run_once()

    assert await stored.value("SELECT string_agg(routing_key, ',') FROM outbox") == "job.requested"


# Publisher ------------------------------------------------------------------------------------------


async def test_an_unroutable_message_is_not_taken(bus, channel, own_queue, monkeypatch):
    monkeypatch.setattr(topology, "LISTENED_TO", frozenset({"nobody.listens"}))

    with pytest.raises(NotTaken):
        await bus.publisher.publish(routing_key="nobody.listens", message_id="1", body=b"{}", headers={})


async def test_a_full_queue_does_not_take_a_message(bus, channel, broker):
    name = f"full.{uuid4().hex[:8]}"
    arguments = {"x-queue-type": "classic", "x-max-length": 1, "x-overflow": "reject-publish"}
    queue = await channel.declare_queue(name, auto_delete=True, arguments=arguments)
    await queue.bind(topology.EXCHANGE, name)
    await bus.publisher.publish(routing_key=name, message_id="1", body=b"{}", headers={})

    with pytest.raises(NotTaken):
        await bus.publisher.publish(routing_key=name, message_id="2", body=b"{}", headers={})

    await queue.delete(if_empty=False)


async def test_a_publisher_comes_back_after_its_connection_is_cut(wire, quick_reconnects, eventually, take):
    async with Bus.open(wire.settings, "tests") as bus:
        await asyncio.wait_for(bus.publisher.ready.wait(), 10)
        wire.cut()
        await eventually(lambda: wire.connections == 2)

        async def published():
            try:
                await bus.publisher.publish(routing_key="job.failed", message_id="1", body=b"{}", headers={})
            except PublishFailed:
                return False
            return True

        assert await eventually(published)


async def test_a_start_without_a_broker_is_a_start(unused_tcp_port, quick_reconnects, monkeypatch):
    monkeypatch.setattr(bus_module, "PUBLISH_SECONDS", 0.2)
    async with Bus.open(RabbitSettings(amqp_url=f"amqp://guest:guest@127.0.0.1:{unused_tcp_port}/"), "tests") as bus:
        with pytest.raises(PublishFailed):
            await bus.publisher.publish(routing_key="job.failed", message_id="1", body=b"{}", headers={})
        assert await bus.depth(topology.JOB_REQUESTED) is None


@pytest.mark.usefixtures("swept")
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # aiormq leaves sockets to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_stop_while_connecting_is_a_stop(broker):
    """The cancellation may land anywhere in the handshake, also where a library swallows it."""
    async with asyncio.timeout(60):
        for step in range(80):
            async with Bus.open(broker, "tests"):
                await asyncio.sleep(step % 40 / 4000)
    gc.collect()


async def test_the_depth_of_a_queue_is_what_waits_in_it(bus, eventually):
    await bus.publisher.publish(routing_key="job.requested", message_id="1", body=b"{}", headers={})

    async def one_waits():
        return await bus.depth(topology.JOB_REQUESTED) == 1

    assert await eventually(one_waits)


async def test_declaring_twice_changes_nothing(bus):
    await bus.declare()
    await bus.declare()


# Consumer -------------------------------------------------------------------------------------------


async def test_a_handled_message_is_gone(own_queue, consuming, publish, eventually, waiting):
    handled = []

    async def handle(event):
        handled.append(event)

    async with consuming(own_queue, handle):
        sent = await publish(own_queue)
        await eventually(lambda: handled)

    assert handled == [sent]
    assert await waiting(own_queue.name) == 0


async def test_a_handler_that_crashes_gets_the_message_again_later(own_queue, consuming, publish, eventually):
    seen = []

    async def handle(event):
        seen.append(event.event_id)
        if len(seen) < 3:
            raise ValueError("broken")

    async with consuming(own_queue, handle):
        sent = await publish(own_queue)
        await eventually(lambda: len(seen) == 3)

    assert set(seen) == {sent.event_id}


async def test_a_message_that_always_crashes_is_parked_after_its_rounds(own_queue, consuming, publish, take):
    seen = []

    async def handle(event):
        seen.append(event)
        raise ValueError("broken")

    async with consuming(own_queue, handle):
        sent = await publish(own_queue)
        parked = await take(topology.PARKED)

    assert len(seen) == 3
    assert json.loads(parked.body)["event_id"] == str(sent.event_id)
    assert parked.headers["x-parked-from"] == own_queue.name
    assert parked.headers["x-parked-reason"] == "too many rounds"


@pytest.mark.parametrize("body", [b"", b"not json", b"{}", b"\xff\x00", b'{"job_id": "x"}'])
async def test_an_unreadable_message_is_parked_at_once_with_the_reason(own_queue, consuming, publish, take, body):
    async def handle(event):
        raise AssertionError("must not be handled")

    async with consuming(own_queue, handle):
        await publish(own_queue, body)
        parked = await take(topology.PARKED)

    assert parked.body == body
    assert "invalid fields" in parked.headers["x-parked-reason"]


async def test_an_unreadable_message_does_not_hold_up_the_next(own_queue, consuming, publish, eventually):
    handled = []

    async def handle(event):
        handled.append(event)

    async with consuming(own_queue, handle):
        await publish(own_queue, b"garbage")
        sent = await publish(own_queue)
        await eventually(lambda: handled)

    assert handled == [sent]


async def test_while_the_database_is_away_a_message_is_held(own_queue, consuming, publish, eventually, monkeypatch):
    monkeypatch.setattr("reelgate_common.consumer._AWAY_SECONDS", 0.01)
    seen = []

    async def handle(event):
        seen.append(event)
        if len(seen) < 20:
            raise Unavailable("away")

    async with consuming(own_queue, handle):
        sent = await publish(own_queue)
        await eventually(lambda: len(seen) == 20)

    assert seen == [sent] * 20


async def test_a_consumer_comes_back_after_its_connection_is_cut(
    own_queue, wire, quick_reconnects, consuming, publish, eventually
):
    handled = []

    async def handle(event):
        handled.append(event)

    async with Bus.open(wire.settings, "tests") as cuttable, consuming(own_queue, handle, through=cuttable) as consumer:
        wire.cut()
        await eventually(lambda: not consumer.ready.is_set())
        await eventually(consumer.ready.is_set)
        sent = await publish(own_queue)
        await eventually(lambda: handled)

    assert handled == [sent]


async def test_a_message_in_hand_when_the_connection_is_cut_comes_again(
    own_queue, wire, quick_reconnects, consuming, publish, eventually
):
    handled, go_on = [], asyncio.Event()

    async def handle(event):
        handled.append(event)
        await go_on.wait()

    async with Bus.open(wire.settings, "tests") as cuttable, consuming(own_queue, handle, through=cuttable):
        sent = await publish(own_queue)
        await eventually(lambda: handled)
        wire.cut()
        await eventually(lambda: len(handled) == 2)
        go_on.set()

    assert handled == [sent, sent]


async def test_a_consumer_comes_back_after_its_queue_was_deleted(
    own_queue, consuming, publish, eventually, channel, bus, quick_reconnects
):
    handled = []

    async def handle(event):
        handled.append(event)

    async with consuming(own_queue, handle) as consumer:
        await channel.queue_delete(own_queue.name)
        await eventually(lambda: not consumer.ready.is_set())
        await bus.declare()
        await eventually(consumer.ready.is_set)
        sent = await publish(own_queue)
        await eventually(lambda: handled)

    assert handled == [sent]


async def test_a_stop_finishes_what_is_in_hand(own_queue, consuming, publish, eventually, waiting):
    started, finished, go_on = [], [], asyncio.Event()

    async def handle(event):
        started.append(event)
        await go_on.wait()
        finished.append(event)

    async with consuming(own_queue, handle):
        sent = await publish(own_queue)
        await eventually(lambda: started)
        asyncio.get_running_loop().call_later(0.1, go_on.set)

    assert finished == [sent]
    assert await waiting(own_queue.name) == 0


async def test_what_does_not_finish_at_a_stop_comes_again(own_queue, consuming, publish, eventually, take, monkeypatch):
    monkeypatch.setattr(bus_module, "_DRAIN_SECONDS", 0.1)
    started = []

    async def handle(event):
        started.append(event)
        await asyncio.Event().wait()

    async with consuming(own_queue, handle):
        sent = await publish(own_queue)
        await eventually(lambda: started)

    again = await take(own_queue.name)
    assert (json.loads(again.body)["event_id"], again.redelivered) == (str(sent.event_id), True)


# Listener --------------------------------------------------------------------------------------------


async def test_every_listener_hears_an_event_and_only_what_it_asked_for(bus, eventually):
    heard = [[], []]
    async with bus.listening(["test.a"], heard[0].append) as one, bus.listening(["test.a"], heard[1].append) as other:
        await asyncio.gather(one.ready.wait(), other.ready.wait())
        for routing_key in ("test.b", "test.a"):
            body = routing_key.encode()
            await bus.publisher.publish(routing_key=routing_key, message_id="1", body=body, headers={})

        await eventually(lambda: all(heard))

    assert heard == [[b"test.a"], [b"test.a"]]


async def test_a_listener_comes_back_after_its_connection_is_cut(bus, wire, quick_reconnects, eventually):
    heard = []
    listening = Bus(wire.settings, "tests").listening(["test.a"], heard.append)
    async with listening as listener:
        await eventually(listener.ready.is_set)
        wire.cut()
        await eventually(lambda: wire.connections == 2 and listener.ready.is_set())

        await bus.publisher.publish(routing_key="test.a", message_id="1", body=b"again", headers={})

        await eventually(lambda: heard == [b"again"])


def test_no_live_queue_hides_that_a_durable_one_is_missing():
    """What both listen to would count as routed, and leave the outbox, with the durable queue gone."""
    assert set(topology.LIVE) == {"job.submitted", "job.completed", "job.refunded", "job.recovered"}
    assert not topology.LISTENED_TO.intersection(topology.LIVE)
