"""The vendor's file host: every finished video is the same short clip."""

import re
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import FileResponse, PlainTextResponse, Response

from reelgate_simulator.scenarios import SUCCESS
from reelgate_simulator.simulator import Simulator
from reelgate_simulator.vendor_routes import simulator_of

CLIP = Path(__file__).parent / "media" / "clip.mp4"
_NAME = re.compile(r"([0-9a-f]{32})(?:-[0-9a-z]+)?\.mp4")
router = APIRouter()


@router.api_route("/media/{name}", methods=["GET", "HEAD"])
async def media(name: str, simulator: Annotated[Simulator, Depends(simulator_of)]) -> Response:
    """Serve a video, whole or by range; files outlive the memory of the tasks, as at the vendor."""
    match = _NAME.fullmatch(name)
    task = simulator.tasks.get(match[1]) if match else None
    if match is None or (task and task.flag != SUCCESS.flag):
        return PlainTextResponse("404 page not found", 404)
    return FileResponse(CLIP, media_type="video/mp4")
