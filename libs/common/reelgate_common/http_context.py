"""What an HTTP request is called in logs, in its answer and in its trace."""

import re
from uuid import uuid4

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reelgate_common import health, tracing

HEADER = "X-Request-Id"
_HEADER = HEADER.lower().encode()
_SANE = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


class HttpContext:
    """Gives every request an id, the caller's own if it is sane, and every answer the same; begins traces.

    The id we make is the trace's, so that whoever quotes it names the trace. A span ends with the first byte of the
    answer: a live stream goes on for as long as its reader likes. With `join`, the caller's trace is gone on with,
    else it is only linked. Without `traces` the application says itself where a request belongs.
    """

    def __init__(
        self, app: ASGIApp, *, traces: bool = True, join: bool = False, untraced: frozenset[str] = frozenset()
    ) -> None:
        self._app = app
        self._traces = traces
        self._join = join
        self._untraced = health.PATHS | untraced

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on as it is, but for the header of the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, caller = _given(scope)
        if not self._traces or scope["path"] in self._untraced:
            await self._named(scope, receive, send, request_id or uuid4().hex)
            return
        with tracing.request("HTTP", caller=caller, join=self._join) as span:
            await self._named(scope, receive, send, request_id or tracing.ids()["trace_id"], span)

    async def _named(
        self, scope: Scope, receive: Receive, send: Send, request_id: str, span: tracing.Span | None = None
    ) -> None:
        async def name(message: Message) -> None:
            if message["type"] == "http.response.start":
                others = [header for header in message["headers"] if header[0].lower() != _HEADER]
                message["headers"] = [*others, (_HEADER, request_id.encode("latin-1"))]
                if span:
                    _describe(span, scope, message["status"])
                    span.end()
            await send(message)

        scope.setdefault("state", {})["request_id"] = request_id
        tokens = structlog.contextvars.bind_contextvars(request_id=request_id)
        await self._app(scope, receive, name)
        # Not after an exception: whoever logs it then says which request it was.
        structlog.contextvars.reset_contextvars(**tokens)


def _given(scope: Scope) -> tuple[str | None, str | None]:
    """The caller's request id and traceparent, if they are sane."""
    headers = dict(reversed(scope["headers"]))  # of a header that comes twice, the first
    asked = headers.get(_HEADER, b"").decode("latin-1")
    return asked if _SANE.fullmatch(asked) else None, tracing.sane(headers.get(b"traceparent", b"").decode("latin-1"))


def _describe(span: tracing.Span, scope: Scope, status: int) -> None:
    route = getattr(scope.get("route"), "path", None)
    span.rename(f"{scope['method']} {route}" if route else "HTTP")
    span.set({"http.request.method": scope["method"], "http.route": route, "http.response.status_code": status})
    if status >= 500:
        span.fail(str(status))
