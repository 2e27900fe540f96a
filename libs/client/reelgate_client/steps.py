"""How work is written once for both clients.

A flow is a generator. It yields steps, and is given what each step came to; an httpx.TransportError is thrown into it.
A client does the steps, with async or without, and knows nothing else.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

import httpx

from reelgate_client.models import Progress
from reelgate_client.settings import Settings

T = TypeVar("T")
Listener: TypeAlias = Callable[[Progress], object]

_CONNECT_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request. The same object is sent again when it is repeated, Idempotency-Key and all."""

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Mapping[str, Any] | None = None
    file: bytes | None = None
    patience: float = 30.0  # seconds without a byte, after which the answer counts as lost

    def options(self, settings: Settings, *, seconds: float) -> dict[str, Any]:
        """What httpx builds it from."""
        return {
            "method": self.method,
            "url": settings.base_url + self.path,
            "params": self.params,
            "headers": {**settings.headers, **self.headers},
            "json": self.json,
            "files": None if self.file is None else {"file": ("image", self.file)},
            "timeout": httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS)),
        }


@dataclass(frozen=True)
class Send:
    """Send a request and read its answer: comes to an httpx.Response."""

    request: Request
    seconds: float  # without a byte


@dataclass(frozen=True)
class Open:
    """Send a request; comes to a Stream. One is open at a time: it closes the one before."""

    request: Request
    seconds: float  # without a byte


@dataclass(frozen=True)
class Stream:
    """An answer whose body is still to come, unless it is an error, whose body is there."""

    response: httpx.Response
    chunks: Any  # an iterator of bytes, of the kind that the client can read


@dataclass(frozen=True)
class Read:
    """Comes to the next bytes of a stream, or None at its end."""

    stream: Stream


@dataclass(frozen=True)
class Pause:
    """Wait."""

    seconds: float


@dataclass(frozen=True)
class Tell:
    """Call the listener; an async client awaits what it returns, if that can be awaited."""

    listener: Listener
    progress: Progress


Step: TypeAlias = Send | Open | Read | Pause | Tell
Flow: TypeAlias = Generator[Step, Any, T]


class Course(Generic[T]):
    """A flow under way: the step to be done next, and in the end what it came to."""

    result: T

    def __init__(self, flow: Flow[T]) -> None:
        self._flow = flow
        self.step: Step | None = None
        self._go(lambda: next(flow))

    def went(self, outcome: object) -> None:
        """The step came to this."""
        self._go(lambda: self._flow.send(outcome))

    def broke(self, error: httpx.TransportError) -> None:
        """The line broke during the step; a listener's lines are its own affair."""
        if isinstance(self.step, Tell):
            raise error
        self._go(lambda: self._flow.throw(error))

    def close(self) -> None:
        """Let the flow tidy up, however it ended."""
        self._flow.close()

    def _go(self, on: Callable[[], Step]) -> None:
        try:
            self.step = on()
        except StopIteration as done:
            self.step, self.result = None, done.value
