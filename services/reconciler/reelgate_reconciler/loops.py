"""The clock: each pass again and again, every one on its own."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from reelgate_common import metrics
from reelgate_common.audit import RunningAudit
from reelgate_common.connection import TROUBLE
from reelgate_common.domain.errors import Unavailable
from reelgate_reconciler.balance_watch import BalanceWatch
from reelgate_reconciler.custody.copier import Copier
from reelgate_reconciler.custody.keeper import Keeper
from reelgate_reconciler.handlers import Reconciler
from reelgate_reconciler.measures import Measures
from reelgate_reconciler.settings import Settings

log = structlog.get_logger(__name__)

Pass = Callable[[], Awaitable[int]]


def build(
    reconciler: Reconciler, running_audit: RunningAudit, balance_watch: BalanceWatch, measures: Measures
) -> list[Coroutine[Any, Any, None]]:
    """Every pass with how often it runs."""
    settings = reconciler.settings
    return [
        every(settings.reconcile_seconds, "check_due", reconciler.check_due),
        every(settings.reconcile_seconds, "end_overdue", reconciler.end_overdue),
        every(settings.sweep_seconds, "sweep_refunds", reconciler.sweep_refunds),
        every(settings.sweep_seconds, "republish", reconciler.republish),
        every(settings.mend_seconds, "mend_topology", reconciler.mend_topology),
        every(settings.audit_seconds, "audit", running_audit.report),
        every(settings.balance_seconds, "balance", balance_watch.run_once),
        every(settings.measure_seconds, "measure", measures.run_once),
        every(settings.clean_seconds, "clean", reconciler.clean),
        every(settings.clean_seconds, "retire", reconciler.retire),
    ]


def build_custody(keeper: Keeper, copier: Copier | None, settings: Settings) -> list[Coroutine[Any, Any, None]]:
    """The passes over videos; a copier for each copy that may be under way at once, so that refunds wait for none."""
    copiers = [copier] * settings.custody_copies if copier else []
    return [
        every(settings.sweep_seconds, "keep_videos", keeper.run_once),
        *(every(settings.custody_seconds, "copy_videos", one.run_once) for one in copiers),
    ]


async def every(seconds: float, name: str, run_once: Pass) -> None:
    """Run a pass until cancelled; one that fails is logged and counted, and the next comes in its time."""
    failures = metrics.loop_failures.labels(name)  # from now on it is shown, at 0
    metrics.last_pass.labels(name).set_to_current_time()  # one that never comes to its end is missed from here on
    while True:
        try:
            count = await run_once()
            metrics.last_pass.labels(name).set_to_current_time()
        except (Unavailable, *TROUBLE) as error:
            count = 0
            log.warning("pass_put_off", task=name, error=str(error))
        except Exception:
            count = 0
            failures.inc()
            log.exception("pass_crashed", task=name)
        if count:
            log.info("pass_done", task=name, count=count)
        # Spread, so that replicas do not all look at the same moment.
        await asyncio.sleep(seconds * random.uniform(0.8, 1.2))  # noqa: S311
