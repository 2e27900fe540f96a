"""How every process is run: settings, logs, schema check, HTTP server, background tasks, clean stop."""

import asyncio
import ctypes
import gc
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import asyncpg
import structlog
import uvicorn

from reelgate_common import logs, metrics, migrations, tracing
from reelgate_common.bus import Bus
from reelgate_common.db import Database
from reelgate_common.kie.client import KieClient
from reelgate_common.outbox import Relay
from reelgate_common.settings import (
    HttpSettings,
    JobSettings,
    KieSettings,
    LogSettings,
    PostgresSettings,
    RabbitSettings,
    TraceSettings,
)

log = structlog.get_logger(__name__)

_STOP_SECONDS = 20  # for requests in hand at shutdown
_PR_SET_PDEATHSIG = 1  # prctl(2)
_KEEP_ALIVE_SECONDS = 75  # longer than a proxy in front keeps its connections


class ServiceSettings(
    LogSettings, TraceSettings, HttpSettings, PostgresSettings, RabbitSettings, KieSettings, JobSettings
):
    """What every service needs."""


@dataclass(frozen=True)
class Core:
    """What every service opens."""

    db: Database
    kie: KieClient
    bus: Bus
    relay: Relay


@asynccontextmanager
async def open_core(name: str, settings: ServiceSettings, *, fixed_plans: bool = False) -> AsyncIterator[Core]:
    """Open in this order, close in reverse: the relay stops before the broker, then the pool; the last spans go."""
    async with (
        tracing.recording(name, settings),
        Database.open(settings, fixed_plans=fixed_plans) as db,
        KieClient.open(settings) as kie,
        Bus.open(settings, name) as bus,
    ):
        relay = Relay(db, bus.publisher)
        async with background(relay.run(), db.watch()):
            yield Core(db, kie, bus, relay)


def run(name: str, app: Any, settings: ServiceSettings, *, workers: int = 1) -> None:
    """Serve an ASGI app until SIGTERM or SIGINT; its lifespan opens and closes everything else.

    With several workers, `app` is the import string of a factory.
    """
    logs.configure(name, level=settings.log_level, form=settings.log_format)
    stop_on_sigterm()
    try:
        asyncio.run(_check_schema(settings))
    except (migrations.SchemaMismatch, asyncpg.PostgresError) as error:  # such as a wrong password
        sys.exit(f"reelgate-{name}: {error}")
    except KeyboardInterrupt:
        return
    # uvicorn raises the signal it stopped for once more at the end; a clean stop shall exit with 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    keep_out_of_collections()
    with _shared_metrics() if workers > 1 else nullcontext():
        _serve(app, settings, workers)


def stop_on_sigterm() -> None:
    """Until a server handles signals, take SIGTERM for SIGINT: the kernel keeps it from a PID 1 without a handler."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has what it starts in the background ignore it
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


@contextmanager
def _shared_metrics() -> Iterator[None]:
    """Whichever worker is asked tells the numbers of all."""
    with tempfile.TemporaryDirectory(prefix="reelgate-metrics-") as directory:
        metrics.keep_together(Path(directory))
        yield


def _serve(app: Any, settings: HttpSettings, workers: int) -> None:
    uvicorn.run(
        app,
        factory=isinstance(app, str),
        host=settings.http_host,
        port=settings.http_port,
        workers=workers,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # nothing here asks where a request came from, so nothing a request claims is believed
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )


@contextmanager
def on_stop(tell: Callable[[], None]) -> Iterator[None]:
    """Tell as soon as the process is told to stop. The server ends the lifespan only after the last response."""
    loop = asyncio.get_running_loop()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    servers = {int(number): handler for number, handler in handlers.items() if callable(handler)}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(tell)
        servers[number](number, frame)

    for number in servers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, server in servers.items():
            signal.signal(number, server)


def keep_out_of_collections() -> None:
    """Have the garbage collector pass over all that was made until now, once per process.

    Modules and routes live as long as the process. Going through them again and again held every request up for 70 ms.
    """
    gc.collect()
    gc.freeze()


def end_with_parent() -> None:
    """Have the kernel end this process when its parent dies, even by SIGKILL. Only Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def _check_schema(settings: PostgresSettings) -> None:
    async with Database.open(settings) as db:
        await migrations.check(db)


@asynccontextmanager
async def background(*tasks: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run endless tasks inside the block. One that ends is a bug: the process stops, to be restarted whole."""
    running = [asyncio.create_task(task) for task in tasks]
    for task in running:
        task.add_done_callback(_stop_on_crash)
    try:
        yield
    finally:
        while waiting := [task for task in running if not task.done()]:
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting, timeout=1)  # again: connecting to a broker can swallow a cancellation


def _stop_on_crash(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        log.critical("background_task_ended", task=task.get_name(), exc_info=task.exception())
        os.kill(os.getpid(), signal.SIGTERM)
