"""Other libraries on the work of our submitter, at equal durability: same servers, same vendor, same run.

Each takes a job's message, commits an attempt, makes the call, records the task and acks; peers/work.py says how, and
a file beside it how each library is set up. The jobs are queued first, then one worker process starts. Its start does
not count: the clock runs from a tenth of the jobs to the last of them, by rows in the database.
"""

import asyncio
import os
import statistics
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import accept
import asyncpg
import load
import stacks
from load import ROUNDS, WALLETS
from machine import Meter
from relay import rate
from results import ROOT, Goal, Outcome, Table, told

JOBS = int(os.environ.get("BENCH_PEER_JOBS", "2000"))
CONCURRENCY = 20
_HERE = Path(__file__).parent / "peers"
_VENV = ROOT / ".local" / "peers"
_OURS = "ours"
_GUIDE = "guide"
_PEERS = ("celery", "dramatiq", "faststream", "taskiq", "procrastinate", _GUIDE)
_GUIDE_PER_SECOND = 5 / 60  # by its own clock
_STOP_SECONDS = 10
_ROUND_SECONDS = 600

_TABLES = """
    CREATE TABLE peer_jobs (
        id uuid PRIMARY KEY, n bigint GENERATED ALWAYS AS IDENTITY, status text NOT NULL DEFAULT 'pending',
        prompt text NOT NULL, image_urls jsonb NOT NULL, task_id text, updated_at timestamptz NOT NULL DEFAULT now()
    ) WITH (fillfactor = 80);
    CREATE INDEX ON peer_jobs (n) WHERE status = 'pending';
    CREATE TABLE peer_attempts (
        id uuid PRIMARY KEY, job_id uuid NOT NULL REFERENCES peer_jobs, started_at timestamptz NOT NULL DEFAULT now(),
        outcome text, outcome_at timestamptz, task_id text UNIQUE
    );
"""
_EMPTY = "TRUNCATE peer_jobs, peer_attempts"
_FILL = """
    INSERT INTO peer_jobs (id, prompt, image_urls)
    SELECT gen_random_uuid(), 'A character waving hello, number ' || n, '"https://example.com/image.png"'
      FROM generate_series(1, $1) AS n
"""
_LEFT = "SELECT count(*) FROM peer_jobs WHERE status <> 'processing'"
_OURS_LEFT = "SELECT count(*) FROM video_jobs WHERE status IN ('pending', 'submitting')"


@dataclass(frozen=True)
class Pace:
    """How fast one worker was, and the CPU ms of it and of the servers for one job."""

    per_second: float
    worker_ms: float
    servers_ms: float

    @property
    def per_cpu_second(self) -> float:
        """Jobs for each second of all processors' time."""
        return 1000 / (self.worker_ms + self.servers_ms)


def _venv() -> Path:
    """The peers' own environment, made from their lock when that is newer."""
    ready, lock = _VENV / ".ready", _HERE / "requirements.lock"
    if not ready.exists() or ready.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run([ROOT / "deploy" / "local" / "make-venv.sh", _VENV], check=True)
        pip = [_VENV / "bin" / "python", "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps"]
        subprocess.run([*pip, "-r", lock], check=True)
        ready.touch()
    return _VENV / "bin" / "python"


@asynccontextmanager
async def _worker(command: list[str], env: dict[str, str]) -> AsyncIterator[int]:
    process = await asyncio.create_subprocess_exec(*command, env=env, cwd=_HERE)
    try:
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _pace(servers: stacks.Servers, db: asyncpg.Connection, left: str, pid: int) -> Pace:
    groups = {"worker": [pid], "servers": [*servers.postgres, *servers.rabbit]}
    async with asyncio.timeout(_ROUND_SECONDS):
        per_second, spent = await rate(lambda: db.fetchval(left), lambda: Meter(groups))
    return Pace(per_second, spent["worker"], spent["servers"])


async def _ours(servers: stacks.Servers, db: asyncpg.Connection) -> Pace:
    """Jobs come in by our own door; then only the submitter is there."""
    async with stacks.serving(stacks.service("api"), servers.env) as api:
        await load.send(api.url, "", count=JOBS, connections=16, act=accept.accepting(WALLETS))
        while await db.fetchval("SELECT count(*) FROM outbox"):  # noqa: ASYNC110 -- the event is in another process
            await asyncio.sleep(0.05)
    await stacks.analyzed(db)
    async with _worker(stacks.service("submitter"), servers.env | {"HTTP_PORT": "0"}) as pid:
        return await _pace(servers, db, _OURS_LEFT, pid)


async def _peer(name: str, python: Path, servers: stacks.Servers, db: asyncpg.Connection) -> Pace:
    await db.execute(_EMPTY)
    await db.execute(_FILL, JOBS)
    command = [str(python), f"{name}_worker.py"]
    filling = await asyncio.create_subprocess_exec(*command, "fill", env=servers.env, cwd=_HERE)
    if await filling.wait():
        raise RuntimeError(f"{name} did not fill its queue")
    await stacks.analyzed(db)
    async with _worker([*command, "work"], servers.env) as pid:
        return await _pace(servers, db, _LEFT, pid)


async def measure() -> Outcome:
    """Ours and the peers take turns; the median of each figure counts."""
    python = await asyncio.to_thread(_venv)
    paces: dict[str, list[Pace]] = {name: [] for name in (_OURS, *_PEERS)}
    async with stacks.vendor() as vendor, stacks.private_servers("bench-peers", vendor=vendor.url) as servers:
        # As many at once for all.
        servers.env.update(KIE_CALLS_IN_FLIGHT=str(CONCURRENCY), CONCURRENCY=str(CONCURRENCY), VENDOR_URL=vendor.url)
        async with stacks.database(servers.env) as db:
            await db.execute(_TABLES)
            for _ in range(ROUNDS):
                paces[_OURS].append(await _ours(servers, db))
                for name in _PEERS:
                    paces[name].append(await _peer(name, python, servers, db))
    return _outcome(paces)


def _outcome(paces: dict[str, list[Pace]]) -> Outcome:
    per_cpu = {name: statistics.median(pace.per_cpu_second for pace in rounds) for name, rounds in paces.items()}
    rows = []
    for name, rounds in paces.items():
        shares = [pace.per_cpu_second for pace in rounds]
        rows.append(
            (
                "the guide's passes, back to back" if name == _GUIDE else name,
                statistics.median(pace.per_second for pace in rounds),
                statistics.median(pace.worker_ms for pace in rounds),
                statistics.median(pace.servers_ms for pace in rounds),
                per_cpu[name],
                f"{told(min(shares))} to {told(max(shares))}",
                per_cpu[_OURS] / per_cpu[name],
            )
        )
    rows.append(("the guide's passes, one a minute", _GUIDE_PER_SECOND, *[None] * 5))
    columns = ("worker", "jobs/s", "its CPU ms a job", "servers' CPU ms a job", "jobs per CPU s", "of all rounds")
    table = Table(f"{JOBS:,} queued jobs, {CONCURRENCY} at once", (*columns, "ours to it"), rows, "jobs per CPU s")
    goals = [
        Goal(f"jobs per CPU s: ours to {name}", per_cpu[_OURS] / per_cpu[name], 1.5)
        for name in _PEERS
        if name != _GUIDE
    ]
    return Outcome([table], goals)
