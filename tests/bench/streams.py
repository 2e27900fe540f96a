"""Live streams: how many one api process holds, what memory they take, and how soon each watcher hears of its job."""

import asyncio
import contextlib
import json
import os
import resource
import time
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

import load
import stacks
from load import Connection
from machine import Meter, resident_mb
from results import Goal, Outcome, Table

_IS_FULL = bool(os.environ.get("BENCH_FULL"))
STREAMS = 5000 if _IS_FULL else 500
WATCHERS = 50  # of each job
# One job begins after the other: a burst of them would tell what a queue takes, not what an event does.
_SENDS = {"KIE_SENDS_PER_WINDOW": "1", "KIE_SEND_WINDOW_SECONDS": "0.1", "KIE_SEND_MARGIN_SECONDS": "0.02"}
_OPEN_AT_ONCE = 50
_TOLD = {"submitted", "completed"}  # what the broker wakes streams for; the rest waits for a sweep


@dataclass
class _Heard:
    """Delays in seconds: of each watcher, and of the last watcher for each event."""

    each: list[float] = field(default_factory=list)
    last: dict[tuple[str, str], float] = field(default_factory=dict)

    def note(self, job: str, event: str, delay: float) -> None:
        self.each.append(delay)
        self.last[job, event] = max(delay, self.last.get((job, event), 0))


async def _watch(env: dict[str, str], job: str, heard: _Heard, opened: asyncio.Event, gate: asyncio.Semaphore) -> None:
    """Follow a job until the stream ends."""
    address = urlsplit(env["API_URL"])
    async with gate:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        head = f"Host: {address.netloc}\r\nAuthorization: Bearer {env['API_KEY']}\r\n\r\n"
        writer.write(f"GET /api/video/jobs/{job}/events HTTP/1.1\r\n{head}".encode())
        while not (await reader.readline()).startswith(b"event: job"):
            if reader.at_eof():
                raise RuntimeError("a stream was refused")
    opened.set()
    while line := await reader.readline():
        if line.startswith(b"data: {}"):
            break
        if line.startswith(b"data: "):
            now, told = time.time(), json.loads(line[6:])
            if told["event"] in _TOLD:
                heard.note(job, told["event"], now - datetime.fromisoformat(told["at"]).timestamp())
    writer.close()


async def measure() -> Outcome:
    """Open every stream while nothing is sent, then let the jobs go, a few a second."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    heard = _Heard()
    with stacks.stack("bench-streams", stacks.LIFTED | _SENDS) as env:
        api, submitter = [int(env["PID_API"])], [int(env["PID_SUBMITTER"])]
        before = resident_mb(api)
        with stacks.held(submitter):
            async with Connection.open(env["API_URL"], env["API_KEY"]) as connection:
                jobs = [await connection.accept("bench") for _ in range(STREAMS // WATCHERS)]
            gate = asyncio.Semaphore(_OPEN_AT_ONCE)
            opened = [asyncio.Event() for _ in range(STREAMS)]
            watching = [
                asyncio.create_task(_watch(env, jobs[n // WATCHERS], heard, ready, gate))
                for n, ready in enumerate(opened)
            ]
            ending = asyncio.gather(*watching)
            await _all_open(opened, ending)
            await asyncio.sleep(2)  # nothing happens: what the process takes then is what streams take
            memory = resident_mb(api)
        meter = Meter({"api": api})
        await ending
        cpu = meter.read()["api"]
    each, last = load.quantiles_ms(heard.each), load.quantiles_ms(list(heard.last.values()))
    rows = [("an event to a watcher", *each), (f"an event to the last of its {WATCHERS} watchers", *last)]
    held = [
        ("streams held", STREAMS),
        ("resident MB before", before),
        ("resident MB with them", memory),
        ("KB a stream", 1000 * (memory - before) / STREAMS),
        ("CPU ms of the api for 1,000 events told", 1e6 * cpu / len(heard.each)),
    ]
    return Outcome(
        [
            Table("one api process", ("figure", "value"), held),
            Table("eight jobs a second", ("delay of", "p50 ms", "p99 ms"), rows, "p99 ms"),
        ],
        [
            Goal(f"resident MB with {STREAMS} streams", memory, at_most=300),
            Goal("an event to all watchers of its job, p99 ms", last[1], at_most=100),
        ],
    )


async def _all_open(opened: list[asyncio.Event], ending: "asyncio.Future[list[None]]") -> None:
    waiting = asyncio.gather(*(ready.wait() for ready in opened))
    await asyncio.wait({waiting, ending}, return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():  # a stream that was refused ended it all
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        await ending
