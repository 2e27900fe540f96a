"""The gauges of what the whole gateway has not done yet: counted in one pass, so that no other path pays for them."""

from dataclasses import dataclass

from reelgate_common import backlog, metrics, topology
from reelgate_common.bus import Bus
from reelgate_common.db import Database
from reelgate_common.domain.errors import Unavailable
from reelgate_common.slots import SENDS
from reelgate_reconciler.settings import Settings


@dataclass(frozen=True)
class Measures:
    """Every replica shows them; they are the same within the seconds between two passes."""

    db: Database
    bus: Bus
    settings: Settings

    async def run_once(self) -> int:
        """Show what the database and the broker hold. Of one that is away the gauges stay: Unavailable."""
        await self._look_into_database()
        await self._look_into_broker()
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
        for name, depth in depths.items():
            metrics.queue_messages.labels(name).set(depth.messages)
            metrics.queue_consumers.labels(name).set(depth.consumers)
        metrics.parked_messages.set(depths[topology.PARKED].messages if topology.PARKED in depths else 0)
