"""HTTP in, about the files of videos."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import RedirectResponse, Response

from reelgate_api.custody import handlers
from reelgate_api.custody.passing import FILE, AskedDep, Passing, head_of, passing
from reelgate_api.dependencies import CallerDep, JobId, Parts, PartsDep
from reelgate_api.handlers import get, parse_uuid
from reelgate_api.problems import responses
from reelgate_common.domain.job import Job
from reelgate_common.settings import LINKS
from reelgate_common.views import JobEnvelope, JobView

router = APIRouter(tags=["videos"])

_CONTENT = "/api/video/jobs/{id}/content"
_LINK = LINKS + "/{id}/{name}"
_SENT_ON: dict[int | str, dict[str, Any]] = {
    302: {"description": "The file is in the bucket, at this address for a while."}
}

LinkName = Annotated[
    str, Path(description="The end of video_url.", examples=["pE2Vw9sYJ3kz0m1cQ8tRbA.mp4"], max_length=64)
]


@router.get(
    _CONTENT,
    operation_id="get_video_content",
    status_code=200,
    response_class=Passing,
    responses=responses(400, 401, 403, 404, 409, 410, 416, 429, 503) | FILE | _SENT_ON,
)
@router.head(_CONTENT, include_in_schema=False)
async def get_video_content(
    id: JobId,  # noqa: A002
    asked: AskedDep,
    caller: CallerDep,
    parts: PartsDep,
    request: Request,
) -> Response:
    """The file of a completed video, whole or in part: from the operator's bucket, or from Kie.ai until it is there."""
    job = await get(parse_uuid(id, "id"), caller=caller, db=parts.db)
    return await _content(job, asked, parts, request)


@router.delete(
    _CONTENT,
    operation_id="delete_video_content",
    responses=responses(400, 401, 403, 404, 409, 503),
)
async def delete_video_content(id: JobId, caller: CallerDep, parts: PartsDep) -> JobEnvelope:  # noqa: A002
    """Delete a completed video for good. The job, its charge and its ledger stay; Kie.ai keeps its own copy to the end.

    From the answer on nobody is given the video; from the bucket it is gone soon after.
    """
    job = await handlers.delete(parse_uuid(id, "id"), caller=caller, db=parts.db)
    return JobEnvelope(job=JobView.of(job))


@router.get(
    _LINK,
    operation_id="get_video_file",
    status_code=200,
    response_class=Passing,
    responses=responses(400, 404, 409, 410, 416, 429, 503) | FILE | _SENT_ON,
)
@router.head(_LINK, include_in_schema=False)
async def get_video_file(
    id: JobId,  # noqa: A002
    name: LinkName,
    asked: AskedDep,
    parts: PartsDep,
    request: Request,
) -> Response:
    """What `video_url` leads to where videos are kept: the file, for whoever has the link."""
    job = await handlers.find_linked(parse_uuid(id, "id"), name, db=parts.db)
    return await _content(job, asked, parts, request)


async def _content(job: Job, asked: dict[str, str], parts: Parts, request: Request) -> Response:
    if request.method == "HEAD":  # never sent on: the address is signed for GET alone
        return await head_of(await parts.files.head(job))
    if url := await parts.files.sign(job, seconds=parts.settings.custody_link_seconds):
        return RedirectResponse(url, 302, {"Cache-Control": "no-store"})
    return await passing(await parts.files.fetch(job, headers=asked))
