"""What the simulator has seen, counted: the ground truth that tests and benchmarks compare with."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Stats:
    """Counters only; nothing here decides anything. `sends` is `accepted` plus all of `refused`."""

    sends: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    sends_by_prompt: Counter[str] = field(default_factory=Counter)
    accepted_by_prompt: Counter[str] = field(default_factory=Counter)
    sends_by_callback_url: Counter[str] = field(default_factory=Counter)
    record_info: int = 0
    queries_refused: int = 0
    upgrades: Counter[str] = field(default_factory=Counter)  # started and billed, by kind
    uploads: int = 0
    record_info_by_task: Counter[str] = field(default_factory=Counter)
    callbacks_sent: int = 0
    callbacks_delivered: int = 0
    callbacks_failed: int = 0

    def summary(self) -> dict[str, Any]:
        """Return the totals; their size does not grow with use."""
        return {
            "sends": self.sends,
            "accepted": self.accepted,
            "refused": self.refused,
            "record_info": self.record_info,
            "queries_refused": self.queries_refused,
            "upgrades": self.upgrades,
            "uploads": self.uploads,
            "callbacks": {
                "sent": self.callbacks_sent,
                "delivered": self.callbacks_delivered,
                "failed": self.callbacks_failed,
            },
        }

    def details(self) -> dict[str, Any]:
        """Return the counts by prompt, callback URL and task."""
        return {
            "sends_by_prompt": self.sends_by_prompt,
            "accepted_by_prompt": self.accepted_by_prompt,
            "sends_by_callback_url": self.sends_by_callback_url,
            "record_info_by_task": self.record_info_by_task,
        }
