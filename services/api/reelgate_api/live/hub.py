"""All that a process watches: woken by broker events, read from the database once, told to every stream.

An event only says that something happened. What happened is read from the timeline, for all jobs that
were named since the last look in one query. A sweep over every watched job finds what no event told.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self
from uuid import UUID

import structlog

from reelgate_api.live import repository
from reelgate_api.live.credentials import Credential, Credentials
from reelgate_api.live.feed import JobFeed, WalletFeed
from reelgate_api.settings import Settings
from reelgate_common import metrics, topology
from reelgate_common.auth import Caller
from reelgate_common.bus import Bus
from reelgate_common.db import Connection, Database
from reelgate_common.domain.errors import TooManyStreams, Unavailable
from reelgate_common.domain.job import Job
from reelgate_common.messages import Event, UnreadableMessage
from reelgate_common.service import background, on_stop

log = structlog.get_logger(__name__)

_GATHER_SECONDS = 0.02  # events of a busy moment share a query
_AWAY_SECONDS = 1.0
_NEW = timedelta(minutes=4)  # how old the id of a job may be that became visible just now; less than it is remembered


@dataclass(frozen=True)
class Permit:
    """A stream's place in this process."""

    hub: "Hub"
    credential: Credential

    @property
    def is_over(self) -> bool:
        """The stream should end: the process stops, or the credential is no longer good."""
        return self.hub.stopping or self.credential.lapsed


