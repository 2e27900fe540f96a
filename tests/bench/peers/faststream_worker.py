"""FastStream: an event loop, acks after the work, publisher confirms, a quorum queue."""

import asyncio
import os
import sys

import uvloop
import work
from faststream import FastStream
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue

broker = RabbitBroker(os.environ["AMQP_URL"], logger=None)
queue = RabbitQueue("peer.faststream", durable=True, queue_type=QueueType.QUORUM)
app = FastStream(broker, logger=None)
doing: list[work.Loop] = []


@broker.subscriber(queue, channel=Channel(prefetch_count=work.CONCURRENCY))
async def submit(job_id: str) -> None:
    await doing[0].submit(job_id)


@app.on_startup
async def open_pools() -> None:
    doing.append(await work.Loop.open())


async def fill() -> None:
    await broker.connect()
    await broker.declare_queue(queue)
    for job_id in await asyncio.to_thread(work.pending):
        await broker.publish(job_id, queue, persist=True)
    await broker.stop()


if __name__ == "__main__":
    uvloop.run(fill() if sys.argv[1] == "fill" else app.run())
