"""The whole way of a job: how many a second, what each process spends on them, and how long they wait at half load."""

import asyncio
import os
from dataclasses import dataclass

import accept
import asyncpg
import load
import stacks
from load import SECONDS, WALLETS
from machine import Meter
from reads import drained
from results import Goal, Outcome, Table

JOBS = int(os.environ.get("BENCH_JOBS", "1000"))
_CALLERS = 16
_OURS = stacks.SERVICES
_PACED_SECONDS = 3 * SECONDS

# A job is sent right after its claim is committed; the vendor's answer came when its webhook did.
_TIMES = """
    SELECT extract(epoch FROM sent.at - job.created_at)::float8 AS to_send,
           extract(epoch FROM job.completed_at - heard.at)::float8 AS to_final,
           extract(epoch FROM job.created_at)::float8 AS accepted_at,
           extract(epoch FROM sent.at)::float8 AS sent_at,
           extract(epoch FROM job.completed_at)::float8 AS final_at
      FROM video_jobs job
      JOIN job_events sent ON sent.job_id = job.id AND sent.event = 'claimed'
      LEFT JOIN (SELECT job_id, min(received_at) AS at FROM callbacks GROUP BY job_id) heard ON heard.job_id = job.id
     WHERE job.created_at >= $1 AND job.status = 'completed'
"""
# Bytes of write-ahead log, and transactions; those of idle looks too, which do not count for much among many jobs.
_WRITTEN = """
    SELECT (pg_current_wal_insert_lsn() - '0/0')::float8 AS bytes, xact_commit AS commits
      FROM pg_stat_database WHERE datname = current_database()
"""
_STATISTICS_SECONDS = 1.5  # servers tell their statistics once a second


@dataclass(frozen=True)
class Burst:
    """Jobs accepted as fast as that goes, and all that became of them."""

    times: list[asyncpg.Record]
    cpu: dict[str, float]  # seconds, by process
    wal_kb: float  # for one job
    commits: float

    @property
    def cpu_ms(self) -> float:
        """Of all processes and servers but the vendor's and the load generator's, for one job."""
        return 1000 * sum(self.cpu[name] for name in self.cpu if name not in {"simulator", "load"}) / len(self.times)

    def per_second(self, column: str) -> float:
        """Jobs that got so far, by the time from the first accepted to the last that did."""
        span = max(row[column] for row in self.times) - min(row["accepted_at"] for row in self.times)
        return len(self.times) / span


async def burst(name: str, env: dict[str, str], db: asyncpg.Connection, jobs: int) -> Burst:
    """Send so many jobs through an idle stack, until the last is over."""
    since = await db.fetchval("SELECT clock_timestamp()")
    before = await db.fetchrow(_WRITTEN)
    meter = Meter(stacks.processes(name, env) | {"load": [os.getpid()]})
    await load.send(env["API_URL"], env["API_KEY"], count=jobs, connections=_CALLERS, act=accept.accepting(WALLETS))
    await drained(db)
    cpu = meter.read()
    await asyncio.sleep(_STATISTICS_SECONDS)
    after = await db.fetchrow(_WRITTEN)
    times = await db.fetch(_TIMES, since)
    if len(times) != jobs:
        raise RuntimeError(f"{len(times)} of {jobs} jobs were completed")
    wal_kb = (after["bytes"] - before["bytes"]) / 1000 / jobs
    return Burst(times, cpu, wal_kb, (after["commits"] - before["commits"]) / jobs)


async def _waits(env: dict[str, str], db: asyncpg.Connection, *, per_second: float) -> dict[str, tuple[float, float]]:
    """The median and p99 of each wait, in ms, of jobs that come at fixed moments."""
    since = await db.fetchval("SELECT clock_timestamp()")
    act = accept.accepting(WALLETS)
    answers = await load.pace(env["API_URL"], env["API_KEY"], per_second=per_second, seconds=_PACED_SECONDS, act=act)
    await drained(db)
    times = await db.fetch(_TIMES, since)
    return {
        "POST to 202": load.quantiles_ms(answers),
        "accepted to sent": load.quantiles_ms([row["to_send"] for row in times]),
        "webhook to final": load.quantiles_ms([row["to_final"] for row in times if row["to_final"] is not None]),
    }


async def measure() -> Outcome:
    """The burst gives the rate; half of it, and a quarter, at fixed moments, the latencies."""
    name = "bench-pipeline"
    with stacks.stack(name, stacks.LIFTED) as env:
        async with stacks.database(env) as db:
            await accept.open_wallets(env)
            await drained(db)
            await stacks.analyzed(db)
            whole = await burst(name, env, db, JOBS)
            rate = whole.per_second("final_at") / 2
            half, quarter = [await _waits(env, db, per_second=each) for each in (rate, rate / 2)]
    to_send, to_final = half["accepted to sent"], half["webhook to final"]
    columns = {"accepted": "accepted_at", "sent": "sent_at", "settled": "final_at"}
    rates = [(stage, whole.per_second(column)) for stage, column in columns.items()]
    spent = [(part, 1000 * seconds / JOBS) for part, seconds in whole.cpu.items()]
    ours = sum(whole.cpu[part] for part in _OURS)
    spent += [("our four services", 1000 * ours / JOBS), ("services and servers", whole.cpu_ms)]
    waits = [(way, *half[way], *quarter[way]) for way in half]
    columns_of_waits = ("way", "p50 ms", "p99 ms", "p50 at a quarter", "p99 at a quarter")
    return Outcome(
        [
            Table(f"{JOBS} jobs at once, from the first accepted", ("stage", "jobs/s"), rates, "jobs/s"),
            Table("processor time", ("process", "CPU s per 1,000 jobs"), spent, "CPU s per 1,000 jobs"),
            Table(
                "PostgreSQL, for each job",
                ("figure", "value"),
                [("transactions", whole.commits), ("kB of write-ahead log", whole.wal_kb)],
            ),
            Table(f"at half load, {rate:.0f} jobs/s at fixed moments, and at a quarter", columns_of_waits, waits),
        ],
        [
            Goal("accepted to sent, p50 ms", to_send[0], at_most=15),
            Goal("accepted to sent, p99 ms", to_send[1], at_most=60),
            Goal("webhook to final, p50 ms", to_final[0], at_most=20),
        ],
    )
