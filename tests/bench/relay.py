"""What one process gets out of the outbox with confirms, and what one gets from a queue with an effect in the database.

Both on private servers with nobody else at work. The relay is that of a callback process, which has nothing else to
do; the consumer is consuming.py: ours as a library, with a handler of one guarded write.
"""

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

import asyncpg
import stacks
from load import ROUNDS
from machine import Meter
from results import Goal, Outcome, Table

MESSAGES = int(os.environ.get("BENCH_MESSAGES", "20000"))
_LOOK_SECONDS = 0.05  # each look is work for the database too
_FIRST = 0.1  # of the messages are let pass before the clock starts: a sweep may be half a second away

_MARKS = "CREATE TABLE bench_marks (job_id uuid PRIMARY KEY, marked_at timestamptz)"
_FILL_MARKS = "INSERT INTO bench_marks SELECT gen_random_uuid() FROM generate_series(1, $1)"
# Bodies as the services write them. A message for each mark: of the event that the callback service does not consume.
_FILL_OUTBOX = """
    INSERT INTO outbox (event_id, routing_key, job_id, payload)
    SELECT gen_random_uuid(), 'job.requested', job_id,
           jsonb_build_object('event_id', gen_random_uuid(), 'occurred_at', now(), 'schema_version', 1,
                              'job_id', job_id, 'job_version', 1)
      FROM bench_marks WHERE marked_at IS NULL
"""
_UNSENT = "SELECT count(*) FROM outbox"
_UNMARKED = "SELECT count(*) FROM bench_marks WHERE marked_at IS NULL"


async def rate(left: Callable[[], Awaitable[int]], meter: Callable[[], Meter]) -> tuple[float, dict[str, float]]:
    """How many a second leave, and the processor time meanwhile; from when a tenth is gone until none is left."""
    whole = await left()
    while (before := await left()) > whole * (1 - _FIRST):  # noqa: ASYNC110 -- the event is in another process
        await asyncio.sleep(_LOOK_SECONDS)
    started, spent = time.perf_counter(), meter()
    while await left():  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_SECONDS)
    took = time.perf_counter() - started
    return before / took, {name: 1000 * seconds / before for name, seconds in spent.read().items()}


async def _round(db: asyncpg.Connection, servers: stacks.Servers) -> list[tuple[float, dict[str, float]]]:
    """Publish as many messages as there are marks, then consume them."""
    env = servers.env
    async with stacks.serving(stacks.service("callback"), env) as process:
        await db.execute(_FILL_OUTBOX)
        relayed = await rate(lambda: db.fetchval(_UNSENT), lambda: _meter(servers, process.pid))
    command = [sys.executable, str(stacks.HERE / "consuming.py")]
    consumer = await asyncio.create_subprocess_exec(*command, env=env)
    try:
        consumed = await rate(lambda: db.fetchval(_UNMARKED), lambda: _meter(servers, consumer.pid))
    finally:
        consumer.terminate()
        await consumer.wait()
    return [relayed, consumed]


def _meter(servers: stacks.Servers, pid: int) -> Meter:
    return Meter({"process": [pid], "PostgreSQL": servers.postgres, "RabbitMQ": servers.rabbit})


async def measure() -> Outcome:
    """The median of some rounds, each with new messages."""
    rounds = []
    async with (
        stacks.private_servers("bench-relay", vendor="http://127.0.0.1:9") as servers,
        stacks.database(servers.env) as db,
    ):
        await db.execute(_MARKS)
        for _ in range(ROUNDS):
            await db.execute(_FILL_MARKS, MESSAGES)
            rounds.append(await _round(db, servers))
    rows = []
    for name, found in zip(("outbox relay", "consumer"), zip(*rounds, strict=True), strict=True):
        _, cpu = found[0]
        costs = [statistics.median(spent[part] for _, spent in found) for part in cpu]
        rows.append((name, statistics.median(per_second for per_second, _ in found), *costs))
    columns = ("one process", "messages/s", "its CPU ms a message", "PostgreSQL's", "RabbitMQ's")
    return Outcome(
        [Table(f"{MESSAGES:,} messages through quorum queues", columns, rows, "messages/s")],
        [
            Goal("outbox relay, confirmed events/s", float(rows[0][1]), 7500),
            Goal("consumer, messages/s", float(rows[1][1]), 8000),
        ],
    )
