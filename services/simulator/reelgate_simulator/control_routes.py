"""The simulator's own endpoints under /sim: what a test sees and turns. The vendor has none of them."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, ValidationError

from reelgate_simulator import scenarios
from reelgate_simulator.callbacks import Letter
from reelgate_simulator.scenarios import SCENARIOS, Behaviour, Signature
from reelgate_simulator.simulator import FORGED_BASE, Simulator, opposite
from reelgate_simulator.tasks import Task, callback
from reelgate_simulator.vendor_routes import Sim

router = APIRouter()


class Finish(BaseModel):
    """How to end a task now: scenario words, `sim:` may be left out."""

    model_config = ConfigDict(extra="forbid")

    outcome: str = "ok"
    callback: bool = True


class Callback(BaseModel):
    """A callback to send now; whatever is left out is as the task's own."""

    model_config = ConfigDict(extra="forbid")

    outcome: str | None = None
    forged: bool = False
    url: str | None = None
    signature: Signature | None = None
    body: dict[str, Any] | None = None


@router.get("/healthz")
@router.get("/readyz")
async def health() -> dict[str, str]:
    """Say that the process serves."""
    return {"status": "ok"}


@router.get("/sim/scenarios")
async def list_scenarios() -> dict[str, Any]:
    """List the words a prompt may hold."""
    return {"scenarios": [_shown(row) for row in SCENARIOS.values()]}


@router.get("/sim/stats")
async def stats(simulator: Sim, *, detail: bool = True) -> dict[str, Any]:
    """Return the counts; `detail=false` leaves out those that grow with use."""
    details = simulator.stats.details() if detail else {}
    return simulator.stats.summary() | {"credit": simulator.credit} | details


@router.get("/sim/tasks")
async def list_tasks(simulator: Sim) -> dict[str, Any]:
    """List every task, oldest first."""
    return {"tasks": [_listed(task) for task in simulator.tasks.values()]}


@router.post("/sim/reset")
async def reset(simulator: Sim) -> dict[str, str]:
    """Begin anew."""
    simulator.reset()
    return {"status": "ok"}


@router.get("/sim/config")
async def config(simulator: Sim) -> dict[str, Any]:
    """Return the knobs as they are; keys are masked."""
    return simulator.config.model_dump(mode="json") | {"credits": simulator.credit}


@router.post("/sim/config")
async def configure(simulator: Sim, changes: dict[str, Any]) -> dict[str, Any]:
    """Turn some knobs and return them all."""
    try:
        simulator.configure(changes)
    except ValidationError as error:
        raise HTTPException(422, _told(error)) from error
    return await config(simulator)


@router.post("/sim/tasks/{task_id}/finish")
async def finish(simulator: Sim, task_id: str, order: Finish) -> dict[str, Any]:
    """End a task now."""
    task = _task(simulator, task_id)
    if task.has_ended:
        raise HTTPException(409, f"task {task_id} has ended already")
    simulator.finish(task, _changed(task.behaviour, order.outcome), calls_back=order.callback)
    return _listed(task)


@router.post("/sim/tasks/{task_id}/callback")
async def send_callback(simulator: Sim, task_id: str, order: Callback) -> dict[str, Any]:
    """Send one callback now, once, and say how it was answered."""
    letter = _letter(simulator, _task(simulator, task_id), order)
    if not letter.url:
        raise HTTPException(409, f"task {task_id} has no callBackUrl and none was given")
    return {"status": await simulator.courier.send(letter, simulator.config, simulator.stats), "body": letter.body}


def _letter(simulator: Simulator, task: Task, order: Callback) -> Letter:
    behaviour = _changed(task.behaviour, order.outcome or "")
    outcome = opposite(behaviour.outcome) if order.forged else behaviour.outcome
    base = FORGED_BASE if order.forged else simulator.config.public_url
    body = order.body if order.body is not None else callback(task, outcome, base)
    url = task.callback_url if order.url is None else order.url
    return Letter(url, task.id, body, order.signature or behaviour.signature)


def _task(simulator: Simulator, task_id: str) -> Task:
    task = simulator.tasks.get(task_id)
    if task is None:
        raise HTTPException(404, f"no task {task_id}")
    return task


def _changed(behaviour: Behaviour, words: str) -> Behaviour:
    try:
        return scenarios.apply(behaviour, scenarios.words_of_header(words))
    except scenarios.UnknownScenarioError as error:
        raise HTTPException(422, str(error)) from error


def _listed(task: Task) -> dict[str, Any]:
    return {
        "taskId": task.id,
        "prompt": task.prompt,
        "callBackUrl": task.callback_url or None,
        "successFlag": task.flag,
        "createTime": task.create_time,
        "completeTime": task.complete_time,
    }


def _shown(row: scenarios.Scenario) -> dict[str, Any]:
    flags = {name: asdict(value) if name == "outcome" else value for name, value in row.flags.items()}
    return {"word": row.word, "description": row.description, "flags": flags}


def _told(error: ValidationError) -> list[dict[str, str]]:
    return [{"name": ".".join(map(str, fault["loc"])), "problem": fault["msg"]} for fault in error.errors()]
