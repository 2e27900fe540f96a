"""Whether one more job may be asked for now."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from reelgate_api.limits import repository
from reelgate_api.limits.queue_watch import QueueWatch
from reelgate_api.limits.repository import Taken
from reelgate_api.settings import Settings
from reelgate_common import metrics
from reelgate_common.auth import Caller
from reelgate_common.batches import Batches, may_be_of_one
from reelgate_common.db import Database
from reelgate_common.domain.errors import QueueFull, RateLimited
from reelgate_common.domain.quota import Quota

# When a queue gets shorter nobody can say: a guess that keeps callers from asking in a loop.
QUEUE_RETRY_SECONDS = 10


class Limiter:
    """The limits on requests. What was asked before is in the database, the same for all replicas."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._per_key = settings.rate_limit_per_key
        self._per_wallet = settings.rate_limit_per_wallet
        self.queue = QueueWatch(db, max_queued=settings.max_queued)
        self._taken = Batches(self._take_all, name="limits", of_one=may_be_of_one)

    async def admit(self, caller: Caller, wallet: str) -> tuple[Quota, ...]:
        """Count one request of the caller for the wallet; what is left of each limit there is.

        QueueFull and RateLimited: not admitted, and not counted either. Without limits nothing is asked.
        """
        if self.queue.is_full:
            metrics.queue_full.inc()  # a 503 that the operator asked for: it counts against no objective
            raise QueueFull(retry_seconds=QUEUE_RETRY_SECONDS)
        limits = self._limits(caller, wallet)
        return await self.count(limits) if limits else ()

    async def count(self, limits: Mapping[str, int]) -> tuple[Quota, ...]:
        """Count one request for each subject (subject -> requests a minute); RateLimited: for none of them."""
        taken = await self._taken(limits)
        quotas = tuple(_quota(subject, limits[subject], one) for subject, one in zip(limits, taken, strict=True))
        if not all(one.counted for one in taken):
            raise RateLimited(quotas)
        return quotas

    async def _take_all(self, asked: Sequence[Mapping[str, int]]) -> list[list[Taken]]:
        """Count many requests in one statement while all of them pass, else one after the other."""
        together = {subject: per_minute for limits in asked for subject, per_minute in limits.items()}
        times = Counter(subject for limits in asked for subject in limits)
        async with self._db.connection() as connection:
            taken = dict(zip(together, await repository.take(connection, together, times), strict=True))
            if len(asked) > 1 and not all(one.counted for one in taken.values()):
                return [await repository.take(connection, limits) for limits in asked]
        return _each(asked, taken, times)

    def _limits(self, caller: Caller, wallet: str) -> dict[str, int]:
        limits = {}
        if self._per_key and caller.key_id is not None:
            limits[f"key:{caller.key_id}"] = self._per_key
        if self._per_wallet:
            limits[f"wallet:{wallet}"] = self._per_wallet
        return limits


def _each(
    asked: Sequence[Mapping[str, int]], taken: Mapping[str, Taken], times: Mapping[str, int]
) -> list[list[Taken]]:
    """What each request found that was counted with others: those of one subject one after the other."""
    later = dict(times)
    found = []
    for limits in asked:
        for subject in limits:
            later[subject] -= 1
        steps = {subject: taken[subject].step / times[subject] for subject in limits}
        found.append(
            [
                replace(taken[subject], step=step, used=taken[subject].used - later[subject] * step)
                for subject, step in steps.items()
            ]
        )
    return found


def _quota(subject: str, per_minute: int, taken: Taken) -> Quota:
    return Quota(
        name=subject.partition(":")[0],
        per_minute=per_minute,
        remaining=taken.remaining(per_minute),
        next_seconds=max(1, math.ceil(taken.next_in(per_minute).total_seconds())),
    )
