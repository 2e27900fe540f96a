"""The composition root of the submitter: what it opens, in which order."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from starlette.applications import Starlette

from reelgate_common import health
from reelgate_common.service import open_core
from reelgate_submitter import consumers
from reelgate_submitter.handlers import BY, Submitter
from reelgate_submitter.settings import Settings

_RECORD_SECONDS = 10.0  # for the claim before a call and the record after it, with a slow database


def drain_seconds(settings: Settings) -> float:
    """How long a stop waits for the sends in hand: as long as one may take. Cut off, it may be billed and unknown."""
    return settings.kie_send_timeout_seconds + _RECORD_SECONDS


def create_app(settings: Settings) -> Starlette:
    """Health and metrics; the work runs in the lifespan. Closed in reverse: permits stop first, the pool last."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            core = await stack.enter_async_context(open_core(BY, settings, fixed_plans=True))
            submitter = Submitter(core.db, core.kie, core.relay, settings)
            subscriptions = consumers.build(submitter, core.bus.publisher)
            consuming = core.bus.consuming(subscriptions, drain_seconds=drain_seconds(settings))
            consumer = await stack.enter_async_context(consuming)
            stack.callback(submitter.stopping.set)
            checks = {"database": health.database(core.db), "broker": health.consuming(consumer)}
            yield {"checks": checks}

    return Starlette(lifespan=lifespan, routes=health.routes(lambda request: request.state.checks))
