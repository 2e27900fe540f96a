"""One generate or extend request, step by step in the vendor's order, to its answer."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi.responses import HTMLResponse, Response
from starlette.datastructures import Headers

from reelgate_simulator import scenarios, upgrades, validation
from reelgate_simulator.connection import Hangup
from reelgate_simulator.envelope import HTML_502, Envelope, Refusal, success
from reelgate_simulator.pricing import price
from reelgate_simulator.scenarios import SUCCESS, Behaviour
from reelgate_simulator.simulator import Simulator
from reelgate_simulator.stats import Stats
from reelgate_simulator.tasks import Task

Normalise = Callable[[dict[str, Any]], dict[str, Any]]
SCENARIO_HEADER = "x-sim-scenario"


async def generate(simulator: Simulator, headers: Headers, raw: bytes) -> Response:
    """Take one generate request; raises the refusal that is its answer."""

    def normalise(body: dict[str, Any]) -> dict[str, Any]:
        return validation.normalise(body, reference_image_limit=simulator.config.reference_image_limit)

    return await _submit(simulator, headers, raw, normalise)


async def extend(simulator: Simulator, headers: Headers, raw: bytes) -> Response:
    """Take one extend request; raises the refusal that is its answer."""
    return await _submit(simulator, headers, raw, partial(upgrades.normalise_extend, simulator))


async def _submit(simulator: Simulator, headers: Headers, raw: bytes, normalise: Normalise) -> Response:
    simulator.stats.sends += 1
    body = validation.decode(raw)
    _count(simulator.stats, body or {})
    simulator.check_door(headers.get("authorization", ""))
    body = check_form(headers, body)
    behaviour = _behaviour(simulator, headers, body)
    _admit(simulator, behaviour, str(body.get("prompt")))
    if behaviour.answer == "drop":
        simulator.stats.refused["dropped"] += 1
        return Hangup()
    params = normalise(body)
    behaviour = _fitting(behaviour, params)
    task, letter = simulator.create(params, behaviour, price(params["model"], params["resolution"]))
    if letter:
        await letter.attempted.wait()
    await asyncio.sleep(simulator.config.submit_delay_seconds)
    return _answer(task, simulator)


def check_form(headers: Headers, body: dict[str, Any] | None) -> dict[str, Any]:
    """Return the body, or refuse what is not a JSON object sent as JSON."""
    if not headers.get("content-type", "").lower().startswith("application/json"):
        raise Refusal(400, "Content-Type must be application/json.")
    if body is None:
        raise Refusal(400, "The request body is not a valid JSON object.")
    return body


def _count(stats: Stats, body: dict[str, Any]) -> None:
    if isinstance(prompt := body.get("prompt"), str):
        stats.sends_by_prompt[prompt] += 1
    if isinstance(url := body.get("callBackUrl"), str):
        stats.sends_by_callback_url[url] += 1


def _behaviour(simulator: Simulator, headers: Headers, body: dict[str, Any]) -> Behaviour:
    words = (
        scenarios.words_of_header(simulator.config.default_scenarios)
        + scenarios.words_of_header(headers.get(SCENARIO_HEADER, ""))
        + scenarios.words_in(str(body.get("prompt", "")))
    )
    try:
        return scenarios.behaviour_of(words)
    except scenarios.UnknownScenarioError as error:
        raise Refusal(422, str(error)) from error


def _admit(simulator: Simulator, behaviour: Behaviour, prompt: str) -> None:
    if simulator.config.refuse_all:
        raise Refusal(simulator.config.refuse_all)
    if behaviour.throttle_first and prompt not in simulator.throttled:
        simulator.throttled.add(prompt)
        raise Refusal(430) if behaviour.throttle_first == 430 else simulator.throttle()
    simulator.take_place(asyncio.get_running_loop().time())
    if behaviour.refuse_code:
        raise Refusal(
            behaviour.refuse_code,
            behaviour.refuse_message,
            http_status=behaviour.refuse_http_status,
            plain=behaviour.refuse_http_status in {403, 408},
        )


def _fitting(behaviour: Behaviour, params: dict[str, Any]) -> Behaviour:
    """Let images no server can fetch fail later, as the vendor does, and name an extension so."""
    if not all(url.startswith(("http://", "https://")) for url in params.get("imageUrls", ())):
        return scenarios.apply(behaviour, ["sim:image-fetch"])
    if "taskId" in params and behaviour.outcome == SUCCESS:
        return replace(behaviour, outcome=replace(SUCCESS, callback_message=upgrades.EXTENDED))
    return behaviour


def _answer(task: Task, simulator: Simulator) -> Response:
    match task.behaviour.answer:
        case "hang":
            return Hangup(after=simulator.config.submit_timeout_seconds)
        case "reset":
            return Hangup(reset=True)
        case "html-502":
            return HTMLResponse(HTML_502, 502)
        case "garbage":
            return Response(
                f'{{"code":200,"msg":"success","data":{{"taskId":"{task.id[:7]}', media_type=Envelope.media_type
            )
        case "no-task-id":
            return success({})
        case _:
            return success({"taskId": task.id})
