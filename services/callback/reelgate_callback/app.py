"""The composition root of the callback service."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from reelgate_callback import consumers
from reelgate_callback.handlers import Receiver
from reelgate_callback.routes import ROUTES
from reelgate_callback.settings import Settings
from reelgate_callback.webhooks.sender import open_sender
from reelgate_common import health
from reelgate_common.body_limit import BodyLimit
from reelgate_common.domain.errors import InvalidInput, NotFound, Unavailable
from reelgate_common.http_context import HttpContext
from reelgate_common.http_metrics import HttpMetrics
from reelgate_common.secure_headers import SecureHeaders
from reelgate_common.service import open_core
from reelgate_common.verification import Verifier

# Kie.ai repeats what is not answered with 200, so 503 means "say it again".
_STATUS = {InvalidInput: 400, NotFound: 404, Unavailable: 503}


async def _refuse(_: Request, error: Exception) -> JSONResponse:
    status = _STATUS[type(error)]
    if status == 503:
        return JSONResponse({"error": "Temporarily unavailable"}, status_code=503, headers={"Retry-After": "2"})
    return JSONResponse({"error": str(error)}, status_code=status)


async def _refuse_path(_: Request, error: Exception) -> JSONResponse:
    """In JSON, as everything is said here."""
    assert isinstance(error, HTTPException)  # noqa: S101 -- registered for these only
    return JSONResponse({"detail": error.detail}, status_code=error.status_code, headers=error.headers)


def create_app(settings: Settings) -> Starlette:
    """The app for these settings. Closed in reverse: consumers stop first, the pool last."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            core = await stack.enter_async_context(open_core("callback", settings, fixed_plans=True))
            verifier = Verifier(core.db, core.kie, settings, "callback", relay=core.relay)
            subscriptions = consumers.build(core, verifier, settings)
            await stack.enter_async_context(core.bus.consuming(subscriptions))
            await stack.enter_async_context(open_sender(core.db, settings))
            # Webhooks are stored while the broker is away, so only the database decides readiness.
            checks = {"database": health.database(core.db)}
            yield {"receiver": Receiver(core.db, core.relay, settings), "checks": checks}

    app = Starlette(
        lifespan=lifespan,
        routes=[*ROUTES, *health.routes(lambda request: request.state.checks)],
        exception_handlers={HTTPException: _refuse_path, **dict.fromkeys(_STATUS, _refuse)},
    )
    app.router.redirect_slashes = False
    app.add_middleware(BodyLimit, max_bytes=settings.max_callback_bytes)
    app.add_middleware(SecureHeaders)
    # Kie.ai knows nothing of our traces, and a stranger shall not begin any: see Receiver in handlers.
    app.add_middleware(HttpContext, traces=False)
    app.add_middleware(HttpMetrics)
    return app
