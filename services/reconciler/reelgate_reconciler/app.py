"""The composition root of the reconciler: what it opens, in which order."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from starlette.applications import Starlette

from reelgate_common import health
from reelgate_common.audit import RunningAudit
from reelgate_common.custody.store import Store
from reelgate_common.service import Core, background, open_core
from reelgate_common.strangers import open_resolver
from reelgate_common.verification import Verifier
from reelgate_common.video_files import VideoFiles
from reelgate_reconciler import consumers, loops
from reelgate_reconciler.balance_watch import BalanceWatch
from reelgate_reconciler.custody.copier import Copier
from reelgate_reconciler.custody.keeper import Keeper
from reelgate_reconciler.handlers import BY, Reconciler
from reelgate_reconciler.measures import Measures
from reelgate_reconciler.settings import Settings

_POLLS = 0.7  # of the questions Kie.ai takes a second; the rest is free for what webhooks and callers ask


@asynccontextmanager
async def _custody(core: Core, settings: Settings) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        url = settings.custody_url
        store = await stack.enter_async_context(Store.opened(url)) if url else None
        resolver = await stack.enter_async_context(open_resolver())
        files = await stack.enter_async_context(VideoFiles.open(resolver, trusted=settings.kie_ai_api_endpoint))
        copier = Copier(core.db, store, files, settings) if store else None
        async with background(*loops.build_custody(Keeper(core.db, store), copier, settings)):
            yield


def create_app(settings: Settings) -> Starlette:
    """Health and metrics; the work runs in the lifespan. Closed in reverse: the loops stop first, the pool last."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            core = await stack.enter_async_context(open_core(BY, settings))
            verifier = Verifier(core.db, core.kie, settings, BY, share=_POLLS, relay=core.relay)
            reconciler = Reconciler(core.db, core.bus, core.relay, verifier, settings)
            balance_watch = BalanceWatch(core.db, core.kie, settings)
            subscriptions = consumers.build(reconciler, core.bus.publisher)
            consumer = await stack.enter_async_context(core.bus.consuming(subscriptions))
            measures = Measures(core.db, core.bus, settings)
            passes = loops.build(reconciler, RunningAudit(core.db), balance_watch, measures)
            await stack.enter_async_context(background(*passes))
            await stack.enter_async_context(_custody(core, settings))
            checks = {"database": health.database(core.db), "broker": health.consuming(consumer)}
            yield {"checks": checks}

    return Starlette(lifespan=lifespan, routes=health.routes(lambda request: request.state.checks))
