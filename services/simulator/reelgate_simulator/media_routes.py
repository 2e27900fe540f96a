"""The vendor's video host: every finished video is the same short clip."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import FileResponse, PlainTextResponse, Response
from starlette.requests import Request

from reelgate_simulator import links
from reelgate_simulator.simulator import Simulator
from reelgate_simulator.vendor_routes import simulator_of

CLIP = Path(__file__).parent / "media" / "clip.mp4"
router = APIRouter()


@router.api_route("/media/{name}", methods=["GET", "HEAD"])
async def media(name: str, request: Request, simulator: Annotated[Simulator, Depends(simulator_of)]) -> Response:
    """Serve a video, whole or by range; files outlive the memory of the tasks, as at the vendor."""
    if not links.is_good(name, request.query_params):
        return PlainTextResponse("403 Forbidden", 403)
    if not simulator.has_video(name):
        return PlainTextResponse("404 page not found", 404)
    return FileResponse(CLIP, media_type="video/mp4")
