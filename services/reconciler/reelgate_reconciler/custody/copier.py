"""The copy: take a video that is due, bring it from Kie.ai's host into the bucket, say so. And what ends it."""

import asyncio
import hashlib
from dataclasses import dataclass

import structlog

from reelgate_common import jobs, metrics
from reelgate_common.custody.store import BucketAway, Store, key_of
from reelgate_common.db import Database
from reelgate_common.domain.errors import Expired, Unavailable
from reelgate_common.video_files import VideoFiles
from reelgate_reconciler.custody import repository
from reelgate_reconciler.custody.download import Download, NotTaken, check_magic
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
class InBucket:
    """A video that is in the bucket, whole."""

    size: int
    sha256: bytes


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
                copy = await self._bring(taken)
        except asyncio.CancelledError:
            async with self.db.connection() as connection:
                await repository.let_go(connection, taken)
            raise
        except (Failed, TimeoutError) as error:
            await self._failed(taken, error)
        else:
            await self._keep(taken, copy)
        return True

    async def _bring(self, taken: Taken) -> InBucket:
        """The video in the bucket: brought now or, when Kie.ai does not give it, by an earlier try.

        That one may have died, or not heard that it was done; or it is forgotten in a backup that was restored.
        """
        try:
            return await self._copy(taken)
        except Failed as error:
            if not error.is_refused:
                raise
            if found := await self._find(taken):
                return found
            raise

    async def _find(self, taken: Taken) -> InBucket | None:
        """What is in the bucket already. A file there is whole: it appears at the end of a copy or not at all."""
        key, head, size, read = key_of(taken.job_id), b"", 0, hashlib.sha256()
        try:
            there = await self.store.size(key)
            if not there:
                return None
            async for chunk in await self.store.read(key, 0, there - 1):
                head = head or chunk
                size += len(chunk)
                read.update(chunk)
            check_magic(head)
            _check_whole(there, size)
        except (NotTaken, Expired):
            return None
        except BucketAway as error:
            raise Failed("bucket", error) from error
        log.info("video_found", job_id=str(taken.job_id), bytes=size)
        return InBucket(size, read.digest())

    async def _copy(self, taken: Taken) -> InBucket:
        key = key_of(taken.job_id)
        download: Download | None = None
        try:
            _check_age(taken)
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
        return InBucket(download.size, download.sha256)

    async def _keep(self, taken: Taken, copy: InBucket) -> None:
        async with self.db.transaction() as tx:
            await jobs.lock_job(tx, taken.job_id)
            is_ours = await repository.keep(
                tx,
                taken,
                size=copy.size,
                sha256=copy.sha256,
                days=self.settings.custody_retention_days,
                link=self.settings.new_video_link(taken.job_id),
            )
            if is_ours:
                await jobs.note(tx, taken.job_id, step="video_kept", by=BY, reason=f"{copy.size} bytes")
        if is_ours:
            metrics.custody_copies.labels("kept").inc()
            metrics.custody_bytes.inc(copy.size)
            log.info("video_kept", job_id=str(taken.job_id), bytes=copy.size)
            return
        metrics.custody_copies.labels("too_late").inc()
        await self._tidy(taken)

    async def _tidy(self, taken: Taken) -> None:
        """Remove what a copy of a deleted video may have brought after its file was removed."""
        async with self.db.connection() as connection:
            is_deleted = await repository.is_deleted(connection, taken.job_id)
        if is_deleted:
            await self.store.delete(key_of(taken.job_id))

    async def _failed(self, taken: Taken, error: Failed | TimeoutError) -> None:
        if taken.is_too_old and isinstance(error, Failed) and error.is_refused:
            await self._give_up(taken)
            return
        outcome = error.outcome if isinstance(error, Failed) else "timeout"
        words = str(error) or f"not copied within {self.settings.custody_copy_seconds * _WORKS:.0f} s"
        metrics.custody_copies.labels(outcome).inc()
        async with self.db.connection() as connection:
            is_ours = await repository.put_off(connection, taken, error=words)
        log.warning("video_not_copied", job_id=str(taken.job_id), outcome=outcome, error=words, attempt=taken.attempts)
        if not is_ours:
            await self._tidy(taken)

    async def _give_up(self, taken: Taken) -> None:
        async with self.db.connection() as connection:
            is_ours = await repository.give_up(connection, taken)
        if not is_ours:
            await self._tidy(taken)
            return
        metrics.custody_copies.labels("given_up").inc()
        log.error("video_given_up", job_id=str(taken.job_id))


def _check_age(taken: Taken) -> None:
    if taken.is_too_old:
        raise Expired("Kie.ai keeps it no longer")


def _check_whole(there: int | None, sent: int) -> None:
    if there != sent:
        raise BucketAway(f"the bucket has {there} of {sent} bytes")
