"""What the environment says; read once, in `__main__`."""

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from reelgate_simulator.config import Config, ThrottleForm

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - compared with, not bound to


class Settings(BaseSettings):
    """The simulator's start values; most can be changed later by `POST /sim/config`."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True)

    http_host: str = "127.0.0.1"
    http_port: NonNegativeInt = 8090
    # The bearer expected; empty accepts any bearer, never a missing one.
    kie_ai_api_key: SecretStr = SecretStr("")
    # Signs callbacks; empty leaves the signature headers out, as the vendor does until a key is made.
    kie_webhook_hmac_key: SecretStr = SecretStr("")
    # The vendor's published limit: 20 new tasks in 10 s. 0 sends is no limit.
    kie_sends_per_window: NonNegativeInt = 20
    kie_send_window_seconds: PositiveFloat = 10.0
    # The vendor takes two to five minutes.
    sim_video_seconds: NonNegativeFloat = 180.0
    # Unset: 20 times the video time.
    sim_late_seconds: NonNegativeFloat | None = None
    sim_submit_delay_seconds: NonNegativeFloat = 0.0
    sim_submit_timeout_seconds: NonNegativeFloat = 60.0
    sim_record_delay_seconds: NonNegativeFloat = 0.0
    # The vendor's retry interval is unpublished; 15 s to answer is its documented limit.
    sim_callback_retry_seconds: NonNegativeFloat = 1.0
    sim_callback_timeout_seconds: PositiveFloat = 15.0
    sim_credits: NonNegativeFloat = 100_000.0
    sim_throttle_form: ThrottleForm = "body-429"
    sim_reference_image_limit: PositiveInt = 3
    # Unset: as long as a video. The vendor takes one to three minutes for 1080p, five to ten for 4K.
    sim_upgrade_seconds: NonNegativeFloat | None = None
    # An older page says 10 a second for a key; no refusal was ever recorded. 0 is no limit.
    sim_queries_per_second: NonNegativeInt = 0
    # Base of result URLs; empty is this server's own address.
    sim_public_url: str = ""

    def config(self) -> Config:
        """Return the knobs these settings start with."""
        host = _ANY_ADDRESS.get(self.http_host, self.http_host)
        return Config(
            api_key=self.kie_ai_api_key,
            hmac_key=self.kie_webhook_hmac_key,
            public_url=(self.sim_public_url or f"http://{host}:{self.http_port}").rstrip("/"),
            credits=self.sim_credits,
            sends_per_window=self.kie_sends_per_window,
            send_window_seconds=self.kie_send_window_seconds,
            throttle_form=self.sim_throttle_form,
            reference_image_limit=self.sim_reference_image_limit,
            video_seconds=self.sim_video_seconds,
            late_seconds=self.sim_late_seconds,
            submit_delay_seconds=self.sim_submit_delay_seconds,
            submit_timeout_seconds=self.sim_submit_timeout_seconds,
            record_delay_seconds=self.sim_record_delay_seconds,
            upgrade_seconds=self.sim_upgrade_seconds,
            queries_per_second=self.sim_queries_per_second,
            callback_retry_seconds=self.sim_callback_retry_seconds,
            callback_timeout_seconds=self.sim_callback_timeout_seconds,
        )
