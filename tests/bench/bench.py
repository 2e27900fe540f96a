"""Benchmarks of the main job on one machine: `make bench`.

A stack of its own with private servers and a simulator without delays is measured through its public
doors: the accept path over HTTP, the whole pipeline by what stands in the database afterwards. The load
generator runs on the same machine and takes its share of it. Results go to the terminal and, for
machines, to .local/bench.json.
"""

import asyncio
import contextlib
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
STACK = "bench"
SECONDS = float(os.environ.get("BENCH_SECONDS", "5"))  # per accept figure
JOBS = int(os.environ.get("BENCH_JOBS", "1000"))  # through the whole pipeline
WALLETS = 200

# The vendor's window lifted and a vendor without delays: what is left is ours.
ENVIRONMENT = {
    "STACK": STACK,
    "KIE_SENDS_PER_WINDOW": "100000",
    "KIE_QUERIES_PER_SECOND": "1000",  # each is a row that is looked through: far above the jobs, no more
    "SIM_VIDEO_SECONDS": "0.05",
    "SIGNUP_CREDITS": "1000000",
    "LOG_LEVEL": "WARNING",
}


@dataclass(frozen=True)
class Figure:
    """One measured line."""

    name: str
    per_second: float
    p50_ms: float
    p99_ms: float
    count: int


@contextlib.contextmanager
def stack(environment: dict[str, str]):
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


class Connection:
    """The least HTTP/1.1 client that can post: the generator shall cost less than what it measures."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str) -> None:
        """Take an open connection and the request's constant lines."""
        self._reader, self._writer, self._head = reader, writer, head

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str, key: str) -> AsyncIterator["Connection"]:
        """One kept-alive connection."""
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        head = (
            f"POST /api/video/generate HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        )
        try:
            yield cls(reader, writer, head)
        finally:
            writer.close()

    async def post(self, body: bytes) -> int:
        """Send one request and return its status."""
        self._writer.write(f"{self._head}{len(body)}\r\n\r\n".encode() + body)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await self._reader.readexactly(int(length.split(b":")[1]))
        return int(head.split(b" ", 2)[1])


def body(wallet: str) -> bytes:
    """A job like the guide's."""
    return json.dumps(
        {
            "wallet_address": wallet,
            "prompt": f"A character waving hello {uuid.uuid4()}",
            "image_urls": ["https://example.com/image.png"],
            "aspect_ratio": "landscape",
        }
    ).encode()


async def accept(env: dict[str, str], *, connections: int, wallets: int) -> Figure:
    """Durable 202s per second with this many callers, each waiting for its answer."""
    latencies: list[float] = []
    until = time.perf_counter() + SECONDS

    async def caller(number: int) -> None:
        async with Connection.open(env["API_URL"], env["API_KEY"]) as connection:
            for i in range(sys.maxsize):
                request = body(f"bench-{(number + i * connections) % wallets}")
                started = time.perf_counter()
                if started > until:
                    return
                status = await connection.post(request)
                latencies.append(time.perf_counter() - started)
                if status != 202:
                    raise RuntimeError(f"accept answered {status}")

    started = time.perf_counter()
    await asyncio.gather(*(caller(number) for number in range(connections)))
    elapsed = time.perf_counter() - started
    name = f"accept, {connections} connections, {'one wallet' if wallets == 1 else f'{wallets} wallets'}"
    return _figure(name, latencies, elapsed)


def _figure(name: str, latencies: list[float], elapsed: float) -> Figure:
    if len(latencies) < 2:
        raise RuntimeError(f"{name}: too few to measure")
    cuts = statistics.quantiles(latencies, n=100)
    return Figure(name, len(latencies) / elapsed, cuts[49] * 1000, cuts[98] * 1000, len(latencies))


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
            await connection.post(body(f"bench-{i % WALLETS}"))
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
        _figure("pipeline, accepted to claimed", [row["to_send"] for row in rows], span),
        _figure("pipeline, accepted to final", [row["to_end"] for row in rows], span),
    ]


@contextlib.contextmanager
def alone(env: dict[str, str]):
    """Hold every process but the api still, so that two cores measure the accept path and its relay."""
    others = [int(env[f"PID_{name}"]) for name in ("SUBMITTER", "CALLBACK", "RECONCILER", "SIMULATOR")]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)


async def measure(env: dict[str, str]) -> list[Figure]:
    """Every figure, one after the other: the pipeline first, on tables that are still small."""
    db = await asyncpg.connect(env["DATABASE_URL"])
    try:
        figures = await pipeline(env, db)
        with alone(env):
            for connections, wallets in ((1, WALLETS), (16, WALLETS), (64, WALLETS), (64, 1)):
                figures.append(await accept(env, connections=connections, wallets=wallets))
    finally:
        await db.close()
    return figures


def show(figures: list[Figure]) -> None:
    """A table for people and a file for machines."""
    table = Table("figure", "per second", "p50 ms", "p99 ms", "count", title="make bench")
    for figure in figures:
        table.add_row(
            figure.name, f"{figure.per_second:.0f}", f"{figure.p50_ms:.1f}", f"{figure.p99_ms:.1f}", str(figure.count)
        )
    Console().print(table)
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    file = ROOT / ".local" / "bench.json"
    file.write_text(json.dumps({"machine": machine, "figures": [asdict(figure) for figure in figures]}, indent=2))


def main() -> None:
    """Measure and show."""
    with stack(ENVIRONMENT) as env:
        show(asyncio.run(measure(env)))


if __name__ == "__main__":
    main()
