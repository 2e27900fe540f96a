"""Counts and times HTTP requests, by the route that answered: never by their path, of which there is no end."""

import time
from functools import cache

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reelgate_common import health, metrics

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NO_ROUTE = "none"  # not found, or refused before a route was looked for
_OTHER = "other"  # probes and the files of pages


class HttpMetrics:
    """Around everything else, so that what other middleware answers counts too.

    The time is that to the first byte of the answer: a live stream goes on for as long as its reader likes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on as it is."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        method = scope["method"] if scope["method"] in _METHODS else "other"
        answered = False

        async def count(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                _count(scope, method, message["status"], time.perf_counter() - started)
            await send(message)

        try:
            await self._app(scope, receive, count)
        except Exception:
            if not answered:  # the server answers with 500
                _count(scope, method, 500, time.perf_counter() - started)
            raise


def _count(scope: Scope, method: str, status: int, seconds: float) -> None:
    if scope["path"] in health.PATHS:
        route = _OTHER
    else:
        route = getattr(scope.get("route"), "path", _OTHER if "endpoint" in scope else _NO_ROUTE)
    answered, took = _series(method, route, status)
    answered.inc()
    took.observe(seconds)


@cache  # as many as there are series, which prometheus_client keeps too, but finds at some cost
def _series(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return metrics.http_requests.labels(method, route, status), metrics.http_request_seconds.labels(method, route)
