"""The gauges of what the whole gateway has not done yet: counted in one pass, so that no other path pays for them."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import Gauge

from reelgate_common import backlog, metrics, topology
from reelgate_common.bus import Bus
from reelgate_common.db import Database
from reelgate_common.domain.errors import Unavailable
from reelgate_common.slots import SENDS
from reelgate_reconciler.settings import Settings

_OF_DATABASE = (
    metrics.jobs,
    metrics.oldest_job,
    metrics.refunds_due,
    metrics.oldest_refund_due,
    metrics.outbox_rows,
    metrics.oldest_outbox,
    metrics.webhooks_due,
    metrics.window_used,
)
_BY_LABEL = (metrics.jobs, metrics.oldest_job, metrics.queue_messages, metrics.queue_consumers)
_OF_BROKER = (metrics.queue_messages, metrics.queue_consumers, metrics.parked_messages)


def _show_nothing(gauges: Sequence[Gauge]) -> None:
    for gauge in gauges:
        if gauge in _BY_LABEL:
            gauge.clear()
        else:
            gauge.set(math.nan)  # which no `max` takes, and no alert


@dataclass(frozen=True)
class Measures:
    """Every replica shows them; they are the same within the seconds between two passes."""

    db: Database
    bus: Bus
    settings: Settings

    async def run_once(self) -> int:
        """Show what the database and the broker hold. Of one that is away nothing is shown: Unavailable.

        Another replica may still see it, and `max` would take what this one saw last for as true as that.
        """
        looks = (self._look_into_database(), self._look_into_broker())
        ends = await asyncio.gather(*looks, return_exceptions=True)
        for end, gauges in zip(ends, (_OF_DATABASE, _OF_BROKER), strict=True):
            if end is not None:
                _show_nothing(gauges)
        for problem in filter(None, ends):
            raise problem
        return 0

    async def _look_into_database(self) -> None:
        most = backlog.MOST_COUNTED
        async with self.db.connection() as connection:
            standing = await backlog.standing(connection, backlog.OPEN, at_most=most)
            waiting = await backlog.waiting(connection, at_most=most)
            due = await backlog.due(connection, at_most=most)
            used = await SENDS.used(connection, seconds=self.settings.kie_send_window_seconds)
        for state in standing:
            metrics.jobs.labels(state["state"]).set(state["count"])
            metrics.oldest_job.labels(state["state"]).set(state["oldest_seconds"])
        metrics.refunds_due.set(waiting["refunds_due"])
        metrics.oldest_refund_due.set(due["oldest_refund"])
        metrics.outbox_rows.set(due["messages"])
        metrics.oldest_outbox.set(due["oldest_message"])
        metrics.webhooks_due.set(due["webhooks"])
        metrics.window_used.set(used)
        metrics.window_allowed.set(self.settings.kie_sends_per_window)

    async def _look_into_broker(self) -> None:
        names = [name for queue in topology.QUEUES for name in (queue.name, queue.retry_name)]
        depths = await self.bus.depths([*names, topology.PARKED])
        if depths is None:
            raise Unavailable("the broker is away")
        metrics.queue_messages.clear()  # of queues that are gone
        metrics.queue_consumers.clear()
        for name, depth in depths.items():
            metrics.queue_messages.labels(name).set(depth.messages)
            metrics.queue_consumers.labels(name).set(depth.consumers)
        metrics.parked_messages.set(depths[topology.PARKED].messages if topology.PARKED in depths else 0)
