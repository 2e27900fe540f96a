"""Parked messages, over HTTP."""

import asyncio

from reelgate_api.operations.schemas import DeadLetter
from reelgate_common import parked
from reelgate_common.connection import TROUBLE
from reelgate_common.domain.errors import NotFound, Unavailable
from reelgate_common.parked import Parked
from reelgate_common.settings import RabbitSettings

SHOWN = 100
_MOST = 10_000  # the queue holds more, but who has so many replays them by `reelgate dead-letters`
_BODY = 4000  # characters


class DeadLetters:
    """What failed every round. One look at a time, since looking holds the messages back from others."""

    def __init__(self, settings: RabbitSettings) -> None:
        self._settings = settings
        self._alone = asyncio.Lock()

    async def listed(self) -> list[DeadLetter]:
        """The oldest of them."""
        async with self._alone:
            try:
                found = await parked.listed(self._settings, limit=SHOWN)
            except TROUBLE as error:
                raise Unavailable(f"the broker is away: {type(error).__name__}") from error
        return [_shown(message) for message in found]

    async def replay(self, message_id: str) -> None:
        """Send one back to the queue it came from; NotFound when it is not there any more.

        Unavailable when that queue does not take it: it is gone or full, and the message stays parked.
        """
        async with self._alone:
            try:
                replayed = await parked.replay(
                    self._settings, wanted=lambda message: message.message_id == message_id, limit=_MOST
                )
            except TROUBLE as error:
                raise Unavailable(f"the broker is away: {type(error).__name__}") from error
        if replayed.refused:
            raise Unavailable("the queue of the message does not take it")
        if not replayed.count:
            raise NotFound("No such message is parked")


def _shown(message: Parked) -> DeadLetter:
    return DeadLetter(
        message_id=message.message_id,
        queue=message.queue,
        reason=message.reason,
        body=message.body[:_BODY],
        job_id=message.job_id,
    )
