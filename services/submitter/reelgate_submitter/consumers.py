"""AMQP in: which queue goes to which handler."""

from reelgate_common import topology
from reelgate_common.bus import Publisher, Subscription
from reelgate_common.consumer import subscription
from reelgate_common.messages import JobRequested
from reelgate_submitter.handlers import Submitter


def build(submitter: Submitter, publisher: Publisher) -> list[Subscription]:
    """Few permits at once: what waits in the broker is free for every replica."""
    return [
        subscription(
            topology.JOB_REQUESTED,
            JobRequested,
            submitter.use_permit,
            publisher=publisher,
            is_permit=True,
            prefetch=submitter.settings.kie_calls_in_flight,
        )
    ]
