"""The composition root of the API: what it opens, in which order, and what it serves."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware

from reelgate_api import documented, problems
from reelgate_api.accepting.handlers import Acceptor
from reelgate_api.callers import Callers
from reelgate_api.console import routes as console
from reelgate_api.custody import routes as custody_routes
from reelgate_api.custody.handlers import Files
from reelgate_api.custody.places import Places
from reelgate_api.dependencies import Parts, State
from reelgate_api.images import form as image_form
from reelgate_api.images import routes as image_routes
from reelgate_api.jobs import routes as job_routes
from reelgate_api.jobs.lookup import Lookup
from reelgate_api.jobs.pace import Pace
from reelgate_api.keys.routes import router as keys_router
from reelgate_api.limits.handlers import Limiter
from reelgate_api.live.hub import Hub
from reelgate_api.live.routes import router as live_router
from reelgate_api.openai import fields as openai_fields
from reelgate_api.openai import routes as openai_routes
from reelgate_api.openai.patience import Patience
from reelgate_api.operations.handlers import Operations
from reelgate_api.operations.routes import router as operations_router
from reelgate_api.provider import CallbackService
from reelgate_api.reference.routes import router as reference_router
from reelgate_api.routes import CALLBACK_PATH, direct, router
from reelgate_api.settings import Settings
from reelgate_api.sign_in.routes import router as sign_in_router
from reelgate_api.vendor_watch import VendorWatch
from reelgate_api.wallets.routes import router as wallets_router
from reelgate_api.webhooks.routes import router as webhooks
from reelgate_common import health, logs, service
from reelgate_common.body_limit import BodyLimit
from reelgate_common.breaker import Trouble
from reelgate_common.custody.store import Store
from reelgate_common.http_context import HEADER as REQUEST_ID
from reelgate_common.http_context import HttpContext
from reelgate_common.http_metrics import HttpMetrics
from reelgate_common.secure_headers import SecureHeaders
from reelgate_common.service import background, open_core
from reelgate_common.settings import load_or_exit
from reelgate_common.strangers import open_resolver
from reelgate_common.verification import Verifier
from reelgate_common.video_files import VideoFiles


@asynccontextmanager
async def open_parts(settings: Settings) -> AsyncIterator[Parts]:
    """Everything a request may need; closed in reverse."""
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(open_core("api", settings))
        verifier = Verifier(core.db, core.kie, settings, "api", relay=core.relay)
        callback = None
        if settings.callback_service_url:
            callback = await stack.enter_async_context(CallbackService.open(settings.callback_service_url))
        watch = VendorWatch(core.db)
        await stack.enter_async_context(background(watch.run()))
        limiter = Limiter(core.db, settings)
        if settings.max_queued:
            await stack.enter_async_context(background(limiter.queue.run()))
        resolver = await stack.enter_async_context(open_resolver())
        host = await stack.enter_async_context(VideoFiles.open(resolver, trusted=settings.kie_ai_api_endpoint))
        url = settings.custody_url
        store = await stack.enter_async_context(Store.opened(url)) if url else None
        hub = await stack.enter_async_context(Hub.open(core.db, core.bus, settings))
        pace = Pace(core.db)
        await stack.enter_async_context(background(pace.run()))
        yield Parts(
            settings,
            core.db,
            Callers(core.db),
            Lookup(core.db),
            core.bus,
            core.relay,
            verifier,
            callback,
            watch,
            limiter,
            Acceptor(core.db, core.relay, settings, limiter),
            core.kie,
            Files(core.db, store, host, Places(settings.max_downloads)),
            hub,
            pace,
            Operations(core.db, core.bus, settings),
        )


def _checks(request: Request) -> dict[str, health.Check]:
    return {"database": health.database(request.state.parts.db)}


def _degraded(request: Request) -> str | None:
    trouble: Trouble | None = request.state.parts.vendor_watch.trouble
    return f"nothing is sent to Kie.ai: {trouble.reason}" if trouble else None


def create_app(settings: Settings) -> FastAPI:
    """The app for these settings; nothing is opened before its lifespan."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with open_parts(settings) as parts:
            yield {"parts": parts}

    app = FastAPI(
        title="Reelgate",
        version="0.1.0",
        summary="A video, or your credits back.",
        lifespan=lifespan,
        description=documented.DESCRIPTION,
        openapi_tags=documented.TAGS,
        docs_url=None,  # the stock page loads from a CDN
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # we have our own; asked for at each request
        redirect_slashes=False,  # a redirect would name the host and scheme that the request claims
    )
    app.routes.extend(direct.routes)  # first, and not included: looked at first, and once
    app.include_router(router)
    app.include_router(job_routes.router)
    app.include_router(custody_routes.router)
    app.include_router(image_routes.router)
    app.include_router(wallets_router)
    app.include_router(webhooks)
    app.include_router(keys_router)
    app.include_router(sign_in_router)
    app.include_router(openai_routes.router)
    app.include_router(live_router)
    app.include_router(reference_router)
    app.include_router(operations_router)
    app.routes.extend(console.routes(settings))
    app.routes.extend(health.routes(_checks, degraded=_degraded))
    problems.install(app)
    documented.describe(app, problems.Problem)
    image_bytes = settings.max_image_bytes + image_form.FRAME_BYTES
    app.add_middleware(
        BodyLimit,
        max_bytes=settings.max_body_bytes,
        streamed={image_routes.PATH: image_bytes, openai_routes.PATH: openai_fields.max_bytes(settings)},
        answer=problems.too_large,
    )
    app.add_middleware(Patience, path=openai_routes.PATH)
    if settings.cors_allow_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_allow_origins,
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                "If-None-Match",
                "If-Range",
                "Last-Event-ID",
                "Range",
                "traceparent",
                REQUEST_ID,
            ],
            expose_headers=[
                *documented.ANSWER_HEADERS,
                REQUEST_ID,
                "Accept-Ranges",
                "Content-Range",
                "openai-poll-after-ms",
            ],
        )
    app.add_middleware(SecureHeaders, is_public_tls=settings.public_base_url.startswith("https:"))
    app.add_middleware(HttpContext, join=settings.trace_callers == "join", untraced=frozenset({CALLBACK_PATH}))
    app.add_middleware(HttpMetrics)
    return app


def create_from_environment() -> FastAPI:
    """For worker processes, which start from an import string and end with the process that started them."""
    service.end_with_parent()
    settings = load_or_exit(Settings)
    logs.configure("api", level=settings.log_level, form=settings.log_format)
    app = create_app(settings)
    service.keep_out_of_collections()
    return app
