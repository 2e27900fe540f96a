"""What the OpenAPI document says besides what FastAPI reads off the routes."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

_HEADERS: dict[str, dict[str, Any]] = {
    "ETag": {"description": "Send it as If-None-Match: unchanged is 304.", "example": '"3"'},
    "Location": {"description": "Where to look at what was made.", "example": "/api/video/jobs/01890a5d-ac96-774b"},
    "Retry-After": {"description": "Seconds to wait before the next request.", "example": "2"},
    "Idempotent-Replayed": {
        "description": "`true`: an earlier request with the same Idempotency-Key was answered with this.",
        "example": "true",
    },
    "RateLimit-Policy": {"description": "The limits on requests, if there are any.", "example": '"key";q=60;w=60'},
    "RateLimit": {"description": "What is left of them, and when one more is free.", "example": '"key";r=59;t=1'},
    "WWW-Authenticate": {"description": "How to authenticate.", "example": "Bearer"},
}


ANSWER_HEADERS = tuple(_HEADERS)


def headers(*names: str) -> dict[str, Any]:
    """The part of a route's `responses` that tells which headers an answer may carry."""
    shown = {}
    for name in names:
        header = dict(_HEADERS[name])
        example = header.pop("example")
        shown[name] = header | {"schema": {"type": "string", "examples": [example]}}
    return {"headers": shown}


def describe(app: FastAPI, *components: type[BaseModel]) -> None:
    """Have the app's document tell these components, and no answer that is never given."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        is_new = app.openapi_schema is None
        document = generate()
        if is_new:
            _complete(document, components)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(document: dict[str, Any], components: Sequence[type[BaseModel]]) -> None:
    schemas = document["components"]["schemas"]
    for model in components:
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {}) | {model.__name__: schema}
    for operations in document["paths"].values():
        for operation in operations.values():
            content = operation["responses"].get("422", {}).get("content", {})
            if "HTTPValidationError" in str(content):  # FastAPI's guess: bad input is 400 here
                del operation["responses"]["422"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
