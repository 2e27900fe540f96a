"""The integration guide's own design: a cron pass takes five pending jobs and sends them one after the other.

Here a pass follows the other at once. By the guide's clock there is one a minute.
"""

import asyncio
import os
import sys

import asyncpg
import httpx
import uvloop
import work

_LIMIT = 5


async def one_pass(db: asyncpg.Connection, http: httpx.AsyncClient) -> int:
    jobs = await db.fetch(
        "SELECT id, prompt, image_urls::text FROM peer_jobs WHERE status = 'pending' ORDER BY n LIMIT $1", _LIMIT
    )
    for job in jobs:
        await db.execute("UPDATE peer_jobs SET status = 'submitting', updated_at = now() WHERE id = $1", job["id"])
        url = f"{os.environ['VENDOR_URL']}/api/v1/veo/generate"
        answer = await http.post(url, json=work.body(job, job["id"]), headers={"Authorization": "Bearer bench"})
        task = answer.raise_for_status().json()["data"]["taskId"]
        await db.execute("UPDATE peer_jobs SET status = 'processing', task_id = $2 WHERE id = $1", job["id"], task)
    return len(jobs)


async def run() -> None:
    db = await asyncpg.connect(os.environ["DATABASE_URL"])
    async with httpx.AsyncClient(trust_env=False) as http:
        while await one_pass(db, http):
            pass
    await asyncio.Event().wait()  # what it took is read while it is there


if __name__ == "__main__" and sys.argv[1] == "work":  # the table is the queue: nothing to fill
    uvloop.run(run())
