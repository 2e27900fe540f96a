"""A receiver of webhooks on a loopback socket: keeps what comes, answers as told."""

import asyncio
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Listener:
    """`answers` are given in turn, then 204; one that is a coroutine function is awaited with the writer."""

    answers: list = field(default_factory=list)
    requests: list = field(default_factory=list)  # (headers and what was requested, body)
    port: int = 0
    scheme: str = "http"

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}/hook"

    def say(self, status, **headers):
        """Answer the next request with this."""
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        self.answers.append(f"HTTP/1.1 {status} Said\r\n{lines}Content-Length: 4\r\n\r\nsaid".encode())

    async def serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        pairs = [line.split(": ", 1) for line in head.split("\r\n")[1:] if line]
        headers = {name.lower(): value for name, value in pairs} | {"request": head.split(" ")[1]}
        self.requests.append((headers, await reader.readexactly(int(headers["content-length"]))))
        answer = self.answers.pop(0) if self.answers else b"HTTP/1.1 204 No Content\r\n\r\n"
        if callable(answer):
            await answer(writer)
        else:
            writer.write(answer)
            await writer.drain()


@asynccontextmanager
async def listening(*, trust=None, host="127.0.0.1"):
    """A listener on a port of its own; with `trust` it speaks TLS."""
    listener = Listener(scheme="https" if trust else "http")
    connections = set()

    async def serve(reader, writer):
        connections.add(asyncio.current_task())
        try:
            while True:  # a connection may be used again, as with any server
                await listener.serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            connections.discard(asyncio.current_task())
            writer.close()

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    async with await asyncio.start_server(serve, host, 0, family=family, ssl=trust) as server:
        listener.port = server.sockets[0].getsockname()[1]
        try:
            yield listener
        finally:
            for task in connections:
                task.cancel()
            await asyncio.gather(*connections, return_exceptions=True)
