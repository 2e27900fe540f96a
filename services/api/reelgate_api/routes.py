"""HTTP in: parse, hand to a handler, answer."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from reelgate_api import further, handlers
from reelgate_api.dependencies import (
    CallerDep,
    IdempotencyKey,
    JobId,
    Parts,
    PartsDep,
    check_cron_secret,
    check_idempotency_key,
    find_caller,
)
from reelgate_api.direct import Answer, Asked, DirectRoute, directly
from reelgate_api.documented import JOB_MADE, answers
from reelgate_api.jobs import handlers as job_handlers
from reelgate_api.limits.headers import headers as rate_limit_headers
from reelgate_api.live import handlers as live
from reelgate_api.problems import responses
from reelgate_api.schemas import ExtendBody, GenerateBody, ManualCallbackBody, UpgradeBody
from reelgate_api.views import Accepted, Status, Timeline
from reelgate_common import auth, republish
from reelgate_common.auth import Caller
from reelgate_common.domain.job import Job, JobStatus
from reelgate_common.domain.request import VideoRequest
from reelgate_common.views import JobEnvelope, JobView

direct = APIRouter(route_class=DirectRoute)  # what is asked for most
router = APIRouter()

CALLBACK_PATH = "/api/video/kie-ai-callback"
_CALLBACK_HEADERS = ("content-type", "x-webhook-timestamp", "x-webhook-signature")

_ONE_CRON_PASS = 500


async def _create_directly(asked: Asked) -> Answer | None:
    try:
        body = GenerateBody.model_validate_json(asked.body)
    except ValidationError:
        return None
    key = check_idempotency_key(asked.header(b"idempotency-key"))
    caller = await find_caller(asked.parts, asked.token, auth.JOBS)
    accepted, headers = await _accept(_as_request(body, asked.parts), key, caller, asked.parts)
    return Answer(202, headers, accepted.model_dump_json(exclude_none=True).encode())


@direct.post(
    "/api/video/generate",
    status_code=202,
    response_model_exclude_none=True,
    operation_id="create_video",
    tags=["videos"],
    responses=answers(202, *JOB_MADE) | responses(400, 401, 402, 403, 409, 413, 422, 429, 503),
)
@directly(_create_directly)
async def create_video(
    body: GenerateBody, key: IdempotencyKey, caller: CallerDep, parts: PartsDep, response: Response
) -> Accepted:
    """Accept a job: 202 means stored, charged and queued, not yet sent."""
    accepted, headers = await _accept(_as_request(body, parts), key, caller, parts)
    response.headers.update(headers)
    return accepted


def _as_request(body: GenerateBody, parts: Parts) -> VideoRequest:
    settings = parts.settings
    return body.to_request(reference_limit=settings.kie_reference_image_limit, file_host=settings.file_endpoint)


async def _accept(
    request: VideoRequest, key: str | None, caller: Caller, parts: Parts
) -> tuple[Accepted, dict[str, str]]:
    accepted = await parts.acceptor.accept(request, key=key, caller=caller)
    headers = rate_limit_headers(accepted.quotas)
    headers["Location"] = f"/api/video/jobs/{accepted.job_id}"
    headers["Retry-After"] = str(parts.pace.retry_after(request.model, request.operation))
    if accepted.replayed:
        headers["Idempotent-Replayed"] = "true"
    return Accepted(job_id=accepted.job_id, degraded=parts.vendor_watch.notice), headers


@router.post(
    "/api/video/jobs/{id}/extend",
    status_code=202,
    response_model_exclude_none=True,
    operation_id="extend_video",
    tags=["videos"],
    responses=answers(202, *JOB_MADE) | responses(400, 401, 402, 403, 404, 409, 413, 422, 429, 503),
)
async def extend_video(
    *,
    id: JobId,  # noqa: A002
    body: ExtendBody,
    key: IdempotencyKey,
    caller: CallerDep,
    parts: PartsDep,
    response: Response,
) -> Accepted:
    """Continue a finished video: a job of its own, whose video is the whole longer clip. Not after a 1080p upgrade."""
    source = await handlers.get(handlers.parse_uuid(id, "id"), caller=caller, db=parts.db)
    request = further.extension(source, body.model_dump(exclude_none=True))
    accepted, headers = await _accept(request, key, caller, parts)
    response.headers.update(headers)
    return accepted


@router.post(
    "/api/video/jobs/{id}/upgrade",
    status_code=202,
    response_model_exclude_none=True,
    operation_id="upgrade_video",
    tags=["videos"],
    responses=answers(202, *JOB_MADE) | responses(400, 401, 402, 403, 404, 409, 413, 422, 429, 503),
)
async def upgrade_video(
    *,
    id: JobId,  # noqa: A002
    body: UpgradeBody,
    key: IdempotencyKey,
    caller: CallerDep,
    parts: PartsDep,
    response: Response,
) -> Accepted:
    """Have a finished video in 1080p or 4K: a job of its own, once for each resolution."""
    source = await handlers.get(handlers.parse_uuid(id, "id"), caller=caller, db=parts.db)
    request = further.upgrade(source, body.model_dump(exclude_none=True))
    accepted, headers = await _accept(request, key, caller, parts)
    response.headers.update(headers)
    return accepted


@router.get("/api/status", operation_id="get_status", tags=["status"])
async def get_status(parts: PartsDep) -> Status:
    """Whether accepted jobs are sent at once, or wait for Kie.ai. Known to within a second or two; for anyone."""
    trouble = parts.vendor_watch.trouble
    if trouble is None:
        return Status(status="ok", reason=None, since=None)
    return Status(status="degraded", reason=parts.vendor_watch.notice, since=trouble.since)


async def _get_directly(asked: Asked) -> Answer | None:
    id, if_none_match = asked.path_params["id"], asked.header(b"if-none-match")  # noqa: A001 -- the name in the path
    caller = await find_caller(asked.parts, asked.token, auth.READ)
    job = await _find(id, caller, asked.parts)
    headers, found = await _show(job, if_none_match, asked.parts)
    return Answer(200, headers, found.model_dump_json().encode()) if found else Answer(304, headers, None)


@direct.get(
    "/api/video/jobs/{id}",
    response_model=JobEnvelope,
    operation_id="get_video",
    tags=["videos"],
    responses=answers(200, "ETag", "Retry-After") | responses(304, 400, 401, 403, 404, 503),
)
@directly(_get_directly)
async def get_video(
    *,
    id: JobId,  # noqa: A002 -- the name in the path
    caller: CallerDep,
    parts: PartsDep,
    response: Response,
    if_none_match: Annotated[str | None, Header(description="An ETag: unchanged is 304.", examples=['"3"'])] = None,
    wait: Annotated[
        int,
        Query(
            ge=0, le=60, description="Seconds to wait for a change: since If-None-Match, or since now.", examples=[30]
        ),
    ] = 0,
) -> Any:
    """A job as it stands. Poll with the ETag, as often as Retry-After says, until status is completed or failed."""
    job = await _find(id, caller, parts)
    if wait and (if_none_match is None or _is_named(job, if_none_match)):
        job = await live.until_changed(job, seconds=wait, hub=parts.hub)
    headers, found = await _show(job, if_none_match, parts)
    if found is None:
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return found


async def _find(id: str, caller: Caller, parts: Parts) -> Job:  # noqa: A002
    return await parts.lookup.get(handlers.parse_uuid(id, "id"), caller=caller)


async def _show(job: Job, if_none_match: str | None, parts: Parts) -> tuple[dict[str, str], JobEnvelope | None]:
    """The headers of the answer, and its body; None when the caller has it."""
    headers = {"ETag": _etag(job)}  # not of the queue's position, which is a hint and changes with every send
    position = await job_handlers.position(job, db=parts.db)
    if not job.status.is_final:
        headers["Retry-After"] = str(parts.pace.retry_after_of(job, position=position))
    if if_none_match and _is_named(job, if_none_match):
        return headers, None
    return headers, JobEnvelope(job=JobView.of(job, queue_position=position))


def _etag(job: Job) -> str:
    return f'"{job.version}"'


def _is_named(job: Job, if_none_match: str) -> bool:
    return bool({_etag(job), "*"} & {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")})


def _envelope(job: Job) -> JobEnvelope:
    return JobEnvelope(job=JobView.of(job))


@router.post(
    "/api/video/jobs/{id}/cancel",
    operation_id="cancel_video",
    tags=["videos"],
    responses=responses(400, 401, 403, 404, 409, 503),
)
async def cancel_video(id: JobId, caller: CallerDep, parts: PartsDep) -> JobEnvelope:  # noqa: A002
    """Take a job back before it is sent; its charge is returned.

    While a send is under way the wish is kept, and honoured if the send turns out not to have happened.
    """
    job = await handlers.cancel(handlers.parse_uuid(id, "id"), caller=caller, db=parts.db, relay=parts.relay)
    return _envelope(job)


@router.get(
    "/api/video/jobs/{id}/timeline",
    operation_id="get_video_timeline",
    tags=["videos"],
    responses=responses(400, 401, 403, 404, 503),
)
async def get_video_timeline(id: JobId, caller: CallerDep, parts: PartsDep) -> Timeline:  # noqa: A002
    """Everything that happened to a job: what, when, which attempt, who decided and why."""
    events = await handlers.timeline(handlers.parse_uuid(id, "id"), caller=caller, db=parts.db)
    return Timeline.model_validate({"events": events})


@router.post(
    "/api/video/manual-callback",
    operation_id="ask_kie",
    tags=["videos"],
    responses=responses(400, 401, 403, 404, 413, 503),
)
async def ask_kie(body: ManualCallbackBody, caller: CallerDep, parts: PartsDep) -> JSONResponse:
    """Ask Kie.ai about a task now, and settle its job by the answer."""
    job_id = handlers.parse_uuid(body.jobId, "jobId") if body.jobId else None
    asked = await handlers.ask(body.taskId, job_id, caller=caller, db=parts.db, verifier=parts.verifier)
    if asked.job.status is JobStatus.COMPLETED:
        return JSONResponse({"success": True, "videoUrl": asked.job.shown_video_url})
    if asked.job.status.is_final:
        return JSONResponse({"success": False, "error": asked.job.error_message})
    if unreadable := handlers.not_readable(asked):
        return JSONResponse({"error": "Failed to check task status", "details": unreadable.why}, status_code=400)
    return JSONResponse({"message": "Task still processing", "successFlag": 0})


@router.get(
    "/api/cron/process-video-jobs",
    dependencies=[Depends(check_cron_secret)],
    operation_id="process_video_jobs",
    tags=["operations"],
    responses=responses(401, 503),
)
async def process_video_jobs(parts: PartsDep) -> dict[str, int]:
    """Queue again what waits and lost its message. Sending needs no cron: this only heals."""
    processed = await republish.run_once(parts.db, parts.bus, by="api", limit=_ONE_CRON_PASS)
    parts.relay.wake()
    return {"processed": processed}


@router.api_route(CALLBACK_PATH, methods=["GET", "POST"], include_in_schema=False)
async def callback(request: Request, parts: PartsDep) -> Response:
    """Hand Kie.ai's webhook on to the callback service, so that one origin serves both."""
    if parts.callback_service is None:
        return JSONResponse({"error": "CALLBACK_SERVICE_URL is not set"}, status_code=503)
    answer = await parts.callback_service.forward(
        request.method,
        CALLBACK_PATH,
        query=request.url.query,
        headers={name: request.headers[name] for name in _CALLBACK_HEADERS if name in request.headers},
        body=await request.body(),
    )
    kept = {name: answer.headers[name] for name in ("content-type", "retry-after") if name in answer.headers}
    return Response(answer.body, status_code=answer.status, headers=kept)
