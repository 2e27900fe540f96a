"""Where in which trace this code runs, and what it tells of itself there.

A trace begins with an HTTP request and goes on with everything that happens to the job it made: the job's row and
the messages carry its W3C `traceparent`. That is kept whether or not anybody records it, so that logs always have
a `trace_id`; only where spans are exported, `otel` is imported, and OpenTelemetry with it.
"""

import asyncio
import random
import re
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Literal, Protocol

from reelgate_common.settings import TraceSettings

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Value = str | int | float | bool

_SANE = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_STOP_SECONDS = 3.0  # for what was not exported yet; a collector that is away costs spans, not time

_here: ContextVar[str | None] = ContextVar("traceparent", default=None)


class Span:
    """What happens inside a block. This one is recorded by nobody."""

    traceparent: str | None = None

    def set(self, attributes: Mapping[str, Value | None]) -> None:
        """Say more of it; None is left out."""

    def rename(self, name: str) -> None:
        """Give it the name that is known only now."""

    def fail(self, reason: str) -> None:
        """Mark it as failed."""

    def end(self) -> None:
        """Close it."""


class Recorder(Protocol):
    """Makes spans that are recorded."""

    def start(self, name: str, kind: Kind, *, parent: str | None, link: str | None) -> Span:
        """A span below `parent`, or the first of a trace."""
        ...

    def stop(self) -> None:
        """Export what is left."""
        ...


class _Recording:
    by: Recorder | None = None


_NOBODYS = Span()


@asynccontextmanager
async def recording(service: str, settings: TraceSettings) -> AsyncIterator[None]:
    """Export spans inside the block, if there is somewhere to send them."""
    if settings.otel_exporter_otlp_endpoint is None:
        yield
        return
    from reelgate_common import otel  # noqa: PLC0415 -- 9 MB and 0.5 s that nobody pays who does not trace

    recorder = otel.open_recorder(service, settings)
    _Recording.by = recorder
    try:
        yield
    finally:
        _Recording.by = None
        # A thread that no exit waits for: the exporter may be in the middle of a call that hangs.
        last = threading.Thread(target=recorder.stop, daemon=True)
        last.start()
        await asyncio.to_thread(last.join, _STOP_SECONDS)


def current() -> str | None:
    """The W3C traceparent of where we are; None outside of every trace."""
    return _here.get()


def sane(traceparent: object) -> str | None:
    """What came from elsewhere, if it is a traceparent."""
    return traceparent if isinstance(traceparent, str) and _SANE.fullmatch(traceparent) else None


def within(trace: str | None, place: str | None) -> str | None:
    """A place, if it lies in this trace; else the trace's own beginning."""
    return trace if trace and not (place and place[3:35] == trace[3:35]) else place


def ids() -> dict[str, str]:
    """For a log line: where we are."""
    here = _here.get()
    return {"trace_id": here[3:35], "span_id": here[36:52]} if here else {}


@contextmanager
def continuing(traceparent: object) -> Iterator[None]:
    """Be where a message says that it comes from."""
    token = _here.set(sane(traceparent))
    try:
        yield
    finally:
        _here.reset(token)


@contextmanager
def request(name: str, *, caller: str | None, join: bool) -> Iterator[Span]:
    """Begin a trace, or go on with the caller's.

    What ends in an exception leaves its place behind: whoever logs the exception then says which trace it was.
    """
    parent = caller if join else None
    if _Recording.by:
        span = _Recording.by.start(name, "server", parent=parent, link=None if join else caller)
    else:
        span = _NOBODYS
    token = _here.set(span.traceparent or parent or _new_trace())
    yield from _inside(span)
    _here.reset(token)


@contextmanager
def span(
    name: str, kind: Kind = "internal", *, of: str | None = None, attributes: Mapping[str, Value | None] | None = None
) -> Iterator[Span]:
    """Tell of a block in the trace we are in, or in that `of` a job.

    Below the current span if it belongs to the job's trace; else below the job's first span, linked with the current
    one: a permit, a request to cancel and a pass over many jobs are no part of the trace of the job they come to.
    Outside of every trace there is nothing to tell.
    """
    here, link = _here.get(), None
    if of and (here is None or here[3:35] != of[3:35]):
        here, link = of, here
    if here is None:
        yield _NOBODYS
        return
    told = _Recording.by.start(name, kind, parent=here, link=link) if _Recording.by else _NOBODYS
    if attributes:
        told.set(attributes)
    token = _here.set(told.traceparent or here)
    try:
        yield from _inside(told)
    finally:
        _here.reset(token)


def _inside(span: Span) -> Iterator[Span]:
    try:
        yield span
    except BaseException as error:
        span.fail(type(error).__name__)
        raise
    finally:
        span.end()


def _new_trace() -> str:
    return f"00-{random.getrandbits(128) or 1:032x}-{random.getrandbits(64) or 1:016x}-00"
