"""What a finished task can be taken further to: 1080p, 4K, a longer clip; with the vendor's odd codes."""

import asyncio
from typing import Any, Final

from reelgate_simulator import validation
from reelgate_simulator.callbacks import Letter
from reelgate_simulator.envelope import Refusal
from reelgate_simulator.pricing import UPGRADE_4K, UPGRADE_1080P
from reelgate_simulator.scenarios import SUCCESS
from reelgate_simulator.simulator import Simulator
from reelgate_simulator.tasks import Task

EXTEND_MODELS: Final = {"fast": "veo3_fast", "quality": "veo3", "lite": "veo3_lite"}
EXTENDED: Final = "Veo3.1 video extension successful."
_1080P_PROCESSING: Final = "1080P is processing. It should be ready in 1-2 minutes. Please check back shortly."
_4K_PROCESSING: Final = "4k is processing. It should be ready in 5-10 minutes. Please check back shortly."


def finished(simulator: Simulator, task_id: Any) -> Task:
    """Return a task that has a video, or refuse."""
    task = simulator.tasks.get(task_id) if isinstance(task_id, str) else None
    if task is None:
        raise Refusal(422, "Record does not exist")
    if task.flag != SUCCESS.flag:
        raise Refusal(422, "record status is not success")
    return task


def get_1080p(simulator: Simulator, task: Task) -> dict[str, Any]:
    """Return the URL once it is ready; the first call starts the work, each one before the end is refused."""
    ready_at = task.upgrades.get("1080p")
    if ready_at is None:
        _start(simulator, task, "1080p", UPGRADE_1080P)
        raise Refusal(400, _1080P_PROCESSING)
    if ready_at > asyncio.get_running_loop().time():
        raise Refusal(422, "Records are being generated")
    return {"resultUrl": _url(simulator, task, "1080p")}


def get_4k(simulator: Simulator, task: Task, callback_url: str) -> dict[str, Any]:
    """Start the work at the first call; any later call is a 422, also the one that brings the URLs."""
    ready_at = task.upgrades.get("4k")
    nothing = {"taskId": task.id, "resultUrls": None, "imageUrls": None}
    if ready_at is None:
        _start(simulator, task, "4k", UPGRADE_4K)
        if callback_url:
            timer = asyncio.get_running_loop().call_at(
                task.upgrades["4k"], _call_back_4k, simulator, task, callback_url
            )
            task.timers.append(timer)
        return nothing
    if ready_at > asyncio.get_running_loop().time():
        raise Refusal(422, _4K_PROCESSING, data=nothing)
    raise Refusal(422, "The video has been generated successfully", data=nothing | _urls_4k(simulator, task))


def normalise_extend(simulator: Simulator, body: dict[str, Any]) -> dict[str, Any]:
    """Return an extend request as a new task's parameters, or refuse it."""
    source = finished(simulator, body.get("taskId"))
    if "1080p" in source.upgrades:
        raise Refusal(422, "A video upgraded to 1080p can not be extended.")
    model = "fast" if body.get("model") is None else body["model"]
    if not isinstance(model, str) or model not in EXTEND_MODELS:
        raise Refusal(422, f"model is not supported, it must be one of: {', '.join(EXTEND_MODELS)}.")
    asked = ("prompt", "seeds", "watermark", "callBackUrl")
    fields = {name: body[name] for name in asked if name in body}
    fields |= {"model": EXTEND_MODELS[model], "aspect_ratio": source.params["aspectRatio"]}
    params = validation.normalise(fields, reference_image_limit=0)
    return params | {"taskId": source.id}


def _start(simulator: Simulator, task: Task, kind: str, price: float) -> None:
    simulator.charge(price)
    task.upgrades[kind] = asyncio.get_running_loop().time() + simulator.config.video_seconds


def _url(simulator: Simulator, task: Task, kind: str) -> str:
    return f"{simulator.config.public_url}/media/{task.id}-{kind}.mp4"


def _urls_4k(simulator: Simulator, task: Task) -> dict[str, Any]:
    return {"resultUrls": [_url(simulator, task, "4k")], "imageUrls": []}


def _call_back_4k(simulator: Simulator, task: Task, url: str) -> None:
    data = {"taskId": task.id, "creditsConsumed": UPGRADE_4K, "info": _urls_4k(simulator, task)}
    body = {"code": 200, "msg": "4K Video generated successfully.", "data": data}
    simulator.send(Letter(url, task.id, body, task.behaviour.signature))
