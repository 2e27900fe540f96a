"""Errors as the caller sees them: RFC 9457 problem details that also carry the guide's `error` member."""

from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import Scope

from reelgate_api.documented import headers
from reelgate_api.limits.headers import headers as rate_limit_headers
from reelgate_api.openai.errors import is_openai, openai_error
from reelgate_api.schemas import explain
from reelgate_common.domain import errors
from reelgate_common.http_context import HEADER as REQUEST_ID

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 2

# The one table from what went wrong to what the caller is told: status, stable code, title.
_TABLE: dict[type[errors.ReelgateError], tuple[int, str, str]] = {
    errors.TooLarge: (413, "too_large", "The body is too large"),  # before its base
    errors.InvalidInput: (400, "invalid_input", "The request is not valid"),
    errors.NotAuthenticated: (401, "unauthorized", "A valid credential is needed"),
    errors.InsufficientCredits: (402, "insufficient_credits", "The balance does not cover the price"),
    errors.NotAllowed: (403, "forbidden", "This credential may not do that"),
    errors.NotFound: (404, "not_found", "There is no such thing here"),
    errors.Expired: (404, "video_expired", "The video's file is gone"),
    errors.Deleted: (410, "video_deleted", "The video was deleted"),
    errors.AlreadySent: (409, "already_sent", "The job was sent already"),
    errors.NotFinished: (409, "not_finished", "The video is not finished"),
    errors.SourceUnusable: (409, "source_unusable", "The video cannot be taken further"),
    errors.BalanceTooLow: (409, "balance_too_low", "The balance does not cover the adjustment"),
    errors.IdempotencyMismatch: (422, "idempotency_mismatch", "The Idempotency-Key was used for another request"),
    errors.StillUnderWay: (409, "idempotency_in_flight", "The same request may still be under way"),
    errors.RateLimited: (429, "rate_limited", "Too many requests"),
    errors.TooManyQueued: (429, "too_many_queued", "Too many jobs of this wallet are waiting"),
    errors.TooManyDownloads: (429, "too_many_downloads", "Too many read this video"),
    errors.QueueFull: (503, "queue_full", "Too many jobs are waiting"),
    errors.Unavailable: (503, "unavailable", "A part of the gateway is away: try again"),
}
_HTTP_CODES = {
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    413: "too_large",
    416: "range_not_satisfiable",
}


# What an error's headers tell.
_TOLD_BY = {
    401: ("WWW-Authenticate",),
    409: ("Retry-After",),
    429: ("Retry-After", "RateLimit-Policy", "RateLimit"),
    503: ("Retry-After",),
}


class InputError(BaseModel):
    """One thing that is wrong with the input."""

    field: str | None = Field(description="Which input; null: the body.", examples=["wallet_address"])
    message: str = Field(description="What is wrong, and how to mend it.", examples=["wallet_address required"])


