"""Use cases about the files of videos: give one, from wherever it is; delete it."""

import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from reelgate_api import handlers
from reelgate_api.custody import repository
from reelgate_api.custody.parts import NoSuchBytes, asked_for
from reelgate_api.custody.places import Places
from reelgate_api.custody.repository import Kept
from reelgate_common.auth import Caller
from reelgate_common.custody import deletion
from reelgate_common.custody.store import Store, key_of
from reelgate_common.db import Database
from reelgate_common.domain.errors import Deleted, Expired, NotFinished, NotFound
from reelgate_common.domain.job import Job, JobStatus
from reelgate_common.video_files import VideoFiles


class Content(Protocol):
    """A file, or a part of it, whose bytes are still to come. Whoever takes it closes it."""

    @property
    def status(self) -> int:
        """200, 206 or 416."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What tells of it."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes as they come; Unavailable when they break off."""

    async def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True)
class FromBucket:
    """A file in the bucket."""

    status: int
    headers: Mapping[str, str]
    body: AsyncIterator[bytes] | None = field(default=None)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes as they come."""
        if self.body is not None:
            async for chunk in self.body:
                yield chunk

    async def close(self) -> None:
        """The line to the bucket closes with the last reference to it."""


@dataclass(frozen=True)
class InPlace:
    """A file whose reader holds a place until it is closed."""

    source: Content
    leave: Callable[[], None]

    @property
    def status(self) -> int:
        """200, 206 or 416."""
        return self.source.status

    @property
    def headers(self) -> Mapping[str, str]:
        """What tells of it."""
        return self.source.headers

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes as they come."""
        return self.source.chunks()

    async def close(self) -> None:
        """Let go of it, and of the place."""
        try:
            await self.source.close()
        finally:
            self.leave()


@dataclass(frozen=True)
class Files:
    """Where videos are: the bucket, if there is one, and Kie.ai's host."""

    db: Database
    store: Store | None
    host: VideoFiles
    places: Places

    async def fetch(self, job: Job, *, headers: dict[str, str]) -> Content:
        """The file of a completed video, or the part that the headers ask for; an error tells why there is none."""
        url = check(job)
        leave = self.places.take(job.id)
        try:
            return InPlace(await self._fetch(job, url, headers), leave)
        except BaseException:
            leave()
            raise

    async def head(self, job: Job) -> Content:
        """What tells of the file, without it where it is kept; else as `fetch`."""
        kept = await self._kept(job)
        if self.store is None or kept is None:
            return await self.fetch(job, headers={})
        check(job)
        if await self.store.size(key_of(job.id)) is None:
            raise Expired("The video's file is not in the bucket any more")
        return FromBucket(200, _about(kept) | {"content-length": str(kept.size)})

    async def _fetch(self, job: Job, url: str, headers: dict[str, str]) -> Content:
        kept = await self._kept(job)
        if self.store is None or kept is None:
            return await self.host.fetch(url, headers=headers)
        about = _about(kept)
        etag = about["etag"]
        try:
            part = asked_for(headers, size=kept.size, etag=etag)
        except NoSuchBytes:
            return FromBucket(416, {"content-range": f"bytes */{kept.size}"})
        first, last = (part.first, part.last) if part else (0, kept.size - 1)
        body = await self.store.read(key_of(job.id), first, last)
        about["content-length"] = str(last - first + 1)
        if part is None:
            return FromBucket(200, about, body)
        return FromBucket(206, about | {"content-range": f"bytes {first}-{last}/{kept.size}"}, body)

    async def sign(self, job: Job, *, seconds: int) -> str | None:
        """An address in the bucket that is good for so long; None when the file is not there, or has none."""
        check(job)
        kept = await self._kept(job) if seconds else None
        if self.store is None or kept is None:
            return None
        return await self.store.sign(key_of(job.id), seconds=seconds)

    async def _kept(self, job: Job) -> Kept | None:
        if self.store is None or job.video_kept_at is None:
            return None
        async with self.db.connection() as connection:
            return await repository.find_kept(connection, job.id)


def _about(kept: Kept) -> dict[str, str]:
    return {"etag": f'"{kept.sha256.hex()}"', "accept-ranges": "bytes"}


def check(job: Job) -> str:
    """Where Kie.ai put a completed video; an error tells why there is none."""
    if not job.status.is_final:
        raise NotFinished("The video is still being made: ask again when it is completed")
    if job.video_deleted_at:
        raise Deleted(f"The video was deleted at {job.video_deleted_at:%Y-%m-%d %H:%M} UTC")
    if job.status is not JobStatus.COMPLETED or job.video_url is None:
        raise NotFound(f"There is no video: {job.error_message}")
    return job.video_url


async def find_linked(job_id: UUID, name: str, *, db: Database) -> Job:
    """The job whose link ends so. Who has a link may see the video, as with Kie.ai's own."""
    async with db.connection() as connection:
        job = await repository.find_linked(connection, job_id)
    if job is None or not secrets.compare_digest((job.video_link or "").rpartition("/")[2].encode(), name.encode()):
        raise NotFound("Video not found")
    return job


async def delete(job_id: UUID, *, caller: Caller, db: Database) -> Job:
    """Delete the video of a completed job; the job as it is then. One that was deleted before stays so."""
    job = await handlers.get(job_id, caller=caller, db=db)
    if not job.video_deleted_at:
        check(job)
        async with db.transaction() as tx:
            await deletion.delete(tx, job_id, by="api", reason="deleted on request")
    return await handlers.get(job_id, caller=caller, db=db)
