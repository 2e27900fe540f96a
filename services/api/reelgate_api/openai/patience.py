"""Answers only when the request was taken: OpenAI's clients look for the answer only then."""

import asyncio
import contextlib

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MAX_BYTES = 32 * 1024 * 1024
_MAX_SECONDS = 10


class Patience:
    """Take the rest of a body that nobody wants, within limits, before the answer: a 401 or 413 to an image.

    A client that is still sending would meet a reset connection instead, and try again for nothing. Nothing of it
    is kept. Only for this path: elsewhere an early answer and a closed connection are the better defence.
    """

    def __init__(self, app: ASGIApp, *, path: str) -> None:
        self._app = app
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and hold its answer back for as long as needed."""
        if scope["type"] != "http" or scope["path"] != self._path:
            await self._app(scope, receive, send)
            return
        # One that waits to be told to go on has not begun to send, and is not told.
        is_whole = b"expect" in dict(scope["headers"])

        async def watched() -> Message:
            nonlocal is_whole
            message = await receive()
            is_whole = is_whole or not message.get("more_body", False)
            return message

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and not is_whole:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_MAX_SECONDS):
                        await _take_rest(receive)
            await send(message)

        await self._app(scope, watched, answer)


async def _take_rest(receive: Receive) -> None:
    left = _MAX_BYTES
    while left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        if not message.get("more_body", False):
            return
