"""The operator's bucket, or a local folder: put, read, sign, delete. The only place that knows obstore."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import UUID

from reelgate_common.domain.errors import Expired, Unavailable
from reelgate_common.ids import made_at

# Three tries within a minute; what fails then is tried again by whoever asked.
_RETRIES = {"max_retries": 2, "retry_timeout": timedelta(seconds=60)}
# Without these a request ends after 30 s, with the file that somebody reads slowly. The last one is for a bucket that
# sends nothing, and does not run while it is our reader who takes his time.
_PATIENCE = {
    "timeout": timedelta(days=1),
    "connect_timeout": timedelta(seconds=10),
    "read_timeout": timedelta(seconds=60),
}
_PART = 5 * 1024 * 1024  # the least S3 takes; a part or two is all that a copy holds in memory
_PARTS_AT_ONCE = 2
_CHUNK = 256 * 1024
# obstore's threads give back what Python lent them a little after an operation has ended. One that does while the
# interpreter ends kills the process: before Python 3.14 a thread is cut off there, which Rust does not survive.
_LET_GO_SECONDS = 0.2


class BucketAway(Unavailable):
    """The bucket cannot be reached, or does not let us in."""


def key_of(job_id: UUID) -> str:
    """Where in the bucket a video lies. By day, since folders with millions of files are slow.

    By the job's id alone: a job that a restored backup completes once more finds the file it had.
    """
    return f"{made_at(job_id):%Y/%m/%d}/{job_id}.mp4"


@dataclass(frozen=True)
class Store:
    """A bucket. Every method raises BucketAway when it does not answer as it should."""

    _bucket: Any
    _obstore: Any
    _can_sign: bool

    @classmethod
    def open(cls, url: str) -> Self:
        """The bucket of this URL; ValueError when no such place can be. Nothing is asked of it yet."""
        obstore = import_module("obstore")  # 6 MiB of memory, for those who keep videos only
        store = import_module("obstore.store")
        try:
            parts = urlsplit(url)
            if parts.scheme == "file":
                return cls(store.LocalStore(parts.path, mkdir=True), obstore, _can_sign=False)
            bucket = store.from_url(url, retry_config=_RETRIES, client_options=_client_options())
            return cls(bucket, obstore, _can_sign=True)
        except (OSError, ValueError, obstore.exceptions.BaseError) as error:
            raise ValueError(f"CUSTODY_URL: {_words(error)}") from error

    @classmethod
    @asynccontextmanager
    async def opened(cls, url: str) -> AsyncIterator[Self]:
        """The bucket of this URL for the length of the block, after which the process may end."""
        try:
            yield cls.open(url)
        finally:
            await asyncio.sleep(_LET_GO_SECONDS)

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Write a file whole or not at all; an error of `chunks` comes through as it is."""
        attributes = {"Content-Type": "video/mp4"} if self._can_sign else None  # a folder has no place for it
        try:
            await self._obstore.put_async(
                self._bucket, key, chunks, attributes=attributes, chunk_size=_PART, max_concurrency=_PARTS_AT_ONCE
            )
        except self._trouble as error:
            raise BucketAway(f"cannot write to the bucket: {_words(error)}") from error

    async def size(self, key: str) -> int | None:
        """How many bytes a file has; None when there is none."""
        try:
            return int((await self._obstore.head_async(self._bucket, key))["size"])
        except FileNotFoundError:
            return None
        except self._trouble as error:
            raise BucketAway(f"cannot look into the bucket: {_words(error)}") from error

    async def read(self, key: str, first: int, last: int) -> AsyncIterator[bytes]:
        """These bytes of a file, the last one included; Expired when it is not there."""
        try:
            found = await self._obstore.get_async(self._bucket, key, options={"range": (first, last + 1)})
        except FileNotFoundError:
            raise Expired("The video's file is not in the bucket any more") from None
        except self._trouble as error:
            raise BucketAway(f"cannot read from the bucket: {_words(error)}") from error
        return self._chunks(found)

    async def _chunks(self, found: Any) -> AsyncIterator[bytes]:
        try:
            async for chunk in found.stream(min_chunk_size=_CHUNK):
                yield bytes(chunk)
        except self._trouble as error:
            raise BucketAway(f"the video broke off: {_words(error)}") from error

    async def delete(self, key: str) -> None:
        """Remove a file; one that is not there is no error."""
        try:
            await self._obstore.delete_async(self._bucket, key)
        except FileNotFoundError:
            return
        except self._trouble as error:
            raise BucketAway(f"cannot remove it from the bucket: {_words(error)}") from error

    async def sign(self, key: str, *, seconds: int) -> str | None:
        """An address that lets anyone read a file for so long; None for a folder, which has none."""
        if not self._can_sign:
            return None
        try:
            url: str = await self._obstore.sign_async(self._bucket, "GET", key, timedelta(seconds=seconds))
        except self._trouble as error:  # the credentials may come from a server of their own
            raise BucketAway(f"cannot sign for the bucket: {_words(error)}") from error
        return url

    @property
    def _trouble(self) -> tuple[type[Exception], ...]:
        return (self._obstore.exceptions.BaseError, OSError)


def _client_options() -> dict[str, Any]:
    """How requests are made. obstore reads none of these from the environment once some are given."""
    allow_http = any(os.environ.get(f"{cloud}_ALLOW_HTTP", "").lower() == "true" for cloud in ("AWS", "AZURE"))
    return _PATIENCE | {"allow_http": allow_http}


def _words(error: Exception) -> str:
    """The first line: the others are for those who debug obstore."""
    return str(error).partition("\n")[0].strip() or type(error).__name__
