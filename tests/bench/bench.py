"""Benchmarks of the main job on one machine: `make bench`.

A stack of its own with private servers and a simulator without delays is measured through its public doors, beside
the least that does the same: a bare handler (bare.py) and pgbench, on the same database in the same run. The load
generator runs on the same machine and takes its share of it. Results go to the terminal and, for machines, to
.local/bench.json.
"""

import asyncio
import contextlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import asyncpg
import bare
import httpx
import load
from load import SECONDS, Connection, Figure, drive
from rich.console import Console
from rich.table import Table

from reelgate_local import ports, programs

ROOT = Path(__file__).parents[2]
STACK = "bench"
JOBS = int(os.environ.get("BENCH_JOBS", "1000"))  # through the whole pipeline
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))  # ours and the bare handler take turns; the median counts
WALLETS = 200
CREDITS = 1_000_000_000

# The vendor's window lifted and a vendor without delays: what is left is ours.
ENVIRONMENT = {
    "STACK": STACK,
    "KIE_SENDS_PER_WINDOW": "100000",
    "KIE_QUERIES_PER_SECOND": "1000",  # each is a row that is looked through: far above the jobs, no more
    "SIM_VIDEO_SECONDS": "0.05",
    "SIGNUP_CREDITS": str(CREDITS),
    "LOG_LEVEL": "WARNING",
}


@dataclass(frozen=True)
class Ratio:
    """What the issue is about: ours against something else, in the same run."""

    name: str
    value: float


@contextlib.contextmanager
def stack(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """A local stack for the length of the block; yields what its stack.env says."""
    env = os.environ | environment
    command = [sys.executable, "-m", "reelgate_local"]
    subprocess.run([*command, "up"], env=env, cwd=ROOT, check=True)
    try:
        lines = (ROOT / ".local" / environment["STACK"] / "stack.env").read_text().splitlines()
        yield dict(line.split("=", 1) for line in lines if "=" in line)
    finally:
        subprocess.run([*command, "down"], env=env, cwd=ROOT, check=True)


_OPEN_JOBS = "SELECT count(*) FROM video_jobs WHERE completed_at IS NULL"


async def drained(db: asyncpg.Connection) -> None:
    """Return when every job is over; what is in hand comes from the database, not from a guess."""
    async with asyncio.timeout(600):
        while await db.fetchval(_OPEN_JOBS):  # noqa: ASYNC110 -- the event is in another process
            await asyncio.sleep(0.1)


async def pipeline(env: dict[str, str], db: asyncpg.Connection) -> list[Figure]:
    """Jobs per second from accepted to final, and where their time went, by the jobs' own timelines."""
    since = await db.fetchval("SELECT now()")
    async with Connection.open(env["API_URL"], env["API_KEY"]) as connection:
        for i in range(JOBS):
            await connection.accept(f"bench-{i % WALLETS}")
    await drained(db)
    rows = await db.fetch(
        """
        SELECT extract(epoch FROM sent.at - job.created_at)::float8 AS to_send,
               extract(epoch FROM job.completed_at - job.created_at)::float8 AS to_end,
               extract(epoch FROM max(job.completed_at) OVER () - min(job.created_at) OVER ())::float8 AS span
          FROM video_jobs job JOIN job_events sent ON sent.job_id = job.id AND sent.event = 'claimed'
         WHERE job.created_at >= $1
        """,
        since,
    )
    span = rows[0]["span"]
    return [
        load.figure("pipeline, accepted to claimed", [row["to_send"] for row in rows], span),
        load.figure("pipeline, accepted to final", [row["to_end"] for row in rows], span),
    ]


@contextlib.contextmanager
def alone(env: dict[str, str]) -> Iterator[None]:
    """Hold every process but the api still, so that two cores measure the accept path and its relay."""
    others = [int(env[f"PID_{name}"]) for name in ("SUBMITTER", "CALLBACK", "RECONCILER", "SIMULATOR")]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)


@contextlib.asynccontextmanager
async def bare_handler(env: dict[str, str]) -> AsyncIterator[str]:
    """Serve bare.py as we serve ours; yields its URL."""
    port = ports.choose()
    command = [sys.executable, "-m", "uvicorn", "bare:app", "--app-dir", str(Path(__file__).parent)]
    options = ["--port", str(port), "--loop", "uvloop", "--http", "httptools", "--no-access-log"]
    process = await asyncio.create_subprocess_exec(*command, *options, "--log-level", "warning", env=os.environ | env)
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(30), httpx.AsyncClient() as client:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    await client.get(url)
                    break
                await asyncio.sleep(0.05)
        yield url
    finally:
        process.terminate()
        await process.wait()


