"""What an operator looks after by command: parked messages and the books."""

import aio_pika
import pytest

from reelgate_common import bus, parked, topology


@pytest.fixture
def park(channel):
    """Put a message aside as the consumer would."""

    async def put(message_id: str, *, queue: str = topology.JOB_FAILED.name) -> None:
        headers = {"x-parked-from": queue, "x-parked-reason": "too many rounds"}
        message = aio_pika.Message(b"{}", message_id=message_id, headers=headers)
        await channel.default_exchange.publish(message, topology.PARKED)

    return put


async def test_looking_at_parked_messages_leaves_them_parked(broker, park):
    await park("one")

    for _ in range(3):
        [seen] = await parked.listed(broker, limit=10)

    assert (seen.message_id, seen.queue, seen.reason) == ("one", topology.JOB_FAILED.name, "too many rounds")


async def test_a_replayed_message_goes_back_to_its_queue(broker, park, channel):
    await park("one")
    await park("two")

    count = await parked.replay(broker, wanted=lambda message: message.message_id == "two", limit=10)

    returned = await (await channel.get_queue(topology.JOB_FAILED.name)).get()
    await returned.ack()
    assert (count, returned.message_id) == (1, "two")
    assert [message.message_id for message in await parked.listed(broker, limit=10)] == ["one"]


async def test_a_dropped_message_is_gone(broker, park):
    await park("one")
    await park("two")

    assert await parked.drop(broker, wanted=lambda message: message.message_id == "one", limit=10) == 1

    assert [message.message_id for message in await parked.listed(broker, limit=10)] == ["two"]


async def test_a_topology_that_stands_otherwise_is_refused_loudly(broker, channel):
    await channel.queue_delete(topology.PARKED)
    await channel.declare_queue(topology.PARKED, durable=True)
    try:
        async with bus.connect(broker, "tests") as connection:
            with pytest.raises(aio_pika.exceptions.ChannelPreconditionFailed):
                await bus.declare(connection)
    finally:
        await channel.queue_delete(topology.PARKED)
        async with bus.connect(broker, "tests") as connection:
            await bus.declare(connection)
