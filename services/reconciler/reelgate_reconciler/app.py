"""The composition root of the reconciler: what it opens, in which order."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from starlette.applications import Starlette

from reelgate_common import health
from reelgate_common.audit import RunningAudit
from reelgate_common.service import background, open_core
from reelgate_common.verification import Verifier
from reelgate_reconciler import consumers, loops
from reelgate_reconciler.balance_watch import BalanceWatch
from reelgate_reconciler.handlers import BY, Reconciler
from reelgate_reconciler.settings import Settings

_POLLS = 0.7  # of the questions Kie.ai takes a second; the rest is free for what webhooks and callers ask


def create_app(settings: Settings) -> Starlette:
    """Health and metrics; the work runs in the lifespan. Closed in reverse: the loops stop first, the pool last."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            core = await stack.enter_async_context(open_core(BY, settings))
            verifier = Verifier(core.db, core.kie, settings, BY, share=_POLLS)
            reconciler = Reconciler(core.db, core.bus, core.relay, verifier, settings)
            balance_watch = BalanceWatch(core.db, core.kie, settings)
            subscriptions = consumers.build(reconciler, core.bus.publisher)
            consumer = await stack.enter_async_context(core.bus.consuming(subscriptions))
            await stack.enter_async_context(background(*loops.build(reconciler, RunningAudit(core.db), balance_watch)))
            checks = {"database": health.database(core.db), "broker": health.consuming(consumer)}
            yield {"checks": checks}

    return Starlette(lifespan=lifespan, routes=health.routes(lambda request: request.state.checks))
