"""Answers that never come: connections dropped or reset in the middle of a request."""

import asyncio
import os
import socket
import struct
from typing import Final

from fastapi.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_EXTENSION: Final = "reelgate.connection"
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, letting a response reach its own connection."""

    def on_message_begin(self) -> None:
        """Put the transport into the scope of each request."""
        super().on_message_begin()
        self.scope["extensions"] = {_EXTENSION: {"transport": self.transport}}


class Hangup(Response):
    """Answers nothing: waits, then closes the connection, or resets it."""

    def __init__(self, *, after: float = 0.0, reset: bool = False) -> None:
        super().__init__()
        self._after = after
        self._reset = reset

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Hang up; a caller who leaves first is not waited for."""
        transport: asyncio.Transport = scope["extensions"][_EXTENSION]["transport"]
        try:
            async with asyncio.timeout(self._after):
                await _until_gone(receive)
        except (TimeoutError, asyncio.CancelledError):  # a server that stops hangs up sooner
            if self._reset:
                _reset_on_close(transport)
            transport.abort()
            await _until_gone(receive)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _reset_on_close(transport: asyncio.Transport) -> None:
    # The option belongs to the socket, so it can be set through a second descriptor of it.
    with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as twin:
        twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
