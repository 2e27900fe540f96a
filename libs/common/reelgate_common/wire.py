"""HTTP out at little cost: aiohttp, held to write each request once at most and to say when it does.

httpx takes three times the processor time for each call, even over aiohttp's connections.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import NamedTuple, Self

import aiohttp
from aiohttp.connector import Connection
from yarl import URL

_IDLE_SECONDS = 2  # a kept connection that the server closes just now may or may not have read a request: briefly
_MOST = 100
_CONNECT = aiohttp.ClientTimeout(total=None, connect=5)  # also to wait for a place among them
_MUCH = 256 * 1024  # bytes; more is written piece by piece, so that the loop goes on
_MAX_BYTES = 1024 * 1024  # of an answer

# All that a call may end in; a TimeoutError is an OSError.
BROKEN = (aiohttp.ClientError, OSError)


class AnswerTooLong(aiohttp.ClientError):
    """The server sent more than any answer can be."""


class ConnectionBroke(aiohttp.ClientError):
    """aiohttp was about to repeat a request by itself, as it does with a GET whose kept connection broke."""


class Reply(NamedTuple):
    """A whole answer."""

    status: int
    body: bytes
    headers: Mapping[str, str]


def _go() -> None:
    """Nothing keeps a request from being written."""


class _Request(aiohttp.ClientRequest):
    before: Callable[[], None]

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        self.before()
        return await super().send(conn)


@dataclass(slots=True)
class _Once:
    """Lets a request go once; aiohttp asks again for each repetition."""

    before: Callable[[], None]
    begun: bool = False

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if self.begun:
            raise ConnectionBroke
        self.begun = True
        assert isinstance(request, _Request)  # noqa: S101 -- as the session makes them
        request.before = self.before
        return await handler(request)


class Wire:
    """A pool of connections. It follows no redirects, keeps no cookies and knows no proxies."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @classmethod
    @asynccontextmanager
    async def open(cls, headers: Mapping[str, str] | None = None) -> AsyncIterator[Self]:
        """One for the length of the block; the headers go with every request."""
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_MOST, keepalive_timeout=_IDLE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            request_class=_Request,
            headers=headers,
        ) as session:
            yield cls(session)

    async def ask(
        self,
        method: str,
        url: str,
        *,
        seconds: float,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        before: Callable[[], None] = _go,
    ) -> Reply:
        """Make one call to an encoded URL; one of BROKEN when there is no whole answer in time.

        `before` is called directly before the request is written: if never, nothing was; what it raises keeps the
        request from being written.
        """
        async with asyncio.timeout(seconds):
            answer = await self._session.request(
                method,
                URL(url, encoded=True),
                headers=headers,
                data=BytesIO(body) if len(body) > _MUCH else body or None,
                allow_redirects=False,
                timeout=_CONNECT,
                middlewares=(_Once(before),),
            )
            try:
                whole = b""
                async for chunk in answer.content.iter_any():
                    whole += chunk
                    if len(whole) > _MAX_BYTES:
                        raise AnswerTooLong
                return Reply(answer.status, whole, answer.headers)
            finally:
                answer.close()  # which keeps the connection after a whole answer, else drops it
