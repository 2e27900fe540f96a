"""The fields of a request, read from JSON or from a form."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from reelgate_api.settings import Settings
from reelgate_common.domain.errors import InvalidInput

_MAX_FIELDS = 1000
_MAX_DEPTH = 8
_KEYS = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


@dataclass(frozen=True)
class Fields:
    """What was given. From a form every value is text, and the file stands beside."""

    values: dict[str, Any]
    file: bytes | None = None  # the input_reference that was uploaded
    is_form: bool = False


def max_bytes(settings: Settings) -> int:
    """Of a body, whose image may be base64."""
    return settings.max_image_bytes * 4 // 3 + settings.max_body_bytes


async def read(request: Request, settings: Settings) -> Fields:
    """The fields of a body in any form that OpenAI's clients send; InvalidInput for others."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _read_form(request, most=max_bytes(settings))
    if kind != "application/json":
        raise InvalidInput(None, "Send the body as multipart/form-data or application/json")
    try:
        values = await request.json()
    except (ValueError, RecursionError):
        raise InvalidInput(None, "The body is not valid JSON") from None
    if not isinstance(values, dict):
        raise InvalidInput(None, "The body must be a JSON object")
    return Fields(values)


async def _read_form(request: Request, *, most: int) -> Fields:
    if "boundary=" not in request.headers["content-type"]:
        raise InvalidInput(None, "The form cannot be read: its Content-Type names no boundary")
    parser = MultiPartParser(request.headers, request.stream(), max_files=1, max_fields=_MAX_FIELDS, max_part_size=most)
    parser.spool_max_size = most  # never to the disk, which may be read-only; what comes is limited before
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise InvalidInput(None, f"The form cannot be read: {error.message}") from None
    try:
        return await _sort(form)
    finally:
        await form.close()


async def _sort(form: FormData) -> Fields:
    file: bytes | None = None
    texts: list[tuple[str, str]] = []
    for name, value in form.multi_items():
        if isinstance(value, str):
            texts.append((name, value))
        elif name == "input_reference":
            file = await value.read()
        else:
            raise InvalidInput(name, f"{name} must not be a file: only input_reference may")
    values = unflatten(texts)
    if isinstance(values.get("metadata"), str):
        values["metadata"] = _parse_metadata(values["metadata"])
    return Fields(values, file, is_form=True)


def _parse_metadata(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidInput("metadata", "metadata must be a JSON object, or fields named metadata[…]") from None


def unflatten(fields: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Put `a[]`, `a[b]` and `a[b][]` together, as clients take lists and objects apart for a form."""
    values: dict[str, Any] = {}
    for name, value in fields:
        match = _KEYS.fullmatch(name)
        keys = [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])] if match else [name]
        if len(keys) > _MAX_DEPTH or "" in keys[:-1]:
            raise InvalidInput(name, f"{name}: fields may be nested {_MAX_DEPTH} deep, and lists hold plain values")
        _put(values, name, keys, value)
    return values


def _put(values: dict[str, Any], name: str, keys: list[str], value: str) -> None:
    is_item = len(keys) > 1 and keys[-1] == ""
    *path, last = keys[:-1] if is_item else keys
    node: Any = values
    for key in path:
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            raise _twice(name)
    if not is_item:
        if last in node:
            raise _twice(name)
        node[last] = value
        return
    items = node.setdefault(last, [])
    if not isinstance(items, list):
        raise _twice(name)
    items.append(value)


def _twice(name: str) -> InvalidInput:
    return InvalidInput(name, f"{name} is given twice: items of a list are named with [] behind the name")
