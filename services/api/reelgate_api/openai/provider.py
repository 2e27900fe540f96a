"""HTTP out: a finished video's file, streamed from wherever Kie.ai put it."""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Self

import httpx
import structlog

from reelgate_common.addresses import is_public
from reelgate_common.domain.errors import Expired, Unavailable

log = structlog.get_logger(__name__)

_TIMEOUT = httpx.Timeout(30, connect=5, pool=5)  # 30 s without a byte
_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=0)  # one host's connection is not another's
_MAX_REDIRECTS = 3
_SERVED = frozenset({200, 206, 416})
_GONE = frozenset({403, 404, 410})  # file stores say 403 when a signed link is over


class _PublicOnly(httpx.AsyncBaseTransport):
    """Connects to public addresses only, and to the very address that was checked; `trusted` may be anywhere."""

    def __init__(self, inner: httpx.AsyncBaseTransport, *, trusted: str) -> None:
        self._inner = inner
        self._trusted = _origin(httpx.URL(trusted))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if _origin(request.url) == self._trusted:
            return await self._inner.handle_async_request(request)
        host = request.url.raw_host.decode("ascii")
        checked = httpx.Request(
            request.method,
            request.url.copy_with(host=await _public_address(host)),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": host},
        )
        return await self._inner.handle_async_request(checked)

    async def aclose(self) -> None:
        await self._inner.aclose()


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


async def _public_address(host: str) -> str:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError("the host's name cannot be resolved") from error
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses or not all(is_public(ipaddress.ip_address(address)) for address in addresses):
        raise httpx.ConnectError("the host's address is not public")
    return addresses[0]


@dataclass(frozen=True)
class VideoFile:
    """A file whose body is still to come. Whoever takes it closes it."""

    status: int  # 200, 206 or 416
    headers: Mapping[str, str]
    answer: httpx.Response

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes; Unavailable when it breaks off."""
        try:
            async for chunk in self.answer.aiter_raw():
                yield chunk
        except httpx.HTTPError as error:
            raise Unavailable(f"the video broke off: {type(error).__name__}") from error

    async def close(self) -> None:
        """Let go of the connection."""
        await self.answer.aclose()


class VideoFiles:
    """Fetches files for callers. Nothing is kept: what the caller does not take yet stays with the sender."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    @classmethod
    @asynccontextmanager
    async def open(cls, *, trusted: str) -> AsyncIterator[Self]:
        """A client for the length of the block; `trusted` is the one origin that may be private."""
        inner = httpx.AsyncHTTPTransport(limits=_LIMITS, trust_env=False)
        async with httpx.AsyncClient(
            transport=_PublicOnly(inner, trusted=trusted),
            timeout=_TIMEOUT,
            follow_redirects=True,
            max_redirects=_MAX_REDIRECTS,
            trust_env=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        ) as http:
            yield cls(http)

    async def fetch(self, url: str, *, headers: dict[str, str]) -> VideoFile:
        """The file, or the part of it that the headers ask for.

        Expired when the file is gone, Unavailable when the host does not answer as it should.
        """
        asked = self._http.build_request("GET", url, headers={"Accept-Encoding": "identity"} | headers)
        try:
            answer = await self._http.send(asked, stream=True)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"the video's host is away: {type(error).__name__}: {error}") from error
        if answer.status_code in _SERVED:
            return VideoFile(answer.status_code, answer.headers, answer)
        await answer.aclose()
        if answer.status_code in _GONE:
            raise Expired("The video's file is gone: Kie.ai keeps it for 14 days at most")
        raise Unavailable(f"the video's host answered {answer.status_code}")
