"""What a finished task can be taken further to: 1080p, 4K, a longer clip; with the vendor's odd codes."""

import asyncio
import secrets
import time
from typing import Any, Final

from reelgate_simulator import validation
from reelgate_simulator.callbacks import Letter
from reelgate_simulator.envelope import Refusal
from reelgate_simulator.pricing import UPGRADE_4K, UPGRADE_1080P
from reelgate_simulator.scenarios import SUCCESS, Behaviour, Outcome
from reelgate_simulator.simulator import Simulator
from reelgate_simulator.tasks import Task, Upgrade

EXTEND_MODELS: Final = {"fast": "veo3_fast", "quality": "veo3", "lite": "veo3_lite"}
EXTENDED: Final = "Veo3.1 video extension successful."
_1080P_PROCESSING: Final = "1080P is processing. It should be ready in 1-2 minutes. Please check back shortly."
_4K_PROCESSING: Final = "4k is processing. It should be ready in 5-10 minutes. Please check back shortly."
_4K_DONE: Final = "4K Video generated successfully."
_4K_READY: Final = "The video has been generated successfully"
_4K_UNAVAILABLE: Final = "The 4K version of this video is unavailable. Please try a different video."

_NO_4K: Final = Outcome(3, 500, _4K_UNAVAILABLE, 500, _4K_UNAVAILABLE)


def finished(simulator: Simulator, task_id: Any) -> Task:
    """Return a task that has a video which can be taken further, or refuse. Of old ones nothing is known."""
    task = simulator.tasks.get(task_id) if isinstance(task_id, str) else None
    if task is None or task.is_older_than(simulator.config.retention_seconds):
        raise Refusal(422, "Record does not exist")
    if task.flag != SUCCESS.flag:
        raise Refusal(422, "record status is not success")
    if task.behaviour.is_fallback:
        raise Refusal(422, "Videos generated using the fallback model are not supported.")
    return task


def get_1080p(simulator: Simulator, task: Task) -> dict[str, Any]:
    """Return the URL once it is ready; the first call starts the work, each one before the end is refused."""
    upgrade = task.upgrades.get("1080p")
    if upgrade is None:
        _start(simulator, task, "1080p", UPGRADE_1080P)
        raise Refusal(400, _1080P_PROCESSING)
    _read(task, upgrade)
    if not upgrade.is_ready:
        raise Refusal(422, "Records are being generated")
    return {"resultUrl": _url(simulator, task, "1080p")}


def get_4k(simulator: Simulator, task: Task, callback_url: str) -> dict[str, Any]:
    """Start the work at the first call; any later call is a 422, also the one that brings the URLs."""
    upgrade = task.upgrades.get("4k")
    if upgrade is None:
        upgrade = _start_4k(simulator, task, callback_url)
        return _told_4k(upgrade)
    _read(task, upgrade)
    if not upgrade.is_ready:
        raise Refusal(422, _4K_PROCESSING, data=_told_4k(upgrade))
    if task.behaviour.has_no_4k:
        raise Refusal(500, _4K_UNAVAILABLE, data=_told_4k(upgrade))
    raise Refusal(422, _4K_READY, data=_told_4k(upgrade) | _urls_4k(simulator, task))


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


def _start(simulator: Simulator, task: Task, kind: str, price: float, task_id: str = "") -> Upgrade:
    simulator.charge(price)
    simulator.stats.upgrades[kind] += 1
    ready_at = asyncio.get_running_loop().time() + simulator.config.upgrade
    task.upgrades[kind] = upgrade = Upgrade(task_id or task.id, ready_at)
    return upgrade


def _start_4k(simulator: Simulator, task: Task, callback_url: str) -> Upgrade:
    work = _new_task(task) if task.behaviour.is_4k_new_task else None
    upgrade = _start(simulator, task, "4k", UPGRADE_4K, work.id if work else "")
    if work:
        simulator.tasks[work.id] = work
    task.timers.append(
        asyncio.get_running_loop().call_at(upgrade.ready_at, _end_4k, simulator, task, work, callback_url)
    )
    return upgrade


def _new_task(task: Task) -> Task:
    """Return a task of its own for the 4K work: record-info knows it, its failure is the 4K's."""
    return Task(
        id=secrets.token_hex(16),
        params=task.params | {"resolution": "4k"},
        behaviour=Behaviour(callback_copies=0),
        price=0.0,  # the upgrade itself was billed
        create_time=int(time.time()) * 1000,
        visible_from=0.0,
    )


def _read(task: Task, upgrade: Upgrade) -> None:
    upgrade.reads += 1
    if upgrade.reads <= task.behaviour.upgrade_500_reads:
        raise Refusal(500)


def _end_4k(simulator: Simulator, task: Task, work: Task | None, callback_url: str) -> None:
    failed = task.behaviour.has_no_4k
    if failed:
        simulator.credit += UPGRADE_4K
    if work:
        work.behaviour = Behaviour(outcome=_NO_4K) if failed else work.behaviour
        simulator.end(work, calls_back=False)
    if callback_url:
        task_id = task.upgrades["4k"].task_id
        simulator.send(Letter(callback_url, task_id, _callback_4k(simulator, task), task.behaviour.signature))


def _callback_4k(simulator: Simulator, task: Task) -> dict[str, Any]:
    task_id, form = task.upgrades["4k"].task_id, task.behaviour.callback_4k
    if task.behaviour.has_no_4k:
        data = None if form == "null-data" else {"taskId": task_id}
        return {"code": 500, "msg": _4K_UNAVAILABLE, "data": data}
    urls = _urls_4k(simulator, task)
    if form == "snake":
        named = {"task_id": task_id, "result_urls": urls["resultUrls"], "media_ids": [], "image_urls": []}
        return {"code": 200, "msg": _4K_DONE, "data": named}
    return {"code": 200, "msg": _4K_DONE, "data": {"taskId": task_id, "creditsConsumed": int(UPGRADE_4K), "info": urls}}


def _told_4k(upgrade: Upgrade) -> dict[str, Any]:
    return {"taskId": upgrade.task_id, "resultUrls": None, "imageUrls": None}


def _urls_4k(simulator: Simulator, task: Task) -> dict[str, Any]:
    return {"resultUrls": [_url(simulator, task, "4k")], "imageUrls": []}


def _url(simulator: Simulator, task: Task, kind: str) -> str:
    return f"{simulator.config.public_url}/media/{task.id}-{kind}.mp4"
