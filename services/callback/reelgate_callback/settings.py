"""What the callback service can be told."""

from pydantic import Field, SecretStr

from reelgate_common.service import ServiceSettings
from reelgate_common.settings import WebhookSettings


class Settings(ServiceSettings, WebhookSettings):
    """The callback edge."""

    kie_webhook_hmac_key: SecretStr | None = None  # generated at the vendor; unset: signatures are not checked
    max_callback_bytes: int = Field(default=64 * 1024, ge=1024)
    verifications_in_flight: int = Field(default=10, ge=1)  # per process
    webhooks_in_flight: int = Field(default=32, ge=1)  # per process, over all receivers
    webhook_disable_days: float = Field(default=5, gt=0, allow_inf_nan=False)  # of failures without a success between
