"""One connection to RabbitMQ, and the loop that keeps it up.

Connections are plain aio-pika ones kept up by a loop of our own: any trouble closes the connection and
opens a new one, which is simpler to reason about than restoring channels one by one.
"""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import Any

import aio_pika
import structlog
from aio_pika.abc import AbstractConnection
from yarl import URL

from reelgate_common.settings import RabbitSettings

log = structlog.get_logger(__name__)

CONNECT_SECONDS = 10.0
_HEARTBEAT_SECONDS = 20
TROUBLE = (*aio_pika.exceptions.CONNECTION_EXCEPTIONS, TimeoutError)


@asynccontextmanager
async def connect(settings: RabbitSettings, name: str) -> AsyncIterator[AbstractConnection]:
    """One connection, closed at the end without waiting for a broker that is gone."""
    url = URL(settings.amqp_url.get_secret_value())
    if "heartbeat" not in url.query:
        url = url.update_query(heartbeat=_HEARTBEAT_SECONDS)
    connection = await aio_pika.connect(url, timeout=CONNECT_SECONDS, client_properties={"connection_name": name})
    try:
        yield connection
    finally:
        with suppress(*TROUBLE, asyncio.CancelledError):
            async with asyncio.timeout(2):
                await connection.close()


async def _pause(seconds: float = 1.0) -> None:
    await asyncio.sleep(seconds * random.uniform(0.5, 1.5))  # noqa: S311 -- spreads reconnects, keeps no secret


class Link(ABC):
    """One connection kept up until cancelled; `_serve` says what to do with it while it lasts."""

    def __init__(self, settings: RabbitSettings, name: str) -> None:
        self._settings = settings
        self._name = name
        self.ready = asyncio.Event()
        self.stopping = asyncio.Event()

    async def run(self) -> None:
        """Connect and serve, again after any trouble, until told to stop."""
        while not self.stopping.is_set():
            try:
                async with connect(self._settings, self._name) as connection:
                    await self._serve(connection)
            except TROUBLE as error:
                log.warning("broker_unreachable", link=self._name, error=type(error).__name__, detail=str(error))
            except asyncio.CancelledError:
                # aiormq cancels whoever waits on a stuck connection; only our own stop may end the loop.
                if is_cancelled():
                    raise
                log.warning("broker_stuck", link=self._name)
            finally:
                self.ready.clear()
            if not self.stopping.is_set():
                await _pause()

    @abstractmethod
    async def _serve(self, connection: AbstractConnection) -> None:
        """Work on the connection until it ends, or until told to stop."""


def is_cancelled() -> bool:
    """Whether somebody cancelled this task; else a CancelledError in it comes from a connection that broke."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def until_closed(*closings: Awaitable[Any]) -> None:
    """Return when the first of them ends, however it ends."""
    waiters = [asyncio.ensure_future(closing) for closing in closings]
    try:
        await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiters:
            waiter.cancel()


@asynccontextmanager
async def kept_up(link: Link, name: str) -> AsyncIterator[None]:
    """Run a link inside the block."""
    task = asyncio.create_task(link.run(), name=name)
    try:
        yield
    finally:
        link.stopping.set()  # a connection under way may swallow the cancellation
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