class Hub:
    """The feeds of this process and what keeps them current."""

    def __init__(self, db: Database, *, max_streams: int, sweep_seconds: float) -> None:
        self.db = db
        self.stopping = False
        self.hears = asyncio.Event()  # set while events of the broker come in
        self.credentials = Credentials(db)
        self._max_streams = max_streams
        self._sweep_seconds = sweep_seconds
        self._streams = 0
        self._jobs: dict[UUID, JobFeed] = {}
        self._wallets: dict[str, WalletFeed] = {}
        self._heard: set[UUID] = set()
        self._woken = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(cls, db: Database, bus: Bus, settings: Settings) -> AsyncIterator[Self]:
        """Listen and look until the end of the block; streams end as soon as the process is told to stop."""
        hub = cls(db, max_streams=settings.max_streams, sweep_seconds=settings.live_sweep_seconds)
        async with (
            bus.listening(topology.LIVE, hub.hear) as listener,
            background(hub.run(), hub.credentials.run()),
        ):
            hub.hears = listener.ready
            with on_stop(hub.stop):
                yield hub
            hub.stop()

    def stop(self) -> None:
        """End every stream and take no more."""
        self.stopping = True
        for feed in (*self._jobs.values(), *self._wallets.values()):
            feed.wake()

    # Who watches what

    @property
    def is_full(self) -> bool:
        """Whether one more stream would be refused."""
        return self._streams >= self._max_streams

    @contextmanager
    def place(self) -> Iterator[None]:
        """Count one who waits; TooManyStreams when there is no place."""
        if self.is_full or self.stopping:
            raise TooManyStreams("no place for one more stream")
        self._streams += 1
        metrics.live_streams.inc()
        try:
            yield
        finally:
            self._streams -= 1
            metrics.live_streams.dec()

    @contextmanager
    def permit(self, secret: str | None, caller: Caller) -> Iterator[Permit]:
        """A place for one stream, as long as its credential is good; TooManyStreams when there is none."""
        with self.place(), self.credentials.held(secret, caller) as credential:
            yield Permit(self, credential)

    @contextmanager
    def job(self, job: Job) -> Iterator[JobFeed]:
        """The feed of a job, as it was just read."""
        feed = self._jobs.get(job.id)
        if feed is None or feed.job.version < job.version:
            self._touch(job.id)  # it may have changed since it was read
        feed = feed or self._jobs.setdefault(job.id, JobFeed(job))
        del job  # not kept for as long as it is watched: there may be thousands
        feed.watchers += 1
        try:
            yield feed
        finally:
            feed.watchers -= 1
            if not feed.watchers:
                del self._jobs[feed.job.id]

    @asynccontextmanager
    async def wallet(self, wallet: str) -> AsyncIterator[WalletFeed]:
        """The feed of a wallet. Unavailable when the database is away."""
        feed = self._wallets.get(wallet) or await self._open_wallet(wallet)
        feed.watchers += 1
        try:
            yield feed
        finally:
            feed.watchers -= 1
            if not feed.watchers:
                del self._wallets[wallet]

    async def _open_wallet(self, wallet: str) -> WalletFeed:
        async with self.db.connection() as connection:
            now = await repository.now(connection)
            told = await repository.unsettled(connection, wallet, now=now)
        return self._wallets.setdefault(wallet, WalletFeed(told, now))  # of two at once the first is shared

    # What keeps the feeds current

    def hear(self, body: bytes) -> None:
        """Take note of a broker's event."""
        try:
            event = Event.read(body)
        except UnreadableMessage as error:
            log.warning("live_event_unreadable", error=str(error))
            return
        feed = self._jobs.get(event.job_id)
        if self._wallets or (feed and feed.job.version < event.job_version):
            self._touch(event.job_id)

    def _touch(self, job_id: UUID) -> None:
        self._heard.add(job_id)
        self._woken.set()

    async def run(self) -> None:
        """Look when woken, and at everything each few seconds, until cancelled."""
        sweep_at = 0.0
        while True:
            is_sweep = time.monotonic() >= sweep_at
            heard, self._heard = self._heard, set()
            try:
                await (self._sweep(heard) if is_sweep else self._look(heard))
            except Unavailable as error:
                self._heard |= heard
                log.warning("live_look_put_off", error=str(error))
                await asyncio.sleep(_AWAY_SECONDS)
                continue
            except Exception:  # one odd job shall not take the process along
                log.exception("live_look_crashed")
                metrics.loop_failures.labels("live").inc()
            if is_sweep:
                sweep_at = time.monotonic() + self._sweep_seconds
            await self._rest(sweep_at - time.monotonic())

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0)):
                await self._woken.wait()
        await asyncio.sleep(_GATHER_SECONDS)
        self._woken.clear()

    async def _look(self, heard: set[UUID]) -> None:
        told = self._told_of(heard)
        if told:
            async with self.db.connection() as connection:
                await self._tell(connection, told)

    async def _sweep(self, heard: set[UUID]) -> None:
        if not self._jobs and not self._wallets:
            return
        swept = list(self._wallets.values())
        async with self.db.connection() as connection:
            now = await repository.now(connection)
            if swept:
                heard = heard | await self._new_jobs(connection)
            await self._tell(connection, self._told() | self._told_of(heard))
        for feed in swept:
            feed.swept(now)

    async def _new_jobs(self, connection: Connection) -> set[UUID]:
        made = await repository.made_since(connection, list(self._wallets), datetime.now(UTC) - _NEW)
        return set(made).difference(*(feed.told for feed in self._wallets.values()))

    def _told(self) -> dict[UUID, int]:
        """The entry told last of every watched job; the earlier one where two feeds differ."""
        told = {job_id: feed.job.version for job_id, feed in self._jobs.items()}
        for feed in self._wallets.values():
            told |= {job_id: min(seq, told.get(job_id, seq)) for job_id, seq in feed.told.items()}
        return told

    def _told_of(self, heard: set[UUID]) -> dict[UUID, int]:
        """What to ask about jobs of which it is not known who watches them."""
        if not self._wallets:
            return {job_id: self._jobs[job_id].job.version for job_id in heard if job_id in self._jobs}
        return {job_id: 0 if job_id in self._jobs else -1 for job_id in heard}

    async def _tell(self, connection: Connection, told: dict[UUID, int]) -> None:
        metrics.live_reads.inc()
        for news in await repository.news(connection, told, wallets=list(self._wallets)):
            if job := self._jobs.get(news.job.id):
                job.tell(news)
            if wallet := self._wallets.get(news.job.wallet_address):
                wallet.tell(news)
