"""The knobs that can be turned while the simulator runs."""

from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    field_validator,
)

from reelgate_simulator import scenarios

ThrottleForm = Literal["body-429", "body-430", "http-429"]
LATE_FACTOR = 20  # late means long after any sane deadline of a client tuned to the video time
_DAY = 86_400.0


class Config(BaseModel):
    """One consistent set of knobs; a change makes a new set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    api_key: SecretStr = SecretStr("")
    hmac_key: SecretStr = SecretStr("")
    public_url: str = "http://127.0.0.1:8090"
    credits: NonNegativeFloat = 100_000.0

    sends_per_window: NonNegativeInt = 20
    send_window_seconds: PositiveFloat = 10.0
    throttle_form: ThrottleForm = "body-429"
    reference_image_limit: PositiveInt = 3

    video_seconds: NonNegativeFloat = 180.0
    late_seconds: NonNegativeFloat | None = None
    submit_delay_seconds: NonNegativeFloat = 0.0
    submit_timeout_seconds: NonNegativeFloat = 60.0
    record_delay_seconds: NonNegativeFloat = 0.0
    upgrade_seconds: NonNegativeFloat | None = None
    queries_per_second: NonNegativeInt = 0

    upload_max_bytes: PositiveInt = 100 * 1024 * 1024
    fetch_timeout_seconds: PositiveFloat = 30.0
    upload_seconds: NonNegativeFloat = _DAY
    link_seconds: NonNegativeFloat = 20 * 60.0
    retention_seconds: NonNegativeFloat = 14 * _DAY

    callback_retries: NonNegativeInt = 3
    callback_retry_seconds: NonNegativeFloat = 1.0
    callback_timeout_seconds: PositiveFloat = 15.0

    refuse_all: int | None = None
    outage_http_status: int | None = Field(default=None, ge=400, le=599)
    default_scenarios: str = ""

    @field_validator("default_scenarios")
    @classmethod
    def _are_known(cls, value: str) -> str:
        scenarios.behaviour_of(scenarios.words_of_header(value))
        return value

    @property
    def upgrade(self) -> float:
        """Seconds a 1080p or 4K upgrade takes."""
        return self.video_seconds if self.upgrade_seconds is None else self.upgrade_seconds

    @property
    def late(self) -> float:
        """Seconds a `sim:late-success` task takes."""
        return self.video_seconds * LATE_FACTOR if self.late_seconds is None else self.late_seconds
