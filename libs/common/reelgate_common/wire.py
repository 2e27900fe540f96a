"""HTTP out at little cost: aiohttp's connections beneath httpx.

What httpx comes with takes five to ten times the processor time for each call, the more the more connections there are.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
from yarl import URL

_IDLE_SECONDS = 2  # a kept connection that the server closes just now may or may not have read a request: briefly
_MOST = 100
_MUCH = 256 * 1024  # bytes; more is written piece by piece, so that the loop goes on
# From special to general. What is not here is a mistake of ours.
_AS_HTTPX: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.ServerTimeoutError, httpx.ReadTimeout),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
    (aiohttp.ClientOSError, httpx.ReadError),
    (aiohttp.ClientError, httpx.RemoteProtocolError),
    (OSError, httpx.ReadError),
)


class _Again(aiohttp.ClientError):
    """aiohttp was about to repeat a request by itself, as it does with a GET whose connection broke."""


@contextmanager
def _known() -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:
        kind = next(ours for theirs, ours in _AS_HTTPX if isinstance(error, theirs))
        raise kind(str(error)) from error


async def _before_it_is_written(_: Any, place: SimpleNamespace, __: Any) -> None:
    asked: _Asked = place.trace_request_ctx
    if asked.begun:
        raise _Again("the connection broke")
    if asked.trace:
        await asked.trace("http11.send_request_headers.started", {})
    asked.begun = True


@dataclass
class _Asked:
    """One request, and whether anything of it may have been written."""

    trace: Any
    begun: bool = False


class Transport(httpx.AsyncBaseTransport):
    """For an httpx.AsyncClient. Each request is written once at most; redirects and proxies are not known here.

    The extension `trace` is told of one moment only, just before a request is written, under httpcore's name for it
    (`http11.send_request_headers.started`); what it raises then keeps the request from being written.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:  # which must be made where the loop runs
            trace = aiohttp.TraceConfig()
            trace.on_request_headers_sent.append(_before_it_is_written)  # called before they are
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_MOST, keepalive_timeout=_IDLE_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[trace],
                auto_decompress=False,  # httpx does
                skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            )
        return self._session

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; httpx.TransportError as httpx's own transport would raise it."""
        seconds = request.extensions.get("timeout", {})
        body = await request.aread()
        with _known():
            answer = await self._opened().request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=request.headers.multi_items(),
                data=BytesIO(body) if len(body) > _MUCH else body or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    connect=seconds.get("pool"), sock_connect=seconds.get("connect"), sock_read=seconds.get("read")
                ),
                trace_request_ctx=_Asked(request.extensions.get("trace")),
            )
        return httpx.Response(answer.status, headers=answer.raw_headers, stream=_Body(answer))

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _known():
            async for chunk in self._answer.content.iter_any():
                yield chunk

    async def aclose(self) -> None:
        """Keep the connection after a whole answer, else drop it."""
        self._answer.close()
