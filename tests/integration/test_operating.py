"""The topology stands as declared, or an operator hears of it."""

import aio_pika
import pytest

from reelgate_common import bus, topology
from reelgate_common.connection import connect


async def test_a_topology_that_stands_otherwise_is_refused_loudly(broker, channel):
    await channel.queue_delete(topology.PARKED)
    await channel.declare_queue(topology.PARKED, durable=True)
    try:
        async with connect(broker, "tests") as connection:
            with pytest.raises(aio_pika.exceptions.ChannelPreconditionFailed):
                await bus.declare(connection)
    finally:
        await channel.queue_delete(topology.PARKED)
        async with connect(broker, "tests") as connection:
            await bus.declare(connection)
