"""What can go wrong.

ReelgateError
├── ConfigurationError      what the client was made with cannot be used
├── Unreachable             no answer, as often as it was asked
├── UnexpectedAnswer        an answer that no gateway gives
├── APIError                the gateway said no; `problem` is what it said
│   ├── InvalidInput            field
│   ├── AuthenticationError
│   ├── InsufficientCredits     balance, cost
│   ├── PermissionDenied
│   ├── NotFound
│   ├── Conflict                problem.code says which
│   ├── IdempotencyMismatch
│   ├── RateLimited             retry_after
│   └── ServerError             retry_after
├── JobFailed               job, failure
├── Timeout                 job_id, job; the job goes on
└── InvalidWebhook          not signed by the gateway, or too old
"""

import math

import httpx
from pydantic import ValidationError

from reelgate_client.models import Failure, Job, Model


class ReelgateError(Exception):
    """Everything that this client raises by itself."""

    idempotency_key: str | None = None
    """Of the request that failed: with it the same request may be made again, and has its effect once."""


class ConfigurationError(ReelgateError):
    """What the client was made with cannot be used."""


class Unreachable(ReelgateError):
    """No answer came. A request that creates may have had its effect: repeat it with the same idempotency_key."""


class UnexpectedAnswer(ReelgateError):
    """The answer is none of a gateway: is base_url right?"""


class InvalidWebhook(ReelgateError):
    """Not signed with this secret, or too old: do not believe it."""


class JobFailed(ReelgateError):
    """The job ended without a video. Its credits are given back: job.refunded."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.error_message or job.failure_code or "the job failed")
        self.job = job

    @property
    def failure(self) -> Failure | None:
        """What it means, and what to do."""
        return self.job.failure


class Timeout(ReelgateError):
    """The time to wait is over; the job goes on. Wait for it again by its id."""

    def __init__(self, job_id: str, job: Job | None) -> None:
        super().__init__(f"job {job_id} is not over yet: wait for it again, or cancel it")
        self.job_id = job_id
        self.job = job
        """As it was seen last, if it was."""


class Problem(Model):
    """What the gateway said: RFC 9457."""

    status: int
    code: str = "unknown"
    title: str = ""
    detail: str = ""
    field: str | None = None


class APIError(ReelgateError):
    """The gateway said no."""

    def __init__(self, problem: Problem, *, retry_after: float | None = None) -> None:
        super().__init__(f"{problem.status} {problem.code}: {problem.detail}")
        self.problem = problem
        self.retry_after = retry_after
        """Seconds after which the gateway wants to be asked again."""


class InvalidInput(APIError):
    """Something about the request is wrong."""

    @property
    def field(self) -> str | None:
        """The input that is wrong."""
        return self.problem.field


class AuthenticationError(APIError):
    """The API key is missing, unknown, revoked or expired."""


class InsufficientCredits(APIError):
    """The balance does not cover the price. Nothing was made or charged."""

    @property
    def balance(self) -> int:
        """What the wallet has."""
        return int(getattr(self.problem, "balance", 0))

    @property
    def cost(self) -> int:
        """What the job costs."""
        return int(getattr(self.problem, "cost", 0))


class PermissionDenied(APIError):
    """This key may not do that."""


class NotFound(APIError):
    """There is no such thing, or it is somebody else's."""


class Conflict(APIError):
    """It cannot be done to the job as it stands."""


class IdempotencyMismatch(APIError):
    """The idempotency_key was used for another request."""


class RateLimited(APIError):
    """Too many requests, or too many jobs are waiting."""


class ServerError(APIError):
    """The gateway, or what stands before it, is in trouble."""


_BY_STATUS: dict[int, type[APIError]] = {
    400: InvalidInput,
    401: AuthenticationError,
    402: InsufficientCredits,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    413: InvalidInput,
    422: IdempotencyMismatch,
    429: RateLimited,
}


def error_of(response: httpx.Response) -> APIError:
    """What an answer says that is no success."""
    kind = ServerError if response.status_code >= 500 else _BY_STATUS.get(response.status_code, APIError)
    return kind(_problem(response), retry_after=retry_after(response))


def retry_after(response: httpx.Response) -> float | None:
    """The answer's Retry-After in seconds, if it has one that can be read."""
    try:
        seconds = float(response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _problem(response: httpx.Response) -> Problem:
    said = {"status": response.status_code, "detail": response.reason_phrase}
    try:
        body = response.json()
        if isinstance(body, dict) and isinstance(body.get("error"), dict):  # under /v1
            body = {"code": body["error"]["code"], "detail": body["error"]["message"], "field": body["error"]["param"]}
        return Problem.model_validate(said | body | {"status": response.status_code})
    except (ValueError, TypeError, KeyError, ValidationError):  # of a proxy
        return Problem.model_validate(said)
