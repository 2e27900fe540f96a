"""Callbacks out: signed like the vendor's, sent with its patience, a bounded number at a time."""

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from reelgate_simulator.config import Config
from reelgate_simulator.scenarios import Signature
from reelgate_simulator.stats import Stats

AT_ONCE: Final = 32  # a burst of ended tasks must not open thousands of sockets
_WRONG_KEY: Final = "not-the-key"
# What a URL from outside can make the client raise, besides its own errors.
_UNDELIVERABLE: Final = (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError, ValueError, OverflowError)


@dataclass(frozen=True, slots=True)
class Letter:
    """One callback to deliver."""

    url: str
    task_id: str
    body: dict[str, Any]
    signature: Signature = "valid"
    attempted: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def open_courier() -> AsyncIterator["Courier"]:
    """Give a courier while the simulator runs."""
    context = httpx.create_ssl_context(trust_env=False)
    async with AsyncExitStack() as stack:
        # One connection each: a shared pool looks at every idle connection before every request.
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
        clients = [
            httpx.AsyncClient(verify=context, limits=limits, timeout=None, trust_env=False)  # noqa: S113 - see _post
            for _ in range(AT_ONCE)
        ]
        for client in clients:
            await stack.enter_async_context(client)
        yield Courier(clients)


def sign(task_id: str, timestamp: int, key: str) -> str:
    """Return the signature the vendor documents; it covers the task id and the time, not the body."""
    digest = hmac.new(key.encode(), f"{task_id}.{timestamp}".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


class Courier:
    """Delivers letters, as many at a time as it has clients, and counts what became of them."""

    def __init__(self, clients: list[httpx.AsyncClient]) -> None:
        # The last one used comes first: its connection is still warm.
        self._idle: asyncio.LifoQueue[httpx.AsyncClient] = asyncio.LifoQueue()
        for client in clients:
            self._idle.put_nowait(client)

    async def deliver(self, letter: Letter, config: Config, stats: Stats) -> None:
        """Send a letter until it is answered by 200 or the retries are used up."""
        for retry in range(config.callback_retries + 1):
            if retry:
                await asyncio.sleep(config.callback_retry_seconds)
            if await self.send(letter, config, stats) == httpx.codes.OK:
                stats.callbacks_delivered += 1
                return
        stats.callbacks_failed += 1

    async def send(self, letter: Letter, config: Config, stats: Stats) -> int | None:
        """Send a letter once; the HTTP status, or None when no answer came in time."""
        client = None
        try:
            client = await self._idle.get()
            stats.callbacks_sent += 1
            return await _post(client, letter, config)
        finally:
            if client:
                self._idle.put_nowait(client)
            letter.attempted.set()  # also when cancelled: somebody may be waiting


async def _post(client: httpx.AsyncClient, letter: Letter, config: Config) -> int | None:
    headers = _signature_headers(letter, config)
    try:
        async with asyncio.timeout(config.callback_timeout_seconds):
            answer = await client.post(letter.url, json=letter.body, headers=headers)
    except _UNDELIVERABLE:
        return None
    return answer.status_code


def _signature_headers(letter: Letter, config: Config) -> dict[str, str]:
    key = config.hmac_key.get_secret_value()
    if not key or letter.signature == "none":
        return {}
    now = int(time.time())
    signed = sign(letter.task_id, now, key if letter.signature == "valid" else _WRONG_KEY)
    return {"X-Webhook-Timestamp": str(now), "X-Webhook-Signature": signed}
