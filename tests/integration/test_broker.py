"""Outbox, publisher and listener on a real RabbitMQ."""

import asyncio
import gc
from uuid import uuid4

import aio_pika
import pytest

from reelgate_common import bus as bus_module
from reelgate_common import outbox, topology
from reelgate_common.bus import Bus
from reelgate_common.ids import new_id
from reelgate_common.messages import CallbackReceived, JobFailed, JobRequested, JobSubmitted
from reelgate_common.outbox import NotTaken, PublishFailed, Relay
from reelgate_common.settings import RabbitSettings

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
        await eventually(lambda: not bus.publisher.ready.is_set())

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
        await eventually(lambda: not listener.ready.is_set())
        await eventually(listener.ready.is_set)

        await bus.publisher.publish(routing_key="test.a", message_id="1", body=b"again", headers={})

        await eventually(lambda: heard == [b"again"])


def test_no_live_queue_hides_that_a_durable_one_is_missing():
    """What both listen to would count as routed, and leave the outbox, with the durable queue gone."""
    assert set(topology.LIVE) == {"job.submitted", "job.completed", "job.refunded", "job.recovered"}
    assert not topology.LISTENED_TO.intersection(topology.LIVE)
