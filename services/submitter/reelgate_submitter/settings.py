"""What the submitter can be told."""

import json
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from reelgate_common.domain import pricing
from reelgate_common.domain.pricing import Prices
from reelgate_common.service import ServiceSettings
from reelgate_common.settings import CallbackUrlSettings, Seconds, SendWindowSettings


def _over_known(value: Any) -> Any:
    """What is given replaces the known price; what is not given stays."""
    if not isinstance(value, str):
        return value
    try:
        given = json.loads(value)
        videos, upgrades = given.get("videos", {}), given.get("upgrades", {})
        known = pricing.VENDOR
        return {
            "videos": {model: {**of_model, **videos.get(model, {})} for model, of_model in known.videos.items()},
            "upgrades": {**known.upgrades, **upgrades},
        }
    except (ValueError, AttributeError, TypeError):
        raise ValueError('must be a JSON object like {"videos": {"veo3": {"720p": 250}}}') from None


class Settings(ServiceSettings, CallbackUrlSettings, SendWindowSettings):
    """The sends: their rate, their retries."""

    # Added to the window, since a request takes a different time each time to arrive.
    kie_send_margin_seconds: float = Field(default=0.15, ge=0)
    # Jobs at Kie.ai at once ("typically 100+"), and what sends may cost in a UTC day, in its credits. 0: no limit.
    kie_concurrent_tasks: int = Field(default=0, ge=0)
    kie_daily_credits: float = Field(default=0, ge=0, allow_inf_nan=False)
    # What Kie.ai bills, as a JSON object {"videos": {model: {resolution: credits}}, "upgrades": {resolution: credits}}.
    kie_prices: Annotated[Prices | None, NoDecode, BeforeValidator(_over_known)] = None
    kie_calls_in_flight: int = Field(default=40, ge=1)  # per process
    retry_first_seconds: Seconds = 1
    retry_max_seconds: Seconds = 300
    breaker_first_seconds: Seconds = 5
    breaker_failures_in_a_row: int = Field(default=5, ge=1)  # sends without a usable answer that open it

    @property
    def vendor_prices(self) -> Prices:
        """What Kie.ai bills, as far as it is known."""
        return self.kie_prices or pricing.VENDOR
