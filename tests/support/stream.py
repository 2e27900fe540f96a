"""A client of event streams: one socket each, so that a thousand of them cost little and nothing is hidden."""

import asyncio
import json
import socket
from collections import deque
from dataclasses import dataclass


@dataclass
class Event:
    """One event as it came."""

    id: str | None
    name: str
    data: dict

    @property
    def seq(self):
        return self.data["seq"]


class Ended(Exception):
    """The server ended the stream; `cleanly` when it said so."""

    def __init__(self, *, cleanly):
        super().__init__(f"cleanly: {cleanly}")
        self.cleanly = cleanly


class Stream:
    """An open response of text/event-stream."""

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer
        self._events = deque()
        self._rest = ""
        self.comments, self.retry, self.last_id = [], None, None
        self.status, self.headers = None, {}

    @classmethod
    async def open(cls, port, path, *, last_id=None, headers=None, buffer=None):
        """Ask, and read the head of the answer. `buffer`: bytes the kernel takes for us while we do not read."""
        link = socket.socket()
        if buffer:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        link.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(link, ("127.0.0.1", port))
        except OSError:
            link.close()
            raise
        stream = cls(*await asyncio.open_connection(sock=link, limit=buffer or 2**16))
        asked = {"Host": "api", "Accept": "text/event-stream"} | (headers or {})
        if last_id is not None:
            asked["Last-Event-ID"] = last_id
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in asked.items())]
        stream._writer.write("\r\n".join([*lines, "", ""]).encode())
        await stream._read_head()
        return stream

    async def _read_head(self):
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}

    async def next(self, seconds=20):
        """The next event; Ended when there is none."""
        async with asyncio.timeout(seconds):
            while not self._events:
                self._parse(await self._chunk())
        event = self._events.popleft()
        self.last_id = event.id or self.last_id
        return event

    async def until(self, name):
        """Events up to one of this name."""
        events = [await self.next()]
        while events[-1].name != name:
            events.append(await self.next())
        return events

    async def end(self, seconds=20):
        """Whether the server ended it cleanly, after whatever came before."""
        try:
            while True:
                await self.next(seconds)
        except Ended as ended:
            return ended.cleanly

    async def beat(self, seconds=20):
        """Wait for a comment."""
        seen = len(self.comments)
        async with asyncio.timeout(seconds):
            while len(self.comments) == seen:
                self._parse(await self._chunk())

    async def body(self):
        """Of an answer that is no stream."""
        return json.loads(await self._reader.readexactly(int(self.headers["content-length"])))

    async def _chunk(self):
        try:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            data = (await self._reader.readexactly(size + 2))[:-2]
        except (asyncio.IncompleteReadError, ConnectionError):
            raise Ended(cleanly=False) from None
        if not size:
            raise Ended(cleanly=True)
        return data.decode()

    def _parse(self, text):
        *blocks, self._rest = (self._rest + text).split("\n\n")
        for block in blocks:
            fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
            self.comments += [line for line in block.split("\n") if line.startswith(":")]
            self.retry = fields.get("retry", self.retry)
            if "data" in fields:
                self._events.append(Event(fields.get("id"), fields["event"], json.loads(fields["data"])))

    async def close(self):
        """Leave."""
        self._writer.transport.abort()
        await asyncio.sleep(0)
