"""A load generator that costs little: callers on kept-alive connections, each waiting for its answer."""

import asyncio
import contextlib
import itertools
import json
import os
import statistics
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from machine import Meter

SECONDS = float(os.environ.get("BENCH_SECONDS", "5"))  # per figure
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))  # how often ours and what it is measured against take turns
WALLETS = 200
_PACED_CONNECTIONS = 32
COLUMNS = ("figure", "per second", "p50 ms", "p99 ms", "its CPU ms each", "servers' CPU ms each", "count")


@dataclass(frozen=True)
class Figure:
    """One measured line."""

    name: str
    per_second: float
    p50_ms: float
    p99_ms: float | None  # None where only the mean is known, which then stands for p50
    cpu_ms: float | None  # for one of them, of the process that answers
    servers_ms: float | None  # the same of database and broker
    count: int

    @property
    def row(self) -> tuple[str, float, float, float | None, float | None, float | None, float]:
        """In the order of COLUMNS."""
        return (self.name, self.per_second, self.p50_ms, self.p99_ms, self.cpu_ms, self.servers_ms, self.count)


def median(figures: Sequence[Figure]) -> Figure:
    """The middle one of the same figure's rounds."""
    return sorted(figures, key=lambda one: one.per_second)[len(figures) // 2]


def quantiles_ms(seconds: Sequence[float]) -> tuple[float, float]:
    """The median, and what one in a hundred exceeds."""
    cuts = statistics.quantiles(seconds, n=100)
    return cuts[49] * 1000, cuts[98] * 1000


@dataclass(frozen=True)
class Target:
    """A process that answers, and how to ask it."""

    url: str
    key: str
    pid: int
    servers: list[int]  # the processes of database and broker


class Connection:
    """The least HTTP/1.1 client there is."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str) -> None:
        """Take an open connection and the lines that every request has."""
        self._reader, self._writer, self._head = reader, writer, head

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str, key: str) -> AsyncIterator["Connection"]:
        """One kept-alive connection."""
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            yield cls(reader, writer, f"Host: {address.netloc}\r\nAuthorization: Bearer {key}\r\n")
        finally:
            writer.close()

    async def ask(self, line: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """Send one request, such as `POST /path`, and return status and body of its answer."""
        given = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        if body:
            given += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self._writer.write(f"{line} HTTP/1.1\r\n{self._head}{given}\r\n".encode() + body)
        head = await self._reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        if status == 304:
            return status, b""
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return status, await self._reader.readexactly(int(length.split(b":")[1]))

    async def accept(self, wallet: str) -> str:
        """Ask for a job like the guide's, under a key of its own; its id."""
        body = json.dumps(
            {
                "wallet_address": wallet,
                "prompt": f"A character waving hello {uuid.uuid4()}",
                "image_urls": ["https://example.com/image.png"],
                "aspect_ratio": "landscape",
            }
        ).encode()
        status, answer = await self.ask("POST /api/video/generate", body, Idempotency_Key=uuid.uuid4().hex)
        if status != 202:
            raise RuntimeError(f"accept answered {status}")
        job_id: str = json.loads(answer)["job_id"]
        return job_id


async def drive(
    name: str, at: Target, *, connections: int, act: Callable[[Connection, int], Awaitable[object]]
) -> Figure:
    """Have callers act one time after the other, `await act(connection, n)` with n from 0, for a while."""
    latencies: list[float] = []
    numbers = itertools.count()
    meter = Meter({"answering": [at.pid], "servers": at.servers})
    started = time.perf_counter()
    until = started + SECONDS

    async def caller() -> None:
        async with Connection.open(at.url, at.key) as connection:
            while (begun := time.perf_counter()) < until:
                await act(connection, next(numbers))
                latencies.append(time.perf_counter() - begun)

    await asyncio.gather(*(caller() for _ in range(connections)))
    elapsed, cpu = time.perf_counter() - started, meter.read()
    if len(latencies) < 2:
        raise RuntimeError(f"{name}: too few to measure")
    count = len(latencies)
    spent = (1000 * cpu[part] / count for part in ("answering", "servers"))
    return Figure(name, count / elapsed, *quantiles_ms(latencies), *spent, count)


async def send(
    url: str, key: str, *, count: int, connections: int, act: Callable[[Connection, int], Awaitable[object]]
) -> None:
    """Have callers act so many times in all, as fast as they are answered."""
    numbers = iter(range(count))

    async def caller() -> None:
        async with Connection.open(url, key) as connection:
            for n in numbers:
                await act(connection, n)

    await asyncio.gather(*(caller() for _ in range(connections)))


async def pace(
    url: str, key: str, *, per_second: float, seconds: float, act: Callable[[Connection, int], Awaitable[object]]
) -> list[float]:
    """Act at fixed moments, whether or not earlier answers are there; the latencies, each from its own moment.

    Callers that wait for an answer before they go on would hide every delay but the first.
    """
    latencies: list[float] = []
    numbers = iter(range(round(per_second * seconds)))
    started = time.perf_counter()

    async def caller() -> None:
        async with Connection.open(url, key) as connection:
            for n in numbers:
                due = started + n / per_second
                await asyncio.sleep(max(0, due - time.perf_counter()))
                await act(connection, n)
                latencies.append(time.perf_counter() - due)

    await asyncio.gather(*(caller() for _ in range(_PACED_CONNECTIONS)))
    return latencies
