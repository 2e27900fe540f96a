"""HTTP out: a finished video's file, streamed from wherever Kie.ai put it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Self

import httpx
import structlog

from reelgate_common.domain.errors import Expired, Unavailable
from reelgate_common.strangers import CheckedTransport, Resolve

log = structlog.get_logger(__name__)

_TIMEOUT = httpx.Timeout(30, connect=5, pool=5)  # 30 s without a byte
# One host's connection is not another's. How many there may be is for whoever asks: a pool that is full would make all
# wait behind the slowest.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=0)
_MAX_REDIRECTS = 3
_SERVED = frozenset({200, 206, 416})
_GONE = frozenset({403, 404, 410})  # file stores say 403 when a signed link is over


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


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
    """Fetches files from Kie.ai's host. Nothing is kept: what the caller does not take yet stays with the sender."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    @classmethod
    @asynccontextmanager
    async def open(cls, resolver: Resolve, *, trusted: str) -> AsyncIterator[Self]:
        """A client for the length of the block; `trusted` is the one origin that may be private."""
        vendor = _origin(httpx.URL(trusted))
        async with httpx.AsyncClient(
            transport=CheckedTransport(
                lambda: httpx.AsyncHTTPTransport(limits=_LIMITS, trust_env=False),
                resolver,
                schemes=("https", "http"),
                trusted=lambda url: _origin(url) == vendor,
            ),
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
