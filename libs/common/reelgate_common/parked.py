"""Parked messages: list, replay and drop what failed every round."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import DeliveryError

from reelgate_common import topology
from reelgate_common.connection import connect
from reelgate_common.settings import RabbitSettings

_ANSWER_SECONDS = 10
_HEADERS_BYTES = 16 * 1024  # all headers of a message travel in one frame, whose limit is 128 KiB

# What the broker writes or acts on: the way a message went must not count once more (`x-death` holds its rounds,
# so it would be parked again at once), and no copy may go anywhere but to its queue (`CC`, `BCC`).
_NOT_REPLAYED = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count", "x-parked-")
_COPIES = {"cc", "bcc"}


@dataclass(frozen=True, kw_only=True)
class Parked:
    """A message put aside: where it came from, why, and what it says. Headers that were not kept are None."""

    message_id: str
    queue: str
    reason: str
    body: str
    headers: dict[str, Any] | None

    @property
    def job_id(self) -> UUID | None:
        """The job it is about; None when it does not say so."""
        try:
            return UUID(json.loads(self.body)["job_id"])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None


@dataclass(frozen=True)
class Replayed:
    """How many messages went back, and those their queue did not take: it is gone or full. They stay parked."""

    count: int
    refused: tuple[Parked, ...]


def headers_of(*, queue: str, reason: str, original: dict[str, Any] | None) -> dict[str, Any]:
    """The headers under which a message is parked; its own are kept as JSON text, unless they are too long."""
    headers: dict[str, Any] = {"x-parked-from": queue, "x-parked-reason": reason}
    if original:
        kept = json.dumps(original, default=_plain)
        size = len(kept.encode())
        headers |= {"x-parked-headers": kept} if size <= _HEADERS_BYTES else {"x-parked-headers-left-out": size}
    return headers


async def listed(settings: RabbitSettings, *, limit: int) -> list[Parked]:
    """The oldest parked messages. They stay where they are."""
    async with _open(settings) as (_, queue):
        return [_read(message) for message in await _take(queue, limit)]


async def replay(settings: RabbitSettings, *, wanted: Callable[[Parked], bool], limit: int) -> Replayed:
    """Send messages back to the queue they came from, with their own headers. Handlers do not mind repeats."""
    count, refused = 0, []
    async with _open(settings) as (channel, queue):
        for message in await _take(queue, limit):
            found = _read(message)
            if not wanted(found):
                continue
            again = aio_pika.Message(
                message.body,
                message_id=message.message_id,
                headers=_replayed(found.headers or {}),
                content_type=message.content_type,
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            )
            try:
                await channel.default_exchange.publish(again, found.queue, mandatory=True, timeout=_ANSWER_SECONDS)
            except DeliveryError:
                refused.append(found)
            else:
                await message.ack()
                count += 1
    return Replayed(count, tuple(refused))


async def drop(settings: RabbitSettings, *, wanted: Callable[[Parked], bool], limit: int) -> int:
    """Delete messages; return how many. Their jobs live in the database and are healed from there."""
    count = 0
    async with _open(settings) as (_, queue):
        for message in await _take(queue, limit):
            if wanted(_read(message)):
                await message.ack()
                count += 1
    return count


@asynccontextmanager
async def _open(settings: RabbitSettings) -> AsyncIterator[tuple[AbstractChannel, AbstractQueue]]:
    """A channel whose end gives back every message that was looked at and not acked."""
    async with (
        connect(settings, "reelgate-parked") as connection,
        connection.channel(publisher_confirms=True, on_return_raises=True) as channel,
    ):
        yield channel, await channel.get_queue(topology.PARKED, ensure=False)


async def _take(queue: AbstractQueue, limit: int) -> list[AbstractIncomingMessage]:
    """Hold them all before anything is done to one: a message replayed in vain would come round again."""
    held: list[AbstractIncomingMessage] = []
    while len(held) < limit:
        async with asyncio.timeout(_ANSWER_SECONDS):
            message = await queue.get(fail=False)
        if message is None:
            break
        held.append(message)
    return held


def _read(message: AbstractIncomingMessage) -> Parked:
    headers = message.headers or {}
    return Parked(
        message_id=message.message_id or "",
        queue=str(headers.get("x-parked-from", "")),
        reason=str(headers.get("x-parked-reason", "")),
        body=message.body.decode("utf-8", "replace"),
        headers=_kept(headers),
    )


def _kept(headers: Mapping[str, Any]) -> dict[str, Any] | None:
    if "x-parked-headers-left-out" in headers:
        return None
    try:
        kept = json.loads(headers.get("x-parked-headers", "{}"))
    except (ValueError, TypeError):  # none of ours: anyone may publish to the queue
        return None
    return kept if isinstance(kept, dict) else None


def _plain(value: object) -> str:
    """What JSON has no word for: bytes, times, decimals."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes | bytearray) else str(value)


def _replayed(headers: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in headers.items()
        if not name.lower().startswith(_NOT_REPLAYED) and name.lower() not in _COPIES
    }
