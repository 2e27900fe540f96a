"""Taskiq: an event loop, acks after the work, publisher confirms, a quorum queue."""

import asyncio
import os
import sys

import work
from taskiq import TaskiqEvents, TaskiqState
from taskiq_aio_pika import AioPikaBroker, Queue

broker = AioPikaBroker(os.environ["AMQP_URL"], qos=work.CONCURRENCY, task_queues=[Queue(name="peer.taskiq")])


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def open_pools(state: TaskiqState) -> None:
    state.doing = await work.Loop.open()


@broker.task(task_name="submit")
async def submit(job_id: str) -> None:
    await broker.state.doing.submit(job_id)


async def fill() -> None:
    await broker.startup()
    for job_id in await asyncio.to_thread(work.pending):
        await submit.kiq(job_id)
    await broker.shutdown()


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        asyncio.run(fill())
    else:
        options = ["--workers", "1", "--max-async-tasks", str(work.CONCURRENCY), "--log-level", "WARNING"]
        os.execv(sys.executable, [sys.executable, "-m", "taskiq", "worker", "taskiq_worker:broker", *options])
