"""What is measured against: the least handler that is as durable, and the least statement that writes the same rows.

Without keys, limits, idempotent repeats, traces and metrics, and nothing is published: its messages stay put off.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, Field

_STATEMENT = """
    WITH debited AS (
        UPDATE credits SET credits = credits - 4, updated_at = now()
         WHERE wallet_address = {wallet} AND credits >= 4 RETURNING wallet_address
    ), made AS (
        INSERT INTO video_jobs (id, wallet_address, prompt, image_urls, aspect_ratio, model, generation_type,
                                resolution, duration, cost, turn, expires_at, deadline_at, next_attempt_at)
        SELECT {job}, wallet_address, {prompt}, {images}::jsonb, '16:9', 'veo3_fast', 'REFERENCE_2_VIDEO', '720p', 8,
               4, 1, now() + interval '1 d', now() + interval '1 d', now()
          FROM debited RETURNING id, wallet_address
    ), keyed AS (
        INSERT INTO idempotency_keys (owner, key, request_hash, job_id)
        SELECT wallet_address, id::text, sha256(id::text::bytea), id FROM made
    ), charged AS (
        INSERT INTO credit_transactions (id, wallet_address, job_id, transaction_type, amount, description)
        SELECT gen_random_uuid(), wallet_address, id, 'charge', -4, 'Video generation' FROM made
    ), told AS (
        INSERT INTO job_events (job_id, seq, event, status, service, reason)
        SELECT id, 1, 'accepted', 'pending', 'api', '4 credits charged' FROM made
    ), queued AS (
        INSERT INTO outbox (event_id, routing_key, job_id, payload, available_at)
        SELECT gen_random_uuid(), 'job.requested', id, jsonb_build_object('job_id', id), now() + interval '1 d'
          FROM made
    )
    SELECT id FROM made
"""
_ACCEPT = _STATEMENT.format(wallet="$1", job="$2", prompt="$3", images="$4")
_READ = "SELECT id, wallet_address, status, prompt, model, cost, created_at, version FROM video_jobs WHERE id = $1"


def floor_script(wallets: int) -> str:
    """The same statement for pgbench, which has the rows made by the server."""
    values = {"job": "gen_random_uuid()", "prompt": "'A character waving hello'", "images": "'[]'"}
    statement = " ".join(_STATEMENT.format(wallet="'bench-' || :wallet", **values).split())
    return f"\\set wallet random(0, {wallets - 1})\n{statement};\n"


class Body(BaseModel):
    """A job like the guide's."""

    wallet_address: str = Field(min_length=1, max_length=255)
    prompt: str = Field(min_length=1, max_length=5000)
    image_urls: list[str] = Field(min_length=1, max_length=8)
    aspect_ratio: str


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=10, max_size=10) as pool:
        yield {"pool": pool}


app = FastAPI(lifespan=_lifespan)


@app.post("/api/video/generate", status_code=202)
async def create(body: Body, request: Request) -> dict[str, Any]:
    """One statement, one commit, for each request."""
    images = json.dumps(body.image_urls)
    job = await request.state.pool.fetchval(_ACCEPT, body.wallet_address, uuid4(), body.prompt, images)
    if job is None:
        raise HTTPException(402)
    return {"success": True, "job_id": str(job)}


@app.get("/api/video/jobs/{job_id}")
async def read(job_id: UUID, request: Request) -> dict[str, Any]:
    """One look by primary key."""
    row = await request.state.pool.fetchrow(_READ, job_id)
    if row is None:
        raise HTTPException(404)
    return {"job": dict(row)}


if __name__ == "__main__":  # as we serve ours
    port = int(os.environ["HTTP_PORT"])
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning")
