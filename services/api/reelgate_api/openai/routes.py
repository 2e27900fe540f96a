"""HTTP in: OpenAI's paths."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, HTTPException, Path, Query, Request, Response

from reelgate_api.custody.passing import FILE, AskedDep, Passing, passing
from reelgate_api.dependencies import CallerDep, IdempotencyKey, Parts, PartsDep
from reelgate_api.handlers import parse_uuid
from reelgate_api.limits.headers import headers as rate_limit_headers
from reelgate_api.openai import fields, handlers
from reelgate_api.openai.errors import responses
from reelgate_api.openai.fields import Fields
from reelgate_api.openai.handlers import Attempt
from reelgate_api.openai.schemas import CREATE_BODY, Video, VideoDeleted, VideoList, parse
from reelgate_api.settings import Settings
from reelgate_common.domain.errors import InvalidInput, Unavailable
from reelgate_common.domain.job import Job

PATH = "/v1/videos"
router = APIRouter(prefix=PATH, tags=["openai"])

_POLL = {"openai-poll-after-ms": "2000"}
_READ_SECONDS = 60  # a slow sender holds one of the few places
_CLIENT_GONE = 499  # nobody reads it

VideoId = Annotated[
    str, Path(description="The video's id: the job's.", examples=["01890a5d-ac96-774b-bcce-b302099a8057"])
]


async def _now() -> float:
    return time.monotonic()


async def _retry_count(
    x_stainless_retry_count: Annotated[
        str, Header(description="How often OpenAI's client sent this request before.", examples=["1"])
    ] = "0",
) -> int:
    """How often the client sent the request before; OpenAI's clients say it with each request."""
    count = x_stainless_retry_count
    return int(count) if count.isascii() and count.isdigit() and len(count) < 5 else 0


Arrived = Annotated[float, Depends(_now)]
RetryCount = Annotated[int, Depends(_retry_count)]


def _view(job: Job) -> Video:
    return Video.of(job, now=datetime.now(UTC))


def _only(wallets: tuple[str, ...] | None) -> str | None:
    return wallets[0] if wallets and len(set(wallets)) == 1 else None


@asynccontextmanager
async def _place(request: Request, parts: Parts) -> AsyncIterator[None]:
    """One of the few places for a body as large as an image; others need none."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) <= parts.settings.max_body_bytes:
        yield
        return
    if parts.image_places.locked():
        raise Unavailable("all places for images are taken")
    async with parts.image_places:
        yield


async def _read(request: Request, settings: Settings) -> Fields:
    try:
        async with asyncio.timeout(_READ_SECONDS):
            return await fields.read(request, settings)
    except TimeoutError:
        raise HTTPException(408, f"The body did not arrive within {_READ_SECONDS} s") from None


@router.post(
    "",
    operation_id="openai_create_video",
    response_model=Video,
    responses=responses(400, 401, 402, 403, 408, 409, 413, 422, 503),
    openapi_extra=CREATE_BODY,
)
async def create(
    *,
    arrived: Arrived,  # first: before anything is waited for
    request: Request,
    key: IdempotencyKey,
    retry: RetryCount,
    caller: CallerDep,
    parts: PartsDep,
    response: Response,
) -> Any:
    """Ask for a video: stored, charged and queued. A retry that OpenAI's clients send by themselves makes no second."""
    settings = parts.settings
    async with _place(request, parts):
        asked = parse(await _read(request, settings), only_wallet=_only(caller.wallets))
        wanted = asked.to_request(reference_limit=settings.kie_reference_image_limit, file_host=settings.file_endpoint)
        request_hash = handlers.hash_request(wanted, asked.file)
        if asked.file is not None:
            wanted = await handlers.hand_over(
                wanted, asked.file, max_bytes=settings.max_image_bytes, caller=caller, kie=parts.kie
            )
    if await request.is_disconnected():
        return Response(status_code=_CLIENT_GONE)  # its retry may be here already
    accepted = await handlers.create(
        wanted,
        Attempt(retry=retry, arrived=arrived),
        request_hash=request_hash,
        key=key,
        caller=caller,
        db=parts.db,
        acceptor=parts.acceptor,
    )
    response.headers.update(_POLL | rate_limit_headers(accepted.quotas))
    if accepted.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return _view(await handlers.get(str(accepted.job_id), caller=caller, db=parts.db))


@router.get("", operation_id="openai_list_videos", responses=responses(400, 401, 403, 503))
async def list_videos(
    caller: CallerDep,
    parts: PartsDep,
    after: Annotated[
        str | None, Query(description="last_id of the page before.", examples=["01890a5d-ac96-774b-bcce-b302099a8057"])
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="At most so many.", examples=[20])] = 20,
    order: Annotated[Literal["asc", "desc"], Query(description="desc: the newest first.")] = "desc",
) -> VideoList:
    """The caller's videos, newest first unless told otherwise."""
    page = await handlers.list_videos(
        after=parse_uuid(after, "after") if after else None,
        newest_first=order == "desc",
        limit=limit,
        caller=caller,
        db=parts.db,
    )
    data = [_view(job) for job in page.jobs]
    ends = (data[0].id, data[-1].id) if data else (None, None)
    return VideoList(data=data, first_id=ends[0], last_id=ends[1], has_more=page.has_more)


@router.get("/{id}", operation_id="openai_get_video", responses=responses(401, 403, 404, 503))
async def retrieve(id: VideoId, caller: CallerDep, parts: PartsDep, response: Response) -> Video:  # noqa: A002
    """A video as it stands."""
    job = await handlers.get(id, caller=caller, db=parts.db)
    if not job.status.is_final:
        response.headers.update(_POLL)
    return _view(job)


@router.delete("/{id}", operation_id="openai_delete_video", responses=responses(401, 403, 404, 409, 503))
async def delete(id: VideoId, retry: RetryCount, caller: CallerDep, parts: PartsDep) -> VideoDeleted:  # noqa: A002
    """Delete a finished video for good, and show it no more under /v1. The job, its charge and its ledger stay."""
    job_id = await handlers.delete(id, is_retry=retry > 0, caller=caller, db=parts.db)
    return VideoDeleted(id=str(job_id))


@router.get(
    "/{id}/content",
    operation_id="openai_download_video",
    status_code=200,
    response_class=Passing,
    responses=responses(400, 401, 403, 404, 409, 410, 416, 429, 503) | FILE,
)
async def download(
    *,
    id: VideoId,  # noqa: A002
    asked: AskedDep,
    caller: CallerDep,
    parts: PartsDep,
    variant: Annotated[str, Query(description="Always video.", examples=["video"])] = "video",
) -> Response:
    """The file of a completed video, passed on as it comes: from the operator's bucket, or from Kie.ai."""
    if variant != "video":
        raise InvalidInput("variant", "variant must be video: there is no other")
    job = await handlers.get(id, caller=caller, db=parts.db)
    return await passing(await parts.files.fetch(job, headers=asked))
