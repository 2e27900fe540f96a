"""AMQP in: which queue goes to which handler."""

from reelgate_common import topology
from reelgate_common.bus import Publisher, Subscription
from reelgate_common.consumer import subscription
from reelgate_common.messages import JobCanceled, JobFailed
from reelgate_reconciler.handlers import Reconciler

_PREFETCH = 50  # a refund is one short transaction


def build(reconciler: Reconciler, publisher: Publisher) -> list[Subscription]:
    """A job that does not deliver is refunded at once; the sweep is only the net below."""
    return [
        subscription(topology.JOB_FAILED, JobFailed, reconciler.refund, publisher=publisher, prefetch=_PREFETCH),
        subscription(topology.JOB_CANCELED, JobCanceled, reconciler.refund, publisher=publisher, prefetch=_PREFETCH),
    ]
