"""What everyone who watches one thing is told: the latest entries, kept once for all of them."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import UUID

from reelgate_api.live import sse
from reelgate_api.live.repository import Entry, News
from reelgate_api.live.schemas import LiveEvent
from reelgate_common.domain.job import BY_DEADLINE, Job, JobStatus
from reelgate_common.views import JobView

BEHIND = -1  # a position from which nothing is kept any more
# What was committed within it of a moment may have become visible after it: no transaction here lasts longer.
OVERLAP = timedelta(minutes=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_REMEMBERED_SECONDS = 300.0  # a settled job whose broker event may come yet


@dataclass(frozen=True, slots=True)
class Told:
    """One entry as it goes over the wire."""

    job_id: UUID
    seq: int
    text: bytes


class Feed:
    """The latest entries. Who reads too slowly finds a gap and reads the database: nothing queues for anyone."""

    def __init__(self, kept: int) -> None:
        self._most = kept
        self._kept: deque[Told] = deque(maxlen=kept)
        self._changed = asyncio.Event()
        self.end = 0
        self.watchers = 0

    def publish(self, job: Job, entries: Sequence[Entry], *, upto: datetime | None = None) -> None:
        """Tell everyone who waits. What does not fit is not even encoded."""
        if entries:
            self._kept.extend(as_told(job, entry, upto=upto) for entry in entries[-self._most :])
            self.end += len(entries)
            self.wake()

    def wake(self) -> None:
        """Have everyone who waits look again."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def after(self, position: int) -> list[Told] | None:
        """What was told after a position; None when that is not kept any more."""
        missed = self.end - position
        kept = len(self._kept)
        return None if missed > kept else list(islice(self._kept, kept - missed, None))

    async def changed(self, seconds: float) -> bool:
        """Wait for something to look at; False when nothing came in time."""
        changed = self._changed
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await changed.wait()
        return changed.is_set()


def is_settled(job: Job) -> bool:
    """Delivered, or refunded: nothing follows, save a late video after a deadline."""
    return job.status is JobStatus.COMPLETED or (job.status.is_final and job.refunded_at is not None)


def as_told(job: Job, entry: Entry, *, upto: datetime | None = None) -> Told:
    """An entry of a timeline as it is told; its id is the entry's number, or for a wallet the moment told up to."""
    event = LiveEvent.model_validate(entry | {"job": JobView.of(job)})
    event_id = str(event.seq) if upto is None else cursor(upto)
    return Told(job.id, event.seq, sse.encode(event, id=event_id))


class JobFeed(Feed):
    """One job. The id of an event is its number in the job."""

    def __init__(self, job: Job) -> None:
        super().__init__(kept=16)
        self.job = job

    def tell(self, news: News) -> None:
        """Pass on what is new."""
        fresh = [entry for entry in news.entries if entry["seq"] > self.job.version]
        self.job = max(self.job, news.job, key=lambda job: job.version)
        self.publish(news.job, fresh)


class WalletFeed(Feed):
    """The jobs of a wallet. The id of an event is a moment before which nothing is left to be told."""

    def __init__(self, told: dict[UUID, int], upto: datetime) -> None:
        super().__init__(kept=256)
        self.told = told  # of each job to which something may still happen, and of those settled just now
        self.upto = upto
        self._since = upto - OVERLAP
        self._settled: dict[UUID, float] = {}

    def tell(self, news: News) -> None:
        """Pass on what is new."""
        job, known = news.job, self.told.get(news.job.id)
        fresh = [e for e in news.entries if (e["at"] >= self._since if known is None else e["seq"] > known)]
        self.told[job.id] = max(known or 0, job.version)
        if is_settled(job) and job.failure_code not in BY_DEADLINE:
            self._settled.setdefault(job.id, time.monotonic())
        self.publish(job, fresh, upto=self.upto)

    def swept(self, upto: datetime) -> None:
        """Note that everything up to a moment was told, and forget jobs settled long ago."""
        self.upto = upto
        before = time.monotonic() - _REMEMBERED_SECONDS
        for job_id in [job_id for job_id, at in self._settled.items() if at < before]:
            del self._settled[job_id], self.told[job_id]


def cursor(at: datetime) -> str:
    """A moment as the id of an event."""
    return str((at - _EPOCH) // _MICROSECOND)


def moment(microseconds: int) -> datetime:
    """The id of an event as a moment."""
    return _EPOCH + microseconds * _MICROSECOND
