"""The broker's exchanges, queues and bindings, as data. `bus.declare` is the only place that makes them.

The same arguments work on RabbitMQ 3.10 and 4.x. Arguments carry correctness; capacity belongs into
policies. To change an argument, raise the version in the queue's name: a broker refuses the old name
with new arguments.
"""

from dataclasses import dataclass
from typing import Any

from reelgate_common.messages import EVENTS, CallbackReceived, Event, JobCanceled, JobFailed, JobRequested

EXCHANGE = "reelgate.events"  # topic; routing key = the event's name
DEAD_LETTERS = "reelgate.dead-letters"  # direct; routing key = the queue a message was rejected from
PARKED = "reelgate.parked.v1"  # what failed eight rounds, kept for an operator

RETRY_MILLISECONDS = 15_000  # one fixed delay: messages expire only at a queue's head
MAX_ROUNDS = 8  # two minutes of retries, then parked
_MAX_LENGTH = 1_000_000  # reject-publish needs a limit; the outbox keeps what does not fit
_LOOKS = 1_000_000  # looking counts as a delivery; 4.x would drop a message after 20
_DELIVERY_LIMIT = 20  # explicit: 3.10 has none by default, 4.x has this one


@dataclass(frozen=True)
class Queue:
    """A work queue of one service for one event, with its retry queue behind it."""

    service: str
    event: type[Event]

    @property
    def name(self) -> str:
        """`<service>.<routing key>.v1`."""
        return f"{self.service}.{self.event.routing_key}.v1"

    @property
    def retry_name(self) -> str:
        """Where a rejected message waits before it comes back."""
        return f"{self.name}.retry"


JOB_REQUESTED = Queue("submitter", JobRequested)
CALLBACK_RECEIVED = Queue("callback", CallbackReceived)
JOB_FAILED = Queue("reconciler", JobFailed)
JOB_CANCELED = Queue("reconciler", JobCanceled)

QUEUES = (JOB_REQUESTED, CALLBACK_RECEIVED, JOB_FAILED, JOB_CANCELED)

# A message nobody durable listens for is published without `mandatory`, or it would never leave the outbox.
LISTENED_TO = frozenset(queue.event.routing_key for queue in QUEUES)

# What each api process wakes its live streams for, by a queue that goes with its connection. Never what a durable
# queue listens to: one more queue would hide from `mandatory` that the durable one is missing.
LIVE = tuple(event.routing_key for event in EVENTS if event.routing_key not in LISTENED_TO)
_LIVE_LENGTH = 10_000  # the oldest go first: a stream that missed one is told by the next sweep

_SAFE: dict[str, Any] = {
    "x-queue-type": "quorum",
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",  # at-least-once dead lettering needs it
    "x-max-length": _MAX_LENGTH,
}


def work_arguments(queue: Queue) -> dict[str, Any]:
    """A rejected message goes to the retry queue."""
    return {
        **_SAFE,
        "x-delivery-limit": _DELIVERY_LIMIT,
        "x-dead-letter-exchange": DEAD_LETTERS,
        "x-dead-letter-routing-key": queue.name,
    }


def retry_arguments(queue: Queue) -> dict[str, Any]:
    """An expired message returns to its work queue."""
    return {
        **_SAFE,
        "x-message-ttl": RETRY_MILLISECONDS,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue.name,
    }


def live_arguments() -> dict[str, Any]:
    """Nothing is kept for a process that does not keep up: the events are only wake-ups."""
    return {"x-queue-type": "classic", "x-max-length": _LIVE_LENGTH}


def parked_arguments() -> dict[str, Any]:
    """Nothing leaves the parked queue by itself, however often somebody looks into it."""
    return {
        "x-queue-type": "quorum",
        "x-overflow": "reject-publish",
        "x-max-length": _MAX_LENGTH,
        "x-delivery-limit": _LOOKS,
    }
