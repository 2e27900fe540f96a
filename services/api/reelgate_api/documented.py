"""What the OpenAPI document says besides what FastAPI reads off the routes."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

DESCRIPTION = """Videos by Kie.ai's Veo 3.1. One request (wallet, prompt, images) makes a job, and the job comes to
a video or its credits come back.

Send an API key as `Authorization: Bearer rg_live_…`. Give every POST that creates an `Idempotency-Key`: then it may be
sent again whatever happened to its answer. Errors are `application/problem+json` with a stable `code`; under `/v1` they
have OpenAI's form. Unknown fields of a request are ignored where its schema does not forbid them; ignore
unknown fields of an answer."""
TAGS = [
    {"name": name, "description": text}
    for name, text in {
        "videos": "Make videos, watch them being made, take them further.",
        "live": "Server-sent events instead of polling.",
        "wallets": "Balances, the ledger, prices; credits that come or go without a job.",
        "webhooks": "Have events sent to a server of yours, signed by Standard Webhooks.",
        "keys": "API keys, for admins.",
        "sign-in": "Sign in with a wallet instead of a key.",
        "openai": "The same jobs in the format of OpenAI's clients.",
        "status": "How the gateway itself is.",
        "operations": "For the operator.",
    }.items()
]

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


def answers(status: int, *names: str) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: its good answer may carry these headers."""
    return {status: headers(*names)}


MADE = ("Location", "Idempotent-Replayed")
JOB_MADE = (*MADE, "Retry-After", "RateLimit-Policy", "RateLimit")


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
