"""A file as an answer, passed on as it comes."""

import asyncio
import re
from typing import Annotated, Any

import structlog
from fastapi import Depends, Header, HTTPException
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from reelgate_api.custody.handlers import Content
from reelgate_common.domain.errors import Unavailable

log = structlog.get_logger(__name__)

# A reader who is slower than this is cut off, so that his place is free: on average over all that he asked for. A
# player that paused asks for the rest when it goes on.
_FIRST_SECONDS = 60.0
_BYTES_A_SECOND = 32 * 1024
_UNTOLD_BYTES = 100 * 1024 * 1024  # taken for the length of what does not tell it

_PASSED_ON = ("accept-ranges", "content-length", "content-range", "etag", "last-modified")
# Several would be an answer in parts; a number too long for any file is none.
_ONE_RANGE = re.compile(r"bytes=(\d{1,18}-\d{0,18}|-\d{1,18})")

FILE: dict[int | str, dict[str, Any]] = {  # for a route's `responses`
    status: {"description": "The file", "content": {"video/mp4": {}}} for status in (200, 206)
}


async def get_asked(
    range: Annotated[  # noqa: A002
        str | None, Header(description="Which bytes of it.", examples=["bytes=0-1023"])
    ] = None,
    if_range: Annotated[
        str | None, Header(description="The part, if the file is still this one; else all of it.", examples=['"one"'])
    ] = None,
) -> dict[str, str]:
    """The headers that ask for a part; what is not understood asks for the whole."""
    if not range or not _ONE_RANGE.fullmatch(range):
        return {}
    return {"Range": range} | ({"If-Range": if_range} if if_range else {})


AskedDep = Annotated[dict[str, str], Depends(get_asked)]


class Passing(StreamingResponse):
    """The source is let go of however this answer ends."""

    def __init__(self, source: Content) -> None:
        super().__init__(source.chunks(), source.status, _headers(source), media_type="video/mp4")
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send head and body."""
        try:
            async with asyncio.timeout(_longest_seconds(self._source)):
                await super().__call__(scope, receive, send)
        # Some of it is out: the server closes the connection of an unfinished answer.
        except Unavailable as error:
            log.warning("video_broke_off", error=str(error))
        except TimeoutError:
            log.info("download_too_slow")
        finally:
            await self._source.close()


async def passing(source: Content) -> Response:
    """The answer; 416 when the file has no such part."""
    if source.status == 416:
        await source.close()
        size = source.headers.get("content-range")
        raise HTTPException(416, "The video has no such bytes", headers={"Content-Range": size} if size else None)
    return Passing(source)


async def head_of(source: Content) -> Response:
    """What GET would tell, without the file."""
    await source.close()
    return Response(None, source.status, _headers(source), media_type="video/mp4")


def _longest_seconds(source: Content) -> float:
    return _FIRST_SECONDS + int(source.headers.get("content-length", _UNTOLD_BYTES)) / _BYTES_A_SECOND


def _headers(source: Content) -> dict[str, str]:
    return {name: source.headers[name] for name in _PASSED_ON if name in source.headers}
