"""A TCP proxy that stands between any two processes on this machine and misbehaves as told."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum

_CHUNK = 64 * 1024
_TAIL = 256
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no time: close() sends RST, and the peer sees a broken connection


class Toward(StrEnum):
    """The direction in which bytes flow."""

    SERVER = "server"
    CLIENT = "client"


class Trap:
    """Waits for bytes to pass, and stops one direction there until released."""

    def __init__(self, pattern: bytes, toward: Toward, stops: Toward) -> None:
        self.pattern, self.toward, self.stops = pattern, toward, stops
        self.sprung = asyncio.Event()


class FaultProxy:
    """Forwards bytes between its own port and a server's. All faults apply to every connection at once."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._server: asyncio.Server | None = None
        self._flow = {toward: asyncio.Event() for toward in Toward}
        self._connections: set[_Connection] = set()
        self._traps: list[Trap] = []
        self.port = 0  # chosen at the first listening, and kept

    @classmethod
    @asynccontextmanager
    async def open(cls, host: str, port: int) -> AsyncIterator["FaultProxy"]:
        """Listen until the end of the block."""
        proxy = cls(host, port)
        await proxy.heal()
        try:
            yield proxy
        finally:
            await proxy.heal()
            proxy.refuse()
            await asyncio.gather(*(connection.ended.wait() for connection in set(proxy._connections)))

    # Faults --------------------------------------------------------------------------------------------

    async def heal(self) -> None:
        """No fault any more; what was held goes on."""
        self.delay = 0.0  # seconds, each chunk
        self.bytes_per_second: float | None = None
        self.answer_bytes: int | None = None  # each connection is reset after so many bytes toward its client
        self._traps = []
        for flow in self._flow.values():
            flow.set()
        for connection in self._connections:
            connection.release()
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, reuse_address=True)
            self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Reset every connection there is."""
        for connection in set(self._connections):
            connection.reset()

    def refuse(self) -> None:
        """Reset every connection there is and listen no more: new ones are refused by the kernel."""
        if self._server:
            self._server.close()
            self._server = None
        self.cut()

    def freeze(self, *towards: Toward) -> None:
        """Let nothing through in these directions (both if none is named) and tell nobody: a half-open line."""
        for toward in towards or tuple(Toward):
            self._flow[toward].clear()

    def trap(self, pattern: bytes, toward: Toward, *, stops: Toward | None = None) -> Trap:
        """Stop one direction of the connection where these bytes are met: before them, or the answer to them."""
        trap = Trap(pattern, toward, stops or toward)
        self._traps.append(trap)
        return trap

    # Forwarding ----------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(writer)
        self._connections.add(connection)
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
            connection.writers.append(upstream_writer)
            await asyncio.gather(
                self._forward(connection, reader, upstream_writer, Toward.SERVER),
                self._forward(connection, upstream_reader, writer, Toward.CLIENT),
            )
        except OSError:  # the server is away: so is this connection
            return
        finally:
            connection.reset()
            self._connections.discard(connection)
            connection.ended.set()

    async def _forward(
        self, connection: "_Connection", reader: asyncio.StreamReader, writer: asyncio.StreamWriter, toward: Toward
    ) -> None:
        try:
            while chunk := await reader.read(_CHUNK):
                self._spring(connection, chunk, toward)
                await connection.flow[toward].wait()
                await self._flow[toward].wait()
                await asyncio.sleep(self.delay + (len(chunk) / self.bytes_per_second if self.bytes_per_second else 0))
                if toward is Toward.CLIENT and connection.answered(len(chunk), most=self.answer_bytes):
                    writer.write(chunk[: self.answer_bytes])
                    await writer.drain()
                    connection.reset()
                    return
                writer.write(chunk)
                await writer.drain()
            writer.write_eof()
        except OSError:
            connection.reset()

    def _spring(self, connection: "_Connection", chunk: bytes, toward: Toward) -> None:
        seen = connection.tail[toward] + chunk  # a pattern may come in two parts
        connection.tail[toward] = seen[-_TAIL:]
        for trap in self._traps:
            if trap.toward is toward and not trap.sprung.is_set() and trap.pattern in seen:
                connection.flow[trap.stops].clear()
                trap.sprung.set()


class _Connection:
    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writers = [writer]
        self.flow = {toward: asyncio.Event() for toward in Toward}
        self.tail = dict.fromkeys(Toward, b"")
        self.ended = asyncio.Event()
        self._answered = 0
        self.release()

    def release(self) -> None:
        for flow in self.flow.values():
            flow.set()

    def answered(self, count: int, *, most: int | None) -> bool:
        """Whether with these bytes the server has said as much as it may."""
        self._answered += count
        return most is not None and self._answered >= most

    def reset(self) -> None:
        self.release()
        for writer in self.writers:
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
