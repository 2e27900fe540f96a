"""A limit on request bodies, kept before anything is parsed."""

from collections.abc import Callable, Mapping

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class _TooMuch(Exception):
    """More has come than the limit."""


class _Gone(Exception):
    """The client left before the end of its body: half is not a request."""


def _too_large(_: Scope, detail: str) -> Response:
    body = {
        "type": "about:blank",
        "title": "The body is too large",
        "status": 413,
        "detail": detail,
        "code": "too_large",
        "error": detail,
    }
    return JSONResponse(body, status_code=413, media_type="application/problem+json")


class BodyLimit:
    """Answer 413 to a body over the limit, by its announced length or as soon as too much has come.

    A body is held until it is whole, and only then passed on. Those of the paths in `streamed`, which have
    limits of their own, are passed on as they come: the app knows the caller before so much is in memory.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_bytes: int,
        streamed: Mapping[str, int] | None = None,
        answer: Callable[[Scope, str], Response] = _too_large,
    ) -> None:
        self._app = app
        self._answer = answer
        self._max_bytes = max_bytes
        self._streamed = streamed or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting what it sends."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._streamed.get(scope["path"], self._max_bytes)
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > limit:
            await self._refuse(scope, receive, send, limit=limit)
        elif scope["path"] in self._streamed:
            await self._stream(scope, receive, send, limit=limit)
        else:
            await self._hold(scope, receive, send)

    async def _hold(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await self._read(receive)
        if body is None:
            return
        if len(body) > self._max_bytes:
            await self._refuse(scope, receive, send, limit=self._max_bytes)
            return
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

    async def _read(self, receive: Receive) -> bytes | None:
        """The body, to a little past the limit; None when the client left before its end: half is not a request."""
        body = b""
        while len(body) <= self._max_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        return body

    async def _stream(self, scope: Scope, receive: Receive, send: Send, *, limit: int) -> None:
        left, is_whole = limit, False

        async def counted() -> Message:
            nonlocal left, is_whole
            message = await receive()
            if is_whole:
                return message
            if message["type"] == "http.disconnect":
                raise _Gone
            left -= len(message.get("body", b""))
            if left < 0:
                raise _TooMuch
            is_whole = not message.get("more_body", False)
            return message

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and not is_whole:  # or the server would read the rest
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        try:
            await self._app(scope, counted, answer)
        except _TooMuch:
            await self._refuse(scope, receive, send, limit=limit)
        except _Gone:
            return

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, *, limit: int) -> None:
        answer = self._answer(scope, f"The body is larger than {limit} bytes")
        answer.headers["Connection"] = "close"
        await answer(scope, receive, send)
