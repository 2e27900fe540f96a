"""Connections to strangers: a host is resolved here, and the very address that was checked is connected to."""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address

import httpx

from reelgate_common.addresses import is_public

_PORTS = {"http": 80, "https": 443}
_LOOKUPS = 16  # names that are looked up at once

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[list[Address]]]


class Blocked(httpx.ConnectError):
    """The URL leads to where nobody may send us."""


@asynccontextmanager
async def open_resolver() -> AsyncIterator[Resolve]:
    """Lookups in threads of their own: a stranger's slow name server shall not hold up our own lookups."""
    threads = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="strangers-lookup")

    def look_up(host: str, port: int) -> list[Address]:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(ipaddress.ip_address(entry[4][0]) for entry in found))

    async def resolve(host: str, port: int) -> list[Address]:
        return await asyncio.get_running_loop().run_in_executor(threads, look_up, host, port)

    try:
        yield resolve
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


class CheckedTransport(httpx.AsyncBaseTransport):
    """Resolves a host itself and connects to the very address it checked, so that no second answer can differ.

    Only public addresses, but for URLs that are `trusted`. Host header, SNI and the certificate's name stay those
    of the URL. The transport beneath is made for the first request: until then a process does without 3 MB of httpcore.
    """

    def __init__(
        self,
        make_inner: Callable[[], httpx.AsyncBaseTransport],
        resolver: Resolve,
        *,
        schemes: Sequence[str],
        trusted: Callable[[httpx.URL], bool],
    ) -> None:
        self._make_inner = make_inner
        self._inner: httpx.AsyncBaseTransport | None = None
        self._resolve = resolver
        self._schemes = schemes
        self._trusted = trusted

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it over the first address that can be reached. Trying the next is safe: nothing was sent."""
        url, host = request.url, request.url.raw_host.decode("ascii")
        error: httpx.TransportError = httpx.ConnectError("the host has no address")
        for address in await self._addresses(url, host):
            checked = httpx.Request(
                request.method,
                url.copy_with(host=str(address)),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": host},
            )
            try:
                return await self._opened().handle_async_request(checked)
            except (httpx.ConnectError, httpx.ConnectTimeout) as this:
                error = this
        raise error

    def _opened(self) -> httpx.AsyncBaseTransport:
        if self._inner is None:
            self._inner = self._make_inner()
        return self._inner

    async def _addresses(self, url: httpx.URL, host: str) -> list[Address]:
        if url.scheme not in self._schemes:
            raise Blocked(f"only {' and '.join(self._schemes)} is allowed")
        try:
            found = await self._resolve(host, url.port or _PORTS[url.scheme])
        except (OSError, UnicodeError, ValueError) as error:
            raise httpx.ConnectError("the host's name cannot be resolved") from error
        allowed = found if self._trusted(url) else [address for address in found if is_public(address)]
        if found and not allowed:
            raise Blocked("the host's address is not public")
        return allowed

    async def aclose(self) -> None:
        """Close the connections."""
        if self._inner is not None:
            await self._inner.aclose()
