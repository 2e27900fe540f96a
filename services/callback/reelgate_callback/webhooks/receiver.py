"""HTTP out: one request to a stranger's URL, over an address that was checked, read no further than needed."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Self

import httpx

from reelgate_callback.webhooks.schedule import read_retry_after
from reelgate_common.strangers import Blocked, CheckedTransport, Resolve

SECONDS = 15  # for a receiver to answer
_CONNECT_SECONDS = 5  # for each of its addresses
_BODY_SECONDS = 2  # its status is its answer; the body is for the log
_KEPT_BYTES = 1024  # of the body
_KEPT_ERROR = 200  # characters
_USER_AGENT = "Reelgate-Webhooks/0.1"


class Outcome(StrEnum):
    """What came of one request."""

    DELIVERED = "delivered"  # 2xx
    GONE = "gone"  # 410: the receiver wants no more
    REFUSED = "refused"  # any other status
    NO_ANSWER = "no_answer"
    BLOCKED = "blocked"  # not sent: where it leads is none of a caller's business


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A receiver's answer, or why there is none."""

    outcome: Outcome
    milliseconds: int
    status: int | None = None
    error: str | None = None
    text: str | None = None
    retry_after: timedelta | None = None


class Receiver:
    """Whoever listens at a URL. Follows no redirect and uses no proxy: both lead past the check."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    @classmethod
    @asynccontextmanager
    async def open(
        cls, resolver: Resolve, *, allow_private: bool, trust: ssl.SSLContext | None = None
    ) -> AsyncIterator[Self]:
        """A client for the length of the block."""
        # A kept connection belongs to an address, and would be used for another name at it.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        trust = trust or httpx.create_ssl_context()  # now: certificates that cannot be read shall stop the start
        async with httpx.AsyncClient(
            transport=CheckedTransport(
                lambda: httpx.AsyncHTTPTransport(verify=trust, limits=limits),
                resolver,
                schemes=("https", "http") if allow_private else ("https",),
                trusted=lambda _: allow_private,
            ),
            headers={"User-Agent": _USER_AGENT, "Content-Type": "application/json"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # nobody's are kept
            timeout=httpx.Timeout(SECONDS, connect=_CONNECT_SECONDS),
            follow_redirects=False,
            trust_env=False,
        ) as http:
            yield cls(http)

    async def post(self, url: str, body: str, headers: Mapping[str, str]) -> Answer:
        """Send a body; every way it can end is an answer, none an exception."""
        started = time.monotonic()

        def answer(outcome: Outcome, error: str | None = None) -> Answer:
            return Answer(outcome=outcome, error=error and error[:_KEPT_ERROR], milliseconds=_since(started))

        try:
            async with (
                asyncio.timeout(SECONDS),
                self._http.stream("POST", url, content=body.encode(), headers=dict(headers)) as response,
            ):
                return await _read(response, started)
        except Blocked as error:
            return answer(Outcome.BLOCKED, str(error))
        except (TimeoutError, httpx.TimeoutException):
            return answer(Outcome.NO_ANSWER, "no answer in time")
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:  # ValueError: no host name, no header
            return answer(Outcome.NO_ANSWER, str(error) or type(error).__name__)


def _since(started: float) -> int:
    return int((time.monotonic() - started) * 1000)


async def _read(response: httpx.Response, started: float) -> Answer:
    status = response.status_code
    outcome = Outcome.DELIVERED if response.is_success else Outcome.GONE if status == 410 else Outcome.REFUSED
    error = None if response.is_success else f"HTTP {status}"
    return Answer(
        outcome=outcome,
        milliseconds=_since(started),
        status=status,
        error=f"{error}: redirects are not followed" if response.is_redirect else error,
        text=await _beginning(response),
        retry_after=None if response.is_success else read_retry_after(response.headers.get("retry-after")),
    )


async def _beginning(response: httpx.Response) -> str:
    """The first bytes of a body as they came, unpacked by nobody; what cannot be stored is replaced."""
    kept = b""
    with suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in response.aiter_raw():
                kept += chunk[:_KEPT_BYTES]
                if len(kept) >= _KEPT_BYTES:
                    break
    return kept[:_KEPT_BYTES].decode("utf-8", "replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")
