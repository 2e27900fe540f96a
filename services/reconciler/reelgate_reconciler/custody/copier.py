"""The copy: take a video that is due, bring it from Kie.ai's host into the bucket, say so. And what ends it."""

import asyncio
from dataclasses import dataclass

import structlog

from reelgate_common import jobs, metrics
from reelgate_common.custody.store import BucketAway, Store, key_of
from reelgate_common.db import Database
from reelgate_common.domain.errors import Expired, Unavailable
from reelgate_common.video_files import VideoFiles
from reelgate_reconciler.custody import repository
from reelgate_reconciler.custody.download import Download, NotTaken
from reelgate_reconciler.custody.repository import Taken
from reelgate_reconciler.handlers import BY
from reelgate_reconciler.settings import Settings

log = structlog.get_logger(__name__)

_A_PASS = 20  # copies
_WORKS = 0.9  # of a lease: in the rest nobody else has it, and what was done can be recorded


class Failed(Exception):
    """A copy that did not come about."""

    def __init__(self, outcome: str, error: Exception) -> None:
        super().__init__(str(error))
        self.outcome = outcome
        self.is_refused = isinstance(error, NotTaken | Expired)  # by what the host says, not by trouble


@dataclass(frozen=True)
class Copier:
    """Copies one video after the other. A process has a few of them; what they hold in memory is a few parts."""

    db: Database
    store: Store
    files: VideoFiles
    settings: Settings

    async def run_once(self) -> int:
        """Copy what is due, for so many that it is seen to go on."""
        count = 0
        while count < _A_PASS and await self._copy_one():
            count += 1
        return count

    async def _copy_one(self) -> bool:
        seconds = self.settings.custody_copy_seconds
        async with self.db.connection() as connection:
            taken = await repository.take(connection, "due", seconds=seconds)
        if taken is None:
            return False
        try:
            async with asyncio.timeout(seconds * _WORKS):
                download = await self._copy(taken)
        except asyncio.CancelledError:
            async with self.db.connection() as connection:
                await repository.let_go(connection, taken)
            raise
        except (Failed, TimeoutError) as error:
            await self._failed(taken, error)
        else:
            await self._keep(taken, download)
        return True

    async def _copy(self, taken: Taken) -> Download:
        key = key_of(taken.job_id, taken.completed_at)
        download: Download | None = None
        try:
            download = await Download.open(self.files, taken.video_url, max_bytes=self.settings.custody_max_bytes)
            await self.store.put(key, download.chunks())
            _check_whole(await self.store.size(key), download.size)
        except NotTaken as error:
            raise Failed(error.outcome, error) from error
        except Expired as error:
            raise Failed("gone", error) from error
        except BucketAway as error:
            raise Failed("bucket", error) from error
        except Unavailable as error:
            raise Failed("host", error) from error
        finally:
            if download:
                await download.close()
        return download

    async def _keep(self, taken: Taken, download: Download) -> None:
        async with self.db.transaction() as tx:
            await jobs.lock_job(tx, taken.job_id)
            is_ours = await repository.keep(
                tx,
                taken,
                size=download.size,
                sha256=download.sha256,
                days=self.settings.custody_retention_days,
                link=self.settings.new_video_link(taken.job_id),
            )
            if is_ours:
                await jobs.note(tx, taken.job_id, step="video_kept", by=BY, reason=f"{download.size} bytes")
        if is_ours:
            metrics.custody_copies.labels("kept").inc()
            metrics.custody_bytes.inc(download.size)
            log.info("video_kept", job_id=str(taken.job_id), bytes=download.size)
            return
        metrics.custody_copies.labels("too_late").inc()
        await self._tidy(taken)

    async def _tidy(self, taken: Taken) -> None:
        """Remove what a copy of a video that is over may have brought, unless another is to copy or to remove it."""
        async with self.db.connection() as connection:
            is_over = await repository.is_over(connection, taken.job_id)
        if is_over:
            await self.store.delete(key_of(taken.job_id, taken.completed_at))

    async def _failed(self, taken: Taken, error: Failed | TimeoutError) -> None:
        outcome, is_refused = (error.outcome, error.is_refused) if isinstance(error, Failed) else ("timeout", False)
        words = str(error) or f"not copied within {self.settings.custody_copy_seconds * _WORKS:.0f} s"
        metrics.custody_copies.labels(outcome).inc()
        async with self.db.connection() as connection:
            state = await repository.put_off(connection, taken, error=words, refused=is_refused)
        log.warning(
            "video_not_copied",
            job_id=str(taken.job_id),
            outcome=outcome,
            error=words,
            attempt=taken.attempts,
            state=state,
        )
        if state in {None, "failed"}:  # nobody comes back to it
            await self._tidy(taken)


def _check_whole(there: int | None, sent: int) -> None:
    if there != sent:
        raise BucketAway(f"the bucket has {there} of {sent} bytes")
