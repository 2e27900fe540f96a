"""Use cases of operators: look at the whole, find a job, stop the sends and let them go on."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

from reelgate_api.jobs import repository as job_repository
from reelgate_api.jobs.repository import Filter
from reelgate_api.operations import repository
from reelgate_api.operations.dead_letters import DeadLetters
from reelgate_api.operations.kept import Kept
from reelgate_api.operations.schemas import Span
from reelgate_api.settings import Settings
from reelgate_common import backlog, breaker, topology
from reelgate_common.bus import Bus
from reelgate_common.db import Database
from reelgate_common.domain.job import Job
from reelgate_common.ids import first_id

_MOST_JOBS = 50_000  # read for a picture of a span; a day of what Kie.ai takes is three times as many
_MOST_VIDEOS = 5_000  # enough for a 99th percentile
_FOUND = 20

# How far back, the stretch of one bar, and for how long the numbers are kept: those of a day change slowly.
_SPANS: dict[Span, tuple[timedelta, timedelta, float]] = {
    "1h": (timedelta(hours=1), timedelta(minutes=1), 2),
    "6h": (timedelta(hours=6), timedelta(minutes=5), 10),
    "24h": (timedelta(hours=24), timedelta(minutes=20), 30),
}
_NOW_SECONDS = 1.5
_BROKER_SECONDS = 3  # each look is a connection of its own


class Operations:
    """The gateway as its operators see it."""

    def __init__(self, db: Database, bus: Bus, settings: Settings) -> None:
        self._db = db
        self._bus = bus
        self._settings = settings
        self._now = Kept(self._look_now, seconds=_NOW_SECONDS)
        self._broker = Kept(self._look_broker, seconds=_BROKER_SECONDS)
        self._spans = {span: self._kept_span(span) for span in _SPANS}
        self.dead_letters = DeadLetters(settings)

    async def overview(self, span: Span) -> dict[str, Any]:
        """Everything at a look, each part not older than it may be."""
        return {**await self._now.get(), "broker": await self._broker.get(), **await self._spans[span].get()}

    async def _look_now(self) -> dict[str, Any]:
        window_seconds = self._settings.kie_send_window_seconds
        async with self._db.connection() as connection:
            trouble = await breaker.trouble(connection)
            sends = await repository.sends(connection, window_seconds=window_seconds)
            waiting = await backlog.waiting(connection, at_most=backlog.MOST_COUNTED)
            standing = await backlog.standing(connection, backlog.OPEN, at_most=backlog.MOST_COUNTED)
        vendor = {name: sends.pop(name) for name in ("balance", "balance_at")}
        told = {
            "is_stopped": trouble is not None,
            "reason": trouble.reason if trouble else None,
            "since": trouble.since if trouble else None,
            "window_limit": self._settings.kie_sends_per_window,
            "window_seconds": window_seconds,
        }
        return {"at": datetime.now(UTC), "standing": standing, "sends": sends | told, "vendor": vendor, **waiting}

    async def _look_broker(self) -> dict[str, Any] | None:
        names = [name for queue in topology.QUEUES for name in (queue.name, queue.retry_name)]
        depths = await self._bus.depths([*names, topology.PARKED])
        if depths is None:
            return None
        ready = {name: depth.messages for name, depth in depths.items()}
        queues = [
            {"queue": queue.name, "ready": ready[queue.name], "retrying": ready.get(queue.retry_name, 0)}
            for queue in topology.QUEUES
            if queue.name in ready
        ]
        return {"queues": queues, "dead_letters": ready.get(topology.PARKED, 0)}

    def _kept_span(self, span: Span) -> Kept[dict[str, Any]]:
        return Kept(lambda: self._look_back(span), seconds=_SPANS[span][2])

    async def _look_back(self, span: Span) -> dict[str, Any]:
        length, bucket, _ = _SPANS[span]
        since = first_id(datetime.now(UTC) - length)
        async with self._db.connection() as connection:
            rows = await repository.history(connection, since=since, bucket=bucket, at_most=_MOST_JOBS)
            return {
                "span": span,
                "history": _history(rows, bucket),
                "outcomes": await repository.outcomes(connection, since=since, at_most=_MOST_JOBS),
                "latency": await repository.latency(connection, since=since, at_most=_MOST_VIDEOS),
                "callbacks": await repository.callbacks(connection, since=since, at_most=_MOST_VIDEOS),
            }

    async def search(self, text: str) -> list[tuple[str, Job]]:
        """Jobs that have this id, task, wallet or reference, and which of these it is."""
        async with self._db.connection() as connection:
            singles = [
                ("job", await repository.find_job(connection, job_id) if (job_id := _uuid(text)) else None),
                ("task", await repository.find_by_task(connection, text)),
            ]
            lists = [
                (word, await job_repository.list_jobs(connection, wanted, after=None, limit=_FOUND))
                for word, wanted in (
                    ("wallet", Filter(wallets=[text])),
                    ("reference", Filter(wallets=None, client_reference_id=text)),
                )
            ]
        found = [(word, job) for word, job in singles if job]
        return found + [(word, job) for word, jobs in lists for job in jobs]

    async def pause(self, reason: str) -> None:
        """Stop all sends until `resume`."""
        async with self._db.transaction() as tx:
            await breaker.pause(tx, reason)
        self._now.forget()

    async def resume(self) -> None:
        """Let sends go on, also when they were not paused."""
        async with self._db.transaction() as tx:
            await breaker.resume(tx)
        self._now.forget()

    async def replay(self, message_id: str) -> None:
        """Send a parked message back to the queue it came from."""
        await self.dead_letters.replay(message_id)
        self._broker.forget()


def _history(rows: Iterable[dict[str, Any]], bucket: timedelta) -> dict[str, Any]:
    rows = list(rows)
    buckets = [
        {"at": at, "counts": {row["state"]: row["count"] for row in of_bucket}}
        for at, of_bucket in groupby(rows, key=itemgetter("at"))
    ]
    is_cut = sum(row["count"] for row in rows) >= _MOST_JOBS
    oldest = min((row["oldest_at"] for row in rows), default=None)
    return {
        "bucket_seconds": int(bucket.total_seconds()),
        "complete_since": oldest if is_cut else None,
        "buckets": buckets,
    }


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
