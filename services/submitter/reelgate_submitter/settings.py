"""What the submitter can be told."""

from pydantic import Field

from reelgate_common.service import ServiceSettings
from reelgate_common.settings import PublicUrlSettings, Seconds


class Settings(ServiceSettings, PublicUrlSettings):
    """The sends: their rate, their retries."""

    # The vendor takes 20 new tasks in 10 s per account and refuses, not queues, the rest.
    kie_sends_per_window: int = Field(default=20, ge=1)
    kie_send_window_seconds: Seconds = 10
    # Added to the window, since a request takes a different time each time to arrive.
    kie_send_margin_seconds: float = Field(default=0.15, ge=0)
    kie_calls_in_flight: int = Field(default=40, ge=1)  # per process
    retry_first_seconds: Seconds = 1
    retry_max_seconds: Seconds = 300
    breaker_first_seconds: Seconds = 5
    breaker_failures_in_a_row: int = Field(default=5, ge=1)  # sends without a usable answer that open it
