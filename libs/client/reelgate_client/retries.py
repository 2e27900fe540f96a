"""Asking until there is an answer: what is repeated, when, and for how long."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import httpx
from pydantic import ValidationError

from reelgate_client.errors import APIError, ReelgateError, UnexpectedAnswer, Unreachable, error_of
from reelgate_client.settings import Settings
from reelgate_client.steps import Flow, Pause, Request, Send

T = TypeVar("T")

_FIRST_SECONDS, _MOST_SECONDS = 0.5, 8.0  # of a pause; it doubles between them
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_OUR_FAULT = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)  # another time is no better
# A repeat finds the first request still under way: its answer comes with the next one.
_IN_FLIGHT = "idempotency_in_flight"


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request that may be repeated without harm, and how its answer is read."""

    request: Request
    parse: Callable[[httpx.Response], T]
    also: frozenset[int] = frozenset()  # statuses that are no failure besides 2xx


class Tries:
    """How often and how long something was tried, and whether it is tried again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._end = time.monotonic() + settings.timeout
        self._failed = 0

    def seconds(self, patience: float) -> float:
        """How long the next try may be silent."""
        return max(min(patience, self._end - time.monotonic()), 0.1)

    def went_on(self) -> None:
        """Something came of it: count anew."""
        self._end = time.monotonic() + self._settings.timeout
        self._failed = 0

    def again(self, problem: ReelgateError) -> Flow[None]:
        """Pause before the next try, or raise the problem when there is none."""
        seconds = self._pause(problem)
        if self._failed >= self._settings.max_retries or time.monotonic() + seconds >= self._end:
            raise problem
        self._failed += 1
        yield Pause(seconds)

    def _pause(self, problem: ReelgateError) -> float:
        backoff = random.uniform(0, min(_MOST_SECONDS, _FIRST_SECONDS * 2**self._failed))  # noqa: S311 -- keeps no secret
        asked = problem.retry_after if isinstance(problem, APIError) else None
        return backoff if asked is None else asked + backoff


def refused(response: httpx.Response) -> APIError:
    """A refusal as our error; raises it at once when the same request will fare no better in a moment."""
    problem = error_of(response)
    if problem.problem.status not in _PASSING and problem.problem.code != _IN_FLIGHT:
        raise problem
    return problem


def unreachable(error: httpx.TransportError, settings: Settings) -> Unreachable:
    """A broken line as our error; raises it at once when nothing can be sent this way."""
    problem = Unreachable(f"no answer from {settings.base_url}: {type(error).__name__}: {error}")
    problem.__cause__ = error
    if isinstance(error, _OUR_FAULT):
        raise problem
    return problem


def answered(call: Call[T], settings: Settings) -> Flow[T]:
    """What the gateway answers, asked again while that may help."""
    try:
        return (yield from _answered(call, settings))
    except ReelgateError as problem:
        problem.idempotency_key = call.request.headers.get("Idempotency-Key")
        raise


def _answered(call: Call[T], settings: Settings) -> Flow[T]:
    tries = Tries(settings)
    while True:
        try:
            response: httpx.Response = yield Send(call.request, tries.seconds(call.request.patience))
        except httpx.TransportError as error:
            problem: ReelgateError = unreachable(error, settings)
        else:
            if response.is_success or response.status_code in call.also:
                return _read(call, response)
            problem = refused(response)
        yield from tries.again(problem)


def _read(call: Call[T], response: httpx.Response) -> T:
    try:
        return call.parse(response)
    except (ValidationError, ValueError, TypeError, KeyError) as error:
        raise UnexpectedAnswer(
            f"{call.request.method} {call.request.path} was answered {response.status_code} "
            "with something else than expected"
        ) from error
