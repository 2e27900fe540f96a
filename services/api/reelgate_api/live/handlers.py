"""Use cases of the live streams: follow a job, follow a wallet, wait for a change. No HTTP, no SQL."""

import random
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import datetime
from uuid import UUID

import structlog

from reelgate_api.live import repository, sse
from reelgate_api.live.feed import (
    BEHIND,
    OVERLAP,
    Feed,
    Told,
    as_told,
    cursor,
    is_settled,
)
from reelgate_api.live.hub import Hub, Permit
from reelgate_api.live.schemas import LiveEvent
from reelgate_common.domain.job import Job

log = structlog.get_logger(__name__)

_BEAT_SECONDS = 15.0  # proxies close what is silent for long
_REMEMBERED = 2048  # entries of a wallet that are not told twice on one stream


def has_all(job: Job, seen: int | None) -> bool:
    """Whether who saw this entry of the job has nothing more to come."""
    return seen == job.version and is_settled(job)


async def follow_job(job: Job, seen: int | None, *, permit: Permit) -> AsyncGenerator[bytes, None]:
    """Tell what happens to a job after the entry seen last, each entry once; end when nothing follows.

    Who saw nothing yet, or a number the job does not have, is first told how it stands.
    """
    yield sse.retry()
    if seen is None or seen > job.version:
        yield sse.encode(LiveEvent.snapshot(job), id=str(job.version))
        seen = job.version
    with permit.hub.job(job) as feed:
        del job  # read for this stream alone; from here on it is the one that all share
        position = feed.end if seen == feed.job.version else BEHIND
        while not permit.is_over:
            kept, position = feed.after(position), feed.end
            missed = _missed(feed.job.id, seen, hub=permit.hub)
            async for entry in _news(kept, missed):
                if entry.seq > seen:
                    seen = entry.seq
                    yield entry.text
            if has_all(feed.job, seen):
                yield sse.END
                return
            if await _is_silent(feed, position, permit):
                yield sse.KEEP_ALIVE


async def _news(kept: list[Told] | None, missed: AsyncIterator[Told]) -> AsyncIterator[Told]:
    """What is still kept, else what the database has."""
    if kept is None:
        async for entry in missed:
            yield entry
    for entry in kept or ():
        yield entry


async def _missed(job_id: UUID, seen: int, *, hub: Hub) -> AsyncIterator[Told]:
    async with hub.db.connection() as connection:
        found = await repository.news(connection, {job_id: seen})
    for news in found:
        for entry in news.entries:
            yield as_told(news.job, entry)


async def _is_silent(feed: Feed, position: int, permit: Permit) -> bool:
    """Wait for more than was told; True when it is time for a sign of life, at another moment for each stream."""
    if position != feed.end or permit.is_over:
        return False
    return not await feed.changed(_BEAT_SECONDS * random.uniform(0.7, 1))  # noqa: S311 -- keeps no secret


class _Told:
    """The entries told on one stream lately."""

    def __init__(self) -> None:
        self._told: OrderedDict[tuple[UUID, int], None] = OrderedDict()

    def is_new(self, job_id: UUID, seq: int) -> bool:
        """Whether an entry is told for the first time; it counts as told from now on."""
        if (job_id, seq) in self._told:
            return False
        self._told[job_id, seq] = None
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        return True


async def follow_wallet(wallet: str, seen: datetime | None, *, permit: Permit) -> AsyncGenerator[bytes, None]:
    """Tell what happens to the jobs of a wallet, and first what happened since the moment seen last.

    Nothing is left out; what lies around that moment is told again.
    """
    yield sse.retry()
    told = _Told()
    async with permit.hub.wallet(wallet) as feed:
        position = feed.end if seen is None else BEHIND
        seen = feed.upto if seen is None else min(seen, feed.upto)
        yield sse.ready(cursor(seen))
        while not permit.is_over:
            kept, upto, position = feed.after(position), feed.upto, feed.end
            missed = _missed_of_wallet(wallet, seen, hub=permit.hub)
            async for entry in _news(kept, missed):
                if told.is_new(entry.job_id, entry.seq):
                    yield entry.text
            seen = upto
            if await _is_silent(feed, position, permit):
                yield sse.KEEP_ALIVE


async def _missed_of_wallet(wallet: str, seen: datetime, *, hub: Hub) -> AsyncIterator[Told]:
    async for news in repository.entries_since(hub.db, wallet, seen - OVERLAP):
        for entry in news.entries:
            yield as_told(news.job, entry, upto=max(seen, entry["at"]))


async def until_changed(job: Job, *, seconds: float, hub: Hub) -> Job:
    """The job as soon as it is another than given, or as it stands when the time is over.

    At once when nothing more will happen to it, when the process stops, or when it has no place for one who waits.
    """
    if is_settled(job) or hub.is_full or hub.stopping:
        return job
    end = time.monotonic() + seconds
    with hub.place(), hub.job(job) as feed:
        while feed.job.version <= job.version and not hub.stopping and (left := end - time.monotonic()) > 0:
            await feed.changed(left)
        return max(job, feed.job, key=lambda found: found.version)