class Problem(BaseModel):
    """RFC 9457, with the guide's `error` string beside it."""

    type: str = Field(description="Always about:blank: code tells more.", examples=["about:blank"])
    title: str = Field(description="What kind of problem.", examples=["The request is not valid"])
    status: int = Field(description="The HTTP status.", examples=[400])
    detail: str = Field(description="What is wrong, and how to mend it.", examples=["wallet_address required"])
    code: str = Field(description="Stable name of the problem.", examples=["invalid_input"])
    error: str = Field(
        description="The same as detail, where the guide's clients look.", examples=["wallet_address required"]
    )
    field: str | None = Field(default=None, description="The input that is wrong.", examples=["wallet_address"])
    errors: list[InputError] | None = Field(default=None, description="All that is wrong with the input.")
    balance: int | None = Field(default=None, description="Credits there are, when they do not suffice.", examples=[3])
    cost: int | None = Field(default=None, description="Credits it costs, when they do not suffice.", examples=[4])
    violated_policies: list[str] | None = Field(
        default=None, alias="violated-policies", description="Which limits were reached.", examples=[["key"]]
    )


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route, for the OpenAPI document."""
    titles = {status: title for status, _, title in reversed(_TABLE.values())}
    titles |= {
        408: "The body did not arrive in time",
        409: "Not in the state it is in, or a request with the same Idempotency-Key is still under way",
        413: "The body is too large",
        416: "The video has no such bytes",
        429: "A limit was reached",
        503: "A part of the gateway is away, or too many jobs are waiting: try again",
    }
    content = {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    described = {status: {"description": titles[status]} | content for status in statuses if status in titles}
    for status, names in _TOLD_BY.items():
        if status in described:
            described[status] |= headers(*names)
    unchanged = {304: {"description": "Unchanged since the ETag given."} | headers("ETag", "Retry-After")}
    return {status: described.get(status) or unchanged[status] for status in statuses}


def problem(
    request: Request,
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    headers: dict[str, str] | None = None,
    **extra: Any,
) -> JSONResponse:
    """One problem as an answer, in the format of the path that was asked."""
    if is_openai(request.scope["path"]):
        return openai_error(status, code, detail, param=extra.get("field"), headers=headers)
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code, "error": detail}
    return JSONResponse(body | extra, status_code=status, headers=headers, media_type="application/problem+json")


async def _expected(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.ReelgateError)  # noqa: S101 -- registered for these only
    if isinstance(error, errors.Busy) and "idempotency-key" in request.headers:
        error = errors.StillUnderWay()  # most likely; the answer is right if it is something else, too
    status, code, title = next(row for kind, row in _TABLE.items() if isinstance(error, kind))
    headers: dict[str, str] = {}
    extra: dict[str, Any] = {}
    detail = str(error)
    if isinstance(error, errors.InvalidInput):
        extra = {"field": error.field}
    if isinstance(error, errors.InsufficientCredits):
        extra = {"balance": error.balance, "cost": error.cost}
    if isinstance(error, errors.BalanceTooLow):
        extra = {"balance": error.balance}
    if isinstance(error, errors.TryLater):
        headers = {"Retry-After": str(error.retry_seconds)}
    if isinstance(error, errors.RateLimited):
        headers |= rate_limit_headers(error.quotas)
        extra = {"violated-policies": [quota.name for quota in error.violated]}
    if isinstance(error, errors.NotAuthenticated):
        headers = {"WWW-Authenticate": "Bearer"}
    if isinstance(error, errors.Unavailable):
        log.warning("request_unavailable", error=detail)
        headers, detail = {"Retry-After": str(_RETRY_SECONDS)}, "Temporarily unavailable: try again"
    return problem(request, status, code, title, detail, headers=headers, **extra)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    found = explain(error.errors())
    status, code, title = _TABLE[errors.InvalidInput]
    return problem(request, status, code, title, found[0]["message"] or "", field=found[0]["field"], errors=found)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    code = _HTTP_CODES.get(error.status_code, "invalid_input")
    detail = str(error.detail)
    known = dict(error.headers or {})
    if error.status_code == 405:
        known["Allow"] = ", ".join(sorted(_allowed(request)))
    return problem(request, error.status_code, code, detail, detail, headers=known)


def _allowed(request: Request) -> set[str]:
    """The methods of all routes with this path; Starlette names those of the first it finds."""
    path = request.scope["path"]
    matching = [route for route in iter_route_contexts(request.app.routes) if route.path_regex.match(path)]
    exact = [route for route in matching if route.path == path]
    return {method for route in exact or matching for method in route.methods or ()}


async def _crashed(request: Request, error: Exception) -> JSONResponse:
    log.error("request_crashed", exc_info=error)
    request_id = getattr(request.state, "request_id", None)  # answered outside of what adds it to other answers
    known = {REQUEST_ID: request_id} if request_id else {}
    return problem(
        request, 500, "internal", "Something broke on our side", "Internal error: it was logged", headers=known
    )


def too_large(scope: Scope, detail: str) -> JSONResponse:
    """The answer to a body over the limit, which no route sees."""
    return problem(Request(scope), 413, "too_large", "The body is too large", detail)


def install(app: FastAPI) -> None:
    """Register the only places where errors become answers."""
    app.add_exception_handler(errors.ReelgateError, _expected)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _crashed)
