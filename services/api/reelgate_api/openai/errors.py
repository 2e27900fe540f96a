"""Errors in OpenAI's form, which its clients turn into their exceptions."""

from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

_PREFIX = "/v1"
_TYPES = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
}


class Detail(BaseModel):
    """What is wrong."""

    message: str = Field(description="What is wrong, and how to mend it.", examples=["seconds must be 4, 6, 8"])
    type: str = Field(description="Its kind, in OpenAI's words.", examples=["invalid_request_error"])
    code: str = Field(description="Stable name of the problem.", examples=["invalid_input"])
    param: str | None = Field(description="The input that is wrong.", examples=["seconds"])


class Error(BaseModel):
    """An error as OpenAI's clients read it."""

    error: Detail = Field(description="What is wrong.")


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route, for the OpenAPI document."""
    return {status: {"model": Error} for status in statuses}


def is_openai(path: str) -> bool:
    """Whether a path belongs to the OpenAI format."""
    return path == _PREFIX or path.startswith(f"{_PREFIX}/")


def openai_error(
    status: int, code: str, message: str, *, param: str | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """One error as an answer."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    body = Error(error=Detail(message=message, type=kind, code=code, param=param)).model_dump()
    # Clients repeat a 409 unasked; ours stays one until something else happens, unless it says when to try again.
    kept = {"x-should-retry": "false"} if status == 409 and "Retry-After" not in (headers or {}) else {}
    return JSONResponse(body, status_code=status, headers=kept | (headers or {}))
