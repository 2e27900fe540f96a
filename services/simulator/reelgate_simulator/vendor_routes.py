"""The vendor's HTTP API."""

import asyncio
from collections.abc import Awaitable
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse, Response
from starlette.requests import Request

from reelgate_simulator import submission, tasks
from reelgate_simulator.envelope import HTML_502, Refusal, success
from reelgate_simulator.scenarios import SUCCESS
from reelgate_simulator.simulator import Simulator
from reelgate_simulator.tasks import Task


async def simulator_of(request: Request) -> Simulator:
    """Return the simulator this application serves."""
    simulator: Simulator = request.app.state.simulator
    return simulator


async def past_the_door(request: Request) -> Simulator:
    """Return the simulator to a caller it lets in."""
    simulator: Simulator = request.app.state.simulator
    simulator.check_door(request.headers.get("authorization", ""))
    return simulator


Sim = Annotated[Simulator, Depends(simulator_of)]
Admitted = Annotated[Simulator, Depends(past_the_door)]
router = APIRouter()


async def counted(simulator: Simulator, sending: Awaitable[Response]) -> Response:
    """Count a send that is refused."""
    try:
        return await sending
    except Refusal as refusal:
        simulator.stats.refused[refusal.label] += 1
        raise


@router.post("/api/v1/veo/generate")
async def generate(request: Request, simulator: Sim) -> Response:
    """Take a new task."""
    return await counted(simulator, submission.generate(simulator, request.headers, await request.body()))


@router.get("/api/v1/veo/record-info")
async def record_info(request: Request, simulator: Admitted) -> Response:
    """Say how a task stands."""
    task_id = request.query_params.get("taskId", "")
    simulator.stats.record_info += 1
    simulator.take_query(asyncio.get_running_loop().time())
    await asyncio.sleep(simulator.config.record_delay_seconds)
    task = simulator.tasks.get(task_id)
    if task is None or task.visible_from > asyncio.get_running_loop().time():
        raise Refusal(422, f"Record not found for taskId: {task_id}")
    if task.is_older_than(simulator.config.retention_seconds):
        raise Refusal(422, "Temporarily supports records within 14 days")
    # Only known tasks are counted by id: made-up ids must not fill the memory.
    simulator.stats.record_info_by_task[task_id] += 1
    return _read(task, simulator.config.public_url)


@router.get("/api/v1/chat/credit")
async def credit(request: Request, simulator: Admitted) -> Response:
    """Say what is left on the account: a bare number."""
    return submission.faulty(simulator, request, lambda: success(simulator.credit))


def _read(task: Task, base: str) -> Response:
    behaviour, outcome = task.behaviour, task.behaviour.outcome
    task.reads += 1
    if task.reads <= behaviour.record_500_reads:
        raise Refusal(500, "internal error, please try again later.")
    if task.reads <= behaviour.record_html_reads:
        return HTMLResponse(HTML_502, 502)
    if task.reads <= behaviour.record_422_reads:
        raise Refusal(422, "record result data is blank")
    if task.reads <= behaviour.record_null_reads:
        return success(None)
    if task.flag:
        task.final_reads += 1
        if behaviour.record_failure_on_top and task.flag != SUCCESS.flag:
            raise Refusal(outcome.error_code or outcome.callback_code, outcome.error_message)
    return success(tasks.record(task, base))
