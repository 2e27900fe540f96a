"""What every peer does for one job: the same statements, the same call, the same order.

The attempt is committed before the call and its result after it, each by one statement, which is the least that can
be done; the library acks when this returns. A job that is not pending any more is left alone.
"""

import os
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg
import httpx
import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

CONCURRENCY = int(os.environ["CONCURRENCY"])
_URL = f"{os.environ['VENDOR_URL']}/api/v1/veo/generate"
_HEADERS = {"Authorization": "Bearer bench"}
_PENDING = "SELECT id::text FROM peer_jobs WHERE status = 'pending' ORDER BY n"
_CLAIM = """
    WITH claimed AS (
        UPDATE peer_jobs SET status = 'submitting', updated_at = now()
         WHERE id = {job} AND status = 'pending' RETURNING id, prompt, image_urls::text
    ), begun AS (
        INSERT INTO peer_attempts (id, job_id) SELECT {attempt}, id FROM claimed
    )
    SELECT prompt, image_urls FROM claimed
"""
_RECORD = """
    WITH recorded AS (
        UPDATE peer_attempts SET outcome = 'accepted', task_id = {task}, outcome_at = now()
         WHERE id = {attempt} RETURNING job_id
    )
    UPDATE peer_jobs SET status = 'processing', task_id = {task}, updated_at = now()
      FROM recorded WHERE id = recorded.job_id
"""
_CLAIM_ASYNCPG = _CLAIM.format(job="$1", attempt="$2")
_RECORD_ASYNCPG = _RECORD.format(attempt="$1", task="$2")
_CLAIM_PSYCOPG = _CLAIM.format(job="%(job)s", attempt="%(attempt)s")
_RECORD_PSYCOPG = _RECORD.format(attempt="%(attempt)s", task="%(task)s")


def body(row: Any, attempt: Any) -> dict[str, Any]:
    """What is asked of the vendor, with as many fields as ours."""
    return {
        "prompt": row["prompt"],
        "imageUrls": [row["image_urls"]],
        "model": "veo3_fast",
        "generationType": "REFERENCE_2_VIDEO",
        "aspect_ratio": "16:9",
        "resolution": "720p",
        "duration": 8,
        "enableTranslation": True,
        "callBackUrl": f"https://gateway.example.com/api/video/kie-ai-callback?attempt={attempt}",
    }


def pending() -> list[str]:
    """The ids to queue, in order."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        return [row[0] for row in connection.execute(_PENDING)]


class Threads:
    """The work for libraries that run it in threads."""

    def __init__(self) -> None:
        self._http = httpx.Client(headers=_HEADERS, limits=httpx.Limits(max_connections=CONCURRENCY), trust_env=False)
        self._pool = ConnectionPool(
            os.environ["DATABASE_URL"],
            min_size=CONCURRENCY,
            max_size=CONCURRENCY,
            kwargs={"autocommit": True, "row_factory": dict_row},
            open=True,
        )

    def submit(self, job_id: str) -> None:
        attempt = uuid4()
        with self._pool.connection() as connection:
            row = connection.execute(_CLAIM_PSYCOPG, {"job": job_id, "attempt": attempt}).fetchone()
        if row is None:
            return
        answer = self._http.post(_URL, json=body(row, attempt))
        task = answer.raise_for_status().json()["data"]["taskId"]
        with self._pool.connection() as connection:
            connection.execute(_RECORD_PSYCOPG, {"attempt": attempt, "task": task})


class Loop:
    """The work for libraries that run it in an event loop."""

    @classmethod
    async def open(cls) -> "Loop":
        self = cls()
        # As ours: httpx would be half of what these workers cost.
        self._http = aiohttp.ClientSession(headers=_HEADERS, connector=aiohttp.TCPConnector(limit=CONCURRENCY))
        self._pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=10, max_size=10)
        return self

    async def submit(self, job_id: str) -> None:
        attempt = uuid4()
        row = await self._pool.fetchrow(_CLAIM_ASYNCPG, job_id, attempt)
        if row is None:
            return
        async with self._http.post(_URL, json=body(row, attempt), raise_for_status=True) as answer:
            task = (await answer.json())["data"]["taskId"]
        await self._pool.execute(_RECORD_ASYNCPG, attempt, task)
