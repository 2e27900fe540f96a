"""What is done about kept videos besides copying: retention, removal, giving up, and a look at the oldest."""

from dataclasses import dataclass

import structlog

from reelgate_common import metrics
from reelgate_common.custody import deletion
from reelgate_common.custody.store import BucketAway, Store, key_of
from reelgate_common.db import Database
from reelgate_reconciler.custody import repository
from reelgate_reconciler.handlers import BY

log = structlog.get_logger(__name__)

_LIMIT = 100  # videos a pass takes
_OLD_AT_ONCE = 1000
_REMOVAL_SECONDS = 120.0  # a call or two to the bucket; then another may try


@dataclass(frozen=True)
class Keeper:
    """One pass each; without a bucket, what is to be removed from it waits."""

    db: Database
    store: Store | None

    async def run_once(self) -> int:
        """Everything that is due now."""
        return await self._end_retention() + await self._remove() + await self._look()

    async def _end_retention(self) -> int:
        async with self.db.connection() as connection:
            over = await repository.find_over(connection, limit=_LIMIT)
        for job_id in over:
            async with self.db.transaction() as tx:
                await deletion.delete(tx, job_id, by=BY, reason="its retention is over")
        return len(over)

    async def _remove(self) -> int:
        count = 0
        while self.store and count < _LIMIT:
            async with self.db.connection() as connection:
                taken = await repository.take(connection, "deleting", seconds=_REMOVAL_SECONDS)
            if taken is None:
                break
            try:
                await self.store.delete(key_of(taken.job_id))
            except BucketAway as error:
                log.warning("video_not_removed", job_id=str(taken.job_id), error=str(error))
                async with self.db.connection() as connection:
                    await repository.put_off(connection, taken, error=str(error))
                break
            async with self.db.connection() as connection:
                await repository.removed(connection, taken)
            log.info("video_removed", job_id=str(taken.job_id))
            count += 1
        return count

    async def _look(self) -> int:
        async with self.db.connection() as connection:
            if not self.store:  # with a bucket a copier looks there before it gives a video up
                return await repository.give_up_uncopied(connection, limit=_OLD_AT_ONCE)
            metrics.custody_oldest_due.set(await repository.oldest_due_seconds(connection))
        return 0
