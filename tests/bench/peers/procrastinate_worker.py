"""Procrastinate: an event loop; the queue is a table, so a message is as safe as the job."""

import asyncio
import os
import sys

import uvloop
import work
from procrastinate import App, PsycopgConnector

app = App(connector=PsycopgConnector(conninfo=os.environ["DATABASE_URL"]))
doing: list[work.Loop] = []


@app.task(name="submit")
async def submit(job_id: str) -> None:
    await doing[0].submit(job_id)


async def fill() -> None:
    async with app.open_async():
        missing = "SELECT to_regclass('procrastinate_jobs') IS NULL AS missing"
        if (await app.connector.execute_query_one_async(missing))["missing"]:
            await app.schema_manager.apply_schema_async()
        ids = await asyncio.to_thread(work.pending)
        await submit.batch_defer_async(*({"job_id": job_id} for job_id in ids))


async def run() -> None:
    doing.append(await work.Loop.open())
    async with app.open_async():
        await app.run_worker_async(concurrency=work.CONCURRENCY)


if __name__ == "__main__":
    uvloop.run(fill() if sys.argv[1] == "fill" else run())
