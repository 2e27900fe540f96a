"""One video on its way out of Kie.ai's host: checked as it comes, and taken up again where the line broke."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from typing import Self

import structlog

from reelgate_common.domain.errors import Unavailable
from reelgate_common.video_files import VideoFile, VideoFiles

log = structlog.get_logger(__name__)

# A host that was not told what it holds says octet-stream, or nothing: the bytes decide then.
_KINDS = re.compile(r"(video/.*|(application|binary)/octet-stream)?", re.IGNORECASE)
_HEAD = 8  # every MP4 begins with four bytes of length and `ftyp`
_PART = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})")
_BREAKS = 3  # in a row that brought nothing new
_PAUSE_SECONDS = 1.0  # after such a break; a line that broke while it worked is taken up at once


class NotTaken(Exception):
    """What the host gives is not a video that we keep; `outcome` names why."""

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


class Changed(Unavailable):
    """The video cannot be gone on with: it has to be fetched anew."""


class Download:
    """The bytes of one video. Once `chunks` has ended, `size` and `sha256` are those of the whole."""

    def __init__(self, file: VideoFile, files: VideoFiles, url: str, *, max_bytes: int) -> None:
        self._file, self._files, self._url, self._max_bytes = file, files, url, max_bytes
        self._total = _number(file.headers.get("content-length"))
        self._same = _validator(file)
        self._is_closed = False
        self._hash = hashlib.sha256()
        self.size = 0

    @classmethod
    async def open(cls, files: VideoFiles, url: str, *, max_bytes: int) -> Self:
        """Ask for the video; NotTaken, Expired or Unavailable when it is not to be had. Whoever opens it closes it."""
        download = cls(await files.fetch(url, headers={}), files, url, max_bytes=max_bytes)
        try:
            download._check_head()
        except NotTaken:
            await download.close()
            raise
        return download

    @property
    def sha256(self) -> bytes:
        """Of what came so far."""
        return self._hash.digest()

    async def close(self) -> None:
        """Let go of the line, also of one that is being read."""
        self._is_closed = True
        await self._file.close()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The video, from its first byte to its last; NotTaken or Unavailable when that cannot be."""
        head = b""
        async for chunk in self._unbroken():
            if self.size < _HEAD:
                head += chunk
            self._count(chunk)
            if self.size < _HEAD:
                continue
            if head:
                check_magic(head)
            yield head or chunk
            head = b""
        if self.size < _HEAD:
            check_magic(head)

    async def _unbroken(self) -> AsyncIterator[bytes]:
        breaks, is_broken = 0, False
        while True:
            try:
                if is_broken:
                    await self._take_up(pause=_PAUSE_SECONDS * (breaks - 1))
                async for chunk in self._file.chunks():
                    breaks = 0
                    yield chunk
                self._check_whole()
            except Changed:
                raise
            except Unavailable as error:
                if self._is_closed or self._same is None or breaks == _BREAKS:
                    raise
                log.info("download_broke_off", at=self.size, error=str(error))
                breaks, is_broken = breaks + 1, True
            else:
                return

    async def _take_up(self, *, pause: float) -> None:
        """Go on where the line broke, if the host has the same file still."""
        await self._file.close()
        await asyncio.sleep(pause)
        asked = {"Range": f"bytes={self.size}-", "If-Range": self._same or ""}
        self._file = await self._files.fetch(self._url, headers=asked)
        found = _PART.fullmatch(self._file.headers.get("content-range", ""))
        if self._file.status != 206 or found is None or int(found[1]) != self.size:
            raise Changed("the video is another now, or its host cannot go on where it broke off")
        self._total = int(found[2])

    def _check_whole(self) -> None:
        if self._total not in {None, self.size}:
            raise Unavailable(f"the video ended after {self.size} of {self._total} bytes")

    def _count(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self._hash.update(chunk)
        if self.size > self._max_bytes:
            raise self._too_large()

    def _check_head(self) -> None:
        if self._file.status != 200:
            raise Unavailable(f"the video's host answered {self._file.status}")
        if self._total is not None and self._total > self._max_bytes:
            raise self._too_large()
        kind = self._file.headers.get("content-type", "")
        if not _KINDS.fullmatch(kind.partition(";")[0].strip()):
            raise NotTaken("not_a_video", f"its type is {kind}")

    def _too_large(self) -> NotTaken:
        return NotTaken("too_large", f"it is larger than CUSTODY_MAX_BYTES, which is {self._max_bytes}")


def check_magic(head: bytes) -> None:
    """NotTaken unless a video begins so."""
    if head[4:_HEAD] != b"ftyp":
        raise NotTaken("not_a_video", "its first bytes are not those of an MP4")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _validator(file: VideoFile) -> str | None:
    """What makes a continuation safe: a strong ETag, else the date."""
    etag = file.headers.get("etag", "")
    return etag if etag.startswith('"') else file.headers.get("last-modified")
