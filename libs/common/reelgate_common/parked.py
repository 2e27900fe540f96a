"""Parked messages: list, replay and drop what failed every round."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from reelgate_common import topology
from reelgate_common.connection import connect
from reelgate_common.settings import RabbitSettings

_ANSWER_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class Parked:
    """A message put aside: where it came from, why, and what it says."""

    message_id: str
    queue: str
    reason: str
    body: str


async def listed(settings: RabbitSettings, *, limit: int) -> list[Parked]:
    """The oldest parked messages. They stay where they are."""
    async with _open(settings) as (_, queue):
        return [_read(message) for message in await _take(queue, limit)]


async def replay(settings: RabbitSettings, *, wanted: Callable[[Parked], bool], limit: int) -> int:
    """Send messages back to the queue they came from; return how many. Handlers do not mind repeats."""
    count = 0
    async with _open(settings) as (channel, queue):
        for message in await _take(queue, limit):
            found = _read(message)
            if wanted(found):
                again = aio_pika.Message(
                    message.body,
                    message_id=message.message_id,
                    content_type=message.content_type,
                    delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                )
                await channel.default_exchange.publish(again, found.queue, mandatory=True, timeout=_ANSWER_SECONDS)
                await message.ack()
                count += 1
    return count


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
    )