def _median(figures: list[Figure]) -> Figure:
    return sorted(figures, key=lambda one: one.per_second)[len(figures) // 2]


async def accepts(env: dict[str, str], url: str, name: str) -> list[Figure]:
    """Durable 202s per second with so many callers, each waiting for its answer."""
    figures = []
    for connections, wallets in ((1, WALLETS), (16, WALLETS), (64, WALLETS), (64, 1)):
        act = _acceptance(wallets)
        what = f"{name} accept, {connections} connections, {'one wallet' if wallets == 1 else f'{wallets} wallets'}"
        figures.append(await drive(what, url, env["API_KEY"], connections=connections, act=act))
    return figures


def _acceptance(wallets: int) -> Callable[[Connection, int], Awaitable[object]]:
    return lambda connection, n: connection.accept(f"bench-{n % wallets}")


async def reads(env: dict[str, str], url: str, name: str, job_id: str, etag: str | None = None) -> Figure:
    """One job asked for again and again by 32 callers, perhaps with what they know of it."""

    async def read(connection: Connection, _: int) -> None:
        headers = {"If_None_Match": etag} if etag else {}
        status, _body = await connection.ask(f"GET /api/video/jobs/{job_id}", **headers)
        if status != (304 if etag else 200):
            raise RuntimeError(f"{name} answered {status}")

    return await drive(name, url, env["API_KEY"], connections=32, act=read)


def _floor(env: dict[str, str]) -> list[Figure]:
    """What the server does by itself, one statement a transaction, told by pgbench."""
    folder = programs.find_postgres()
    if folder is None or not (folder / "pgbench").exists():
        return []
    figures = []
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(bare.floor_script(WALLETS))
        script.flush()
        for clients in (1, 8, 32):
            options = ["--no-vacuum", "--client", str(clients), "--jobs", "2", "--time", str(max(1, round(SECONDS)))]
            command = [folder / "pgbench", *options, "--protocol", "prepared", "--file", script.name]
            done = subprocess.run([*command, env["DATABASE_URL"]], capture_output=True, text=True, check=True)
            per_second, mean, count = (
                float(re.findall(pattern, done.stdout)[0])
                for pattern in (r"tps = ([\d.]+)", r"latency average = ([\d.]+)", r"actually processed: (\d+)")
            )
            figures.append(Figure(f"floor accept, pgbench, {clients} clients", per_second, mean, None, int(count)))
    return figures


async def measure(env: dict[str, str]) -> list[Figure]:
    """Every figure, one after the other: the pipeline first, on tables that are still small."""
    db = await asyncpg.connect(env["DATABASE_URL"])
    try:
        figures = await pipeline(env, db)
        async with Connection.open(env["API_URL"], env["API_KEY"]) as connection:
            for n in range(WALLETS):
                await connection.accept(f"bench-{n}")
            job_id = await connection.accept("bench-0")
            await drained(db)
        etag = f'"{await db.fetchval("SELECT version FROM video_jobs WHERE id = $1", job_id)}"'
        with alone(env):
            async with bare_handler(env) as url:
                rounds = [
                    [*await accepts(env, where, name), await reads(env, where, f"{name} reads", job_id)]
                    for _ in range(ROUNDS)
                    for where, name in ((env["API_URL"], "ours"), (url, "bare"))
                ]
            for which in (rounds[::2], rounds[1::2]):
                figures += [_median(list(same)) for same in zip(*which, strict=True)]
            figures.append(await reads(env, env["API_URL"], "ours reads, all 304", job_id, etag))
            figures += await asyncio.to_thread(_floor, env)
    finally:
        await db.close()
    return figures


def ratios(figures: list[Figure]) -> list[Ratio]:
    """What the figures are to each other."""
    rate = {one.name: one.per_second for one in figures}
    slowest = {one.name: one.p99_ms for one in figures if one.p99_ms}
    many, hot = f"accept, 64 connections, {WALLETS} wallets", "accept, 64 connections, one wallet"
    one = f"accept, 1 connections, {WALLETS} wallets"
    found = [
        Ratio(
            "accept, 64 connections: ours to the bare handler, requests/s", rate[f"ours {many}"] / rate[f"bare {many}"]
        ),
        Ratio("the same, p99 (less is better)", slowest[f"ours {many}"] / slowest[f"bare {many}"]),
        Ratio("accept, 1 connection: ours to the bare handler", rate[f"ours {one}"] / rate[f"bare {one}"]),
        Ratio("accept: one hot wallet to many", rate[f"ours {hot}"] / rate[f"ours {many}"]),
        Ratio("reads: ours to the bare handler", rate["ours reads"] / rate["bare reads"]),
        Ratio("reads: 304 to the bare handler's 200", rate["ours reads, all 304"] / rate["bare reads"]),
    ]
    if best := max((found for name, found in rate.items() if name.startswith("floor")), default=None):
        found.append(Ratio("accept, 64 connections: ours to the best floor", rate[f"ours {many}"] / best))
    return found


def show(figures: list[Figure]) -> None:
    """Tables for people and a file for machines."""
    table = Table("figure", "per second", "p50 ms", "p99 ms", "count", title="make bench")
    for one in figures:
        slowest = f"{one.p99_ms:.1f}" if one.p99_ms else "-"
        table.add_row(one.name, f"{one.per_second:.0f}", f"{one.p50_ms:.1f}", slowest, str(one.count))
    compared = Table("ratio", "value")
    for ratio in ratios(figures):
        compared.add_row(ratio.name, f"{ratio.value:.2f}")
    Console().print(table, compared)
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    told = {
        "machine": machine,
        "figures": [asdict(one) for one in figures],
        "ratios": [asdict(one) for one in ratios(figures)],
    }
    (ROOT / ".local" / "bench.json").write_text(json.dumps(told, indent=2))


def main() -> None:
    """Measure and show."""
    with stack(ENVIRONMENT) as env:
        show(asyncio.run(measure(env)))


if __name__ == "__main__":
    main()
