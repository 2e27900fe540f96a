"""HTTP in, about jobs that are there."""

from typing import Annotated

from fastapi import APIRouter, Query

from reelgate_api.dependencies import CallerDep, JobId, PartsDep
from reelgate_api.handlers import get, parse_uuid
from reelgate_api.jobs import handlers
from reelgate_api.jobs.handlers import Wanted
from reelgate_api.jobs.schemas import JobList, ListQuery, Receipt
from reelgate_api.problems import responses
from reelgate_common.views import JobView

router = APIRouter(prefix="/api/video/jobs", tags=["videos"])


@router.get("", operation_id="list_videos", responses=responses(400, 401, 403, 503))
async def list_videos(asked: Annotated[ListQuery, Query()], caller: CallerDep, parts: PartsDep) -> JobList:
    """The caller's jobs, newest first, page by page. Jobs that come meanwhile change no later page."""
    wanted = Wanted(**asked.model_dump(exclude={"limit", "cursor"}))
    page, next_cursor = await handlers.list_jobs(
        wanted, limit=asked.limit, cursor=asked.cursor, caller=caller, db=parts.db
    )
    return JobList(jobs=[JobView.of(job) for job in page], next_cursor=next_cursor)


@router.get("/{id}/receipt", operation_id="get_video_receipt", responses=responses(400, 401, 403, 404, 503))
async def get_video_receipt(id: JobId, caller: CallerDep, parts: PartsDep) -> Receipt:  # noqa: A002
    """What a job cost: every line of the ledger that is about it, and the sums."""
    job = await get(parse_uuid(id, "id"), caller=caller, db=parts.db)
    return Receipt.model_validate(await handlers.receipt(job, db=parts.db))
