"""What every process serves beside its work: liveness, readiness, metrics."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reelgate_common.bus import Consumer
from reelgate_common.db import Database
from reelgate_common.domain.errors import Unavailable
from reelgate_common.metrics import exposition

# Asked for by machines, again and again: worth no trace and no series of their own.
PATHS = frozenset({"/healthz", "/readyz", "/metrics"})

Check = Callable[[], Awaitable[str | None]]


def database(db: Database) -> Check:
    """Ready when the database answers."""

    async def check() -> str | None:
        try:
            await db.ping()
        except Unavailable as error:
            return str(error)
        return None

    return check


def consuming(consumer: Consumer) -> Check:
    """Ready when messages come in."""

    async def check() -> str | None:
        return None if consumer.ready.is_set() else "nothing is consumed"

    return check


def routes(
    checks: Callable[[Request], Mapping[str, Check]], *, degraded: Callable[[Request], str | None] = lambda _: None
) -> list[Route]:
    """/healthz: the process has started and runs. /readyz: every named check passes, or 503 with what does not.

    What callers reach is kept in service by the first alone: while the database is away it answers 503 itself.

    A process that is ready, but cannot do all it is for, says why: `{"status": "degraded", "reason": …}`.
    """

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(request: Request) -> Response:
        results = {name: await check() for name, check in checks(request).items()}
        failing = {name: problem for name, problem in results.items() if problem}
        reason = degraded(request)
        body: dict[str, Any] = {
            "status": "unavailable" if failing else "degraded" if reason else "ok",
            "checks": {n: p or "ok" for n, p in results.items()},
        }
        if reason:
            body["reason"] = reason
        return JSONResponse(body, status_code=503 if failing else 200)

    async def metrics(_: Request) -> Response:
        return Response(exposition(), media_type=CONTENT_TYPE_LATEST)

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]
