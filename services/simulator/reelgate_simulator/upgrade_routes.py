"""The vendor's HTTP API beside generate: extend, upgrades, download links."""

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.requests import Request

from reelgate_simulator import links, submission, upgrades, validation
from reelgate_simulator.envelope import Refusal, success
from reelgate_simulator.vendor_routes import Admitted, Sim, counted

router = APIRouter()


@router.post("/api/v1/veo/extend")
async def extend(request: Request, simulator: Sim) -> Response:
    """Take a task that makes a finished video longer."""
    return await counted(simulator, submission.extend(simulator, request.headers, await request.body()))


@router.get("/api/v1/veo/get-1080p-video")
async def get_1080p_video(request: Request, simulator: Admitted) -> Response:
    """Start or collect the 1080p upgrade."""

    def serve() -> Response:
        task = upgrades.finished(simulator, request.query_params.get("taskId"))
        return success(upgrades.get_1080p(simulator, task))

    return submission.faulty(simulator, request, serve, is_paid=True)


@router.post("/api/v1/veo/get-4k-video")
async def get_4k_video(request: Request, simulator: Admitted) -> Response:
    """Start or collect the 4K upgrade."""
    body = submission.check_form(request.headers, validation.decode(await request.body()))

    def serve() -> Response:
        task = upgrades.finished(simulator, body.get("taskId"))
        return success(upgrades.get_4k(simulator, task, validation.callback_url(body)))

    return submission.faulty(simulator, request, serve, is_paid=True)


@router.post("/api/v1/common/download-url")
async def download_url(request: Request, simulator: Admitted) -> Response:
    """Return a link to download one of the vendor's own files by."""
    body = submission.check_form(request.headers, validation.decode(await request.body()))

    def serve() -> Response:
        url = body.get("url")
        link = links.link_to(simulator, url) if isinstance(url, str) else None
        if link is None:
            raise Refusal(422, "url is wrong")
        return success(link)

    return submission.faulty(simulator, request, serve)
