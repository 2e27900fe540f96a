"""One generate or extend request, step by step in the vendor's order, to its answer."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi.responses import HTMLResponse, Response
from starlette.datastructures import Headers
from starlette.requests import Request

from reelgate_simulator import files, scenarios, upgrades, validation
from reelgate_simulator.connection import Hangup
from reelgate_simulator.envelope import HTML_502, Envelope, Refusal, success
from reelgate_simulator.pricing import price
from reelgate_simulator.scenarios import SUCCESS, Behaviour
from reelgate_simulator.simulator import Simulator
from reelgate_simulator.stats import Stats

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
    behaviour = _behaviour(simulator.config.default_scenarios, headers, str(body.get("prompt", "")))
    _admit(simulator, behaviour, str(body.get("prompt")))
    if behaviour.answer == "drop":
        simulator.stats.refused["dropped"] += 1
        return Hangup()
    params = normalise(body)
    behaviour = _fitting(simulator, behaviour, params)
    task, letter = simulator.create(params, behaviour, price(params["model"], params["resolution"]))
    if letter:
        await letter.attempted.wait()
    await asyncio.sleep(simulator.config.submit_delay_seconds)
    return _spoilt(success({"taskId": task.id}), task.behaviour, simulator)


def faulty(simulator: Simulator, request: Request, serve: Callable[[], Response], *, is_paid: bool = False) -> Response:
    """Answer a call that is no create, with the faults its header asks for; a paid one heeds the knobs too."""
    behaviour = _behaviour(simulator.config.default_scenarios if is_paid else "", request.headers)
    if is_paid and simulator.config.refuse_all:
        raise Refusal(simulator.config.refuse_all)
    _throttle_as_asked(simulator, behaviour, request.url.path)
    _refuse_as_asked(behaviour)
    if behaviour.answer == "drop":
        return Hangup()
    try:
        response = serve()
    except Refusal as refusal:  # what was begun stays so, also when the answer is then lost
        response = refusal.response()
    return _spoilt(response, behaviour, simulator)


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


def _behaviour(defaults: str, headers: Headers, prompt: str = "") -> Behaviour:
    words = (
        scenarios.words_of_header(defaults)
        + scenarios.words_of_header(headers.get(SCENARIO_HEADER, ""))
        + scenarios.words_in(prompt)
    )
    try:
        return scenarios.behaviour_of(words)
    except scenarios.UnknownScenarioError as error:
        raise Refusal(422, str(error)) from error


def _admit(simulator: Simulator, behaviour: Behaviour, prompt: str) -> None:
    if simulator.config.refuse_all:
        raise Refusal(simulator.config.refuse_all)
    _throttle_as_asked(simulator, behaviour, prompt)
    simulator.take_place(asyncio.get_running_loop().time())
    _refuse_as_asked(behaviour)


def _throttle_as_asked(simulator: Simulator, behaviour: Behaviour, key: str) -> None:
    if behaviour.throttle_first and key not in simulator.throttled:
        simulator.throttled.add(key)
        raise Refusal(430) if behaviour.throttle_first == 430 else simulator.throttle()


def _refuse_as_asked(behaviour: Behaviour) -> None:
    if behaviour.refuse_code:
        raise Refusal(
            behaviour.refuse_code,
            behaviour.refuse_message,
            http_status=behaviour.refuse_http_status,
            plain=behaviour.refuse_http_status in {403, 408},
        )


def _fitting(simulator: Simulator, behaviour: Behaviour, params: dict[str, Any]) -> Behaviour:
    """Let images the vendor can not fetch or read fail later, as there, and name an extension so."""
    if not all(_is_fetched(simulator, url) for url in params.get("imageUrls", ())):
        return scenarios.apply(behaviour, ["sim:image-fetch"])
    if "taskId" in params and behaviour.outcome == SUCCESS:
        return replace(behaviour, outcome=replace(SUCCESS, callback_message=upgrades.EXTENDED))
    return behaviour


def _is_fetched(simulator: Simulator, url: str) -> bool:
    """Whether an image would do: only files of our own host are looked at, others are taken at their word."""
    own = f"{simulator.config.public_url}/{files.ROOT}/"
    if url.startswith(own):
        return simulator.files.is_image(url.removeprefix(own), simulator.config.upload_seconds)
    return url.startswith(("http://", "https://"))


def _spoilt(response: Response, behaviour: Behaviour, simulator: Simulator) -> Response:
    """Return the answer, or what becomes of it on the way."""
    match behaviour.answer:
        case "hang":
            return Hangup(after=simulator.config.submit_timeout_seconds)
        case "reset":
            return Hangup(reset=True)
        case "html-502":
            return HTMLResponse(HTML_502, 502)
        case "garbage":
            return Response(bytes(response.body)[:-30], media_type=Envelope.media_type)
        case "no-task-id":
            return success({})
        case _:
            return response
