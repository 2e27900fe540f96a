"""Reads a generate body the way the vendor does: wrong fields are refused, missing ones filled in."""

import json
from typing import Any, Final, Never, TypeVar

from reelgate_simulator.envelope import Refusal
from reelgate_simulator.pricing import PRICES

_T = TypeVar("_T")

TEXT: Final = "TEXT_2_VIDEO"
FRAMES: Final = "FIRST_AND_LAST_FRAMES_2_VIDEO"
REFERENCE: Final = "REFERENCE_2_VIDEO"
GENERATION_TYPES: Final = (TEXT, FRAMES, REFERENCE)
ASPECT_RATIOS: Final = ("16:9", "9:16", "Auto")
RESOLUTIONS: Final = ("720p", "1080p", "4k")
DURATIONS: Final = (4, 6, 8)
FRAME_IMAGES: Final = 2
SEEDS: Final = range(10_000, 100_000)


def decode(raw: bytes) -> dict[str, Any] | None:
    """Return the JSON object in a body, or None: not JSON, no object, or text no answer could echo."""
    try:
        body = json.loads(raw, parse_constant=_refuse_constant)
        if b"\\u" in raw:
            json.dumps(body, ensure_ascii=False).encode()  # a lone surrogate fails here
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def normalise(body: dict[str, Any], *, reference_image_limit: int) -> dict[str, Any]:
    """Return the request as record-info echoes it in `paramJson`, or refuse it with 422."""
    given = {name: value for name, value in body.items() if value is not None}
    images = _images(given)
    model = _choice(given, "model", tuple(PRICES), default="veo3_fast")
    kind = _choice(given, "generationType", GENERATION_TYPES, default=_kind_for(len(images)))
    duration = _choice(given, "duration", DURATIONS, default=8)
    _check_images(kind, len(images), reference_image_limit)
    if kind == REFERENCE and model == "veo3":
        _refuse("REFERENCE_2_VIDEO only supports the models veo3_fast and veo3_lite.")
    if kind == REFERENCE and duration != DURATIONS[-1]:
        _refuse("REFERENCE_2_VIDEO only supports a duration of 8 seconds.")
    ratio_name = "aspect_ratio" if "aspect_ratio" in given else "aspectRatio"
    params = {
        "duration": duration,
        "enableTranslation": _typed(given, "enableTranslation", bool, default=True),
        "generationType": kind,
        "aspectRatio": _choice(given, ratio_name, ASPECT_RATIOS, default="16:9"),
        "model": model,
        "enableFallback": _typed(given, "enableFallback", bool, default=False),
        "resolution": _choice(given, "resolution", RESOLUTIONS, default="720p"),
        "prompt": _prompt(given),
    }
    return params | _optional(given, images)


def _optional(given: dict[str, Any], images: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"imageUrls": images} if images else {}
    if url := callback_url(given):
        found["callBackUrl"] = url
    if watermark := _typed(given, "watermark", str, default=""):
        found["waterMark"] = watermark
    if "seeds" in given:
        if type(given["seeds"]) is not int or given["seeds"] not in SEEDS:
            _refuse("seeds must be an integer between 10000 and 99999.")
        found["seeds"] = given["seeds"]
    return found


def _prompt(given: dict[str, Any]) -> str:
    prompt = given.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        _refuse("Please enter prompt.")
    return prompt


def callback_url(given: dict[str, Any]) -> str:
    """Return where to call back, empty for nowhere, or refuse it."""
    url = _typed(given, "callBackUrl", str, default="")
    if url and not url.startswith(("http://", "https://")):
        _refuse("callBackUrl must be an http or https URL.")
    return url


def _images(given: dict[str, Any]) -> list[str]:
    images = given.get("imageUrls", [])
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        _refuse("imageUrls must be an array of URLs.")
    return images


def _kind_for(images: int) -> str:
    if images == 0:
        return TEXT
    return FRAMES if images <= FRAME_IMAGES else REFERENCE


def _check_images(kind: str, images: int, reference_image_limit: int) -> None:
    limit = {TEXT: images, FRAMES: FRAME_IMAGES, REFERENCE: reference_image_limit}[kind]
    if images > limit:
        _refuse(f"{kind} supports at most {limit} images.")
    if kind != TEXT and images == 0:
        _refuse(f"{kind} requires at least one image.")


def _choice(given: dict[str, Any], name: str, allowed: tuple[Any, ...], *, default: Any) -> Any:
    value = given.get(name, default)
    if type(value) is not type(allowed[0]) or value not in allowed:
        _refuse(f"{name} is not supported, it must be one of: {', '.join(map(str, allowed))}.")
    return value


def _typed(given: dict[str, Any], name: str, kind: type[_T], *, default: _T) -> _T:
    value = default if given.get(name) is None else given[name]
    if not isinstance(value, kind):
        _refuse(f"{name} has the wrong type.")
    return value


def _refuse(message: str) -> Never:
    raise Refusal(422, message)


def _refuse_constant(name: str) -> Never:
    raise ValueError(name)
