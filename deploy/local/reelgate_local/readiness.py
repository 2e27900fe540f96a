"""Waiting for a part to answer in its own protocol: never a sleep and hope."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import httpx

from reelgate_local import ports
from reelgate_local.errors import PortTakenError, StartError
from reelgate_local.process import Child

_POLL_SECONDS = 0.05
_PROBE_SECONDS = 2.0

# AMQP 0-9-1: the client's greeting, and the start of the only right answer, the method Connection.Start.
_AMQP_HEADER = b"AMQP\x00\x00\x09\x01"
_METHOD_FRAME, _CONNECTION_START = 1, b"\x00\x0a\x00\x0a"
_FRAME_HEADER = 7

Probe = Callable[[], Awaitable[bool]]


async def until_ready(part: str, child: Child, probe: Probe, *, port: int, seconds: float) -> None:
    """Return when the probe says yes; raise StartError when the child ended or took too long."""

    def check() -> None:
        if child.pid is not None:
            return
        if not ports.is_free(port):
            raise PortTakenError(part, f"found port {port} taken", child.log)
        raise StartError(part, f"ended with exit code {child.exit_code}", child.log)

    try:
        async with asyncio.timeout(seconds):
            await until(probe, check)
    except TimeoutError:
        raise StartError(part, f"was not ready after {seconds:.0f} s", child.log) from None


async def until(probe: Probe, check: Callable[[], None]) -> None:
    """Return when the probe says yes; `check` raises when hope is lost."""
    while True:
        check()
        if await probe():
            return
        await asyncio.sleep(_POLL_SECONDS)


async def postgres_answers(url: str) -> bool:
    """Whether the server takes a connection (not while it starts up or recovers)."""
    try:
        connection = await asyncpg.connect(url, timeout=_PROBE_SECONDS, ssl=False)
    except (OSError, TimeoutError, asyncpg.PostgresError):
        return False
    await connection.close()
    return True


async def amqp_answers(port: int) -> bool:
    """Whether the broker answers the protocol header with Connection.Start."""
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(_AMQP_HEADER)
                answer = await reader.readexactly(_FRAME_HEADER + len(_CONNECTION_START))
            finally:
                writer.close()
                await writer.wait_closed()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False
    return answer[0] == _METHOD_FRAME and answer[_FRAME_HEADER:] == _CONNECTION_START


async def http_answers(client: httpx.AsyncClient, url: str) -> bool:
    """Whether this address answers 200."""
    try:
        return (await client.get(url, timeout=_PROBE_SECONDS)).is_success
    except httpx.HTTPError:
        return False
