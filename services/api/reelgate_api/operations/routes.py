"""HTTP in, for operators."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from reelgate_api.dependencies import AdminDep, PartsDep
from reelgate_api.operations.schemas import DeadLetterList, Match, Matches, Overview, PauseBody, Span, Text
from reelgate_api.problems import responses
from reelgate_common.views import JobView

router = APIRouter(prefix="/api/operations", tags=["operations"])

MessageId = Annotated[
    str, Path(description="Its message_id.", examples=["01890a5d-ac96-774b-bcce-b302099a8057"], max_length=255)
]


@router.get("/overview", operation_id="get_overview", responses=responses(400, 401, 403, 503))
async def get_overview(
    _: AdminDep,
    parts: PartsDep,
    span: Annotated[
        Span, Query(description="How far back history, outcomes, latency and callbacks go.", examples=["1h"])
    ] = "1h",
) -> Overview:
    """The whole gateway at a look. It may be asked for each second: whoever asks gets the same few looks."""
    return Overview.model_validate(await parts.operations.overview(span))


@router.get("/search", operation_id="search_jobs", responses=responses(400, 401, 403, 503))
async def search_jobs(
    _: AdminDep,
    parts: PartsDep,
    q: Annotated[
        Text,
        Query(
            description="A job's id, a task id of Kie.ai, a wallet, or a caller's own reference.",
            examples=["test_wallet_123"],
        ),
    ],
) -> Matches:
    """Jobs by any of their names, exactly as it is written; of a wallet or a reference the newest 20."""
    found = await parts.operations.search(q.strip())
    return Matches(
        matches=[
            Match.model_validate({"matched": word, "task_id": job.task_id, "job": JobView.of(job)})
            for word, job in found
        ]
    )


@router.get("/dead-letters", operation_id="list_dead_letters", responses=responses(401, 403, 503))
async def list_dead_letters(_: AdminDep, parts: PartsDep) -> DeadLetterList:
    """Messages that failed every round, the oldest first. They stay where they are."""
    return DeadLetterList(messages=await parts.operations.dead_letters.listed())


@router.post(
    "/dead-letters/{id}/replay",
    status_code=204,
    operation_id="replay_dead_letter",
    responses=responses(400, 401, 403, 404, 503),
)
async def replay_dead_letter(id: MessageId, _: AdminDep, parts: PartsDep) -> None:  # noqa: A002
    """Send a message back to the queue it came from. Handlers do not mind repeats."""
    await parts.operations.replay(id)


@router.post("/pause", status_code=204, operation_id="pause_sends", responses=responses(400, 401, 403, 413, 503))
async def pause_sends(body: PauseBody, _: AdminDep, parts: PartsDep) -> None:
    """Stop all sends to Kie.ai until they are resumed. Jobs are accepted meanwhile, and wait."""
    await parts.operations.pause(body.reason)


@router.post("/resume", status_code=204, operation_id="resume_sends", responses=responses(401, 403, 503))
async def resume_sends(_: AdminDep, parts: PartsDep) -> None:
    """Let sends go on; nothing changes when they were not paused. An open breaker stays open."""
    await parts.operations.resume()
