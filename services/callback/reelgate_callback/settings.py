"""What the callback service can be told."""

from pydantic import Field, SecretStr

from reelgate_common.service import ServiceSettings


class Settings(ServiceSettings):
    """The callback edge."""

    kie_webhook_hmac_key: SecretStr | None = None  # generated at the vendor; unset: signatures are not checked
    max_callback_bytes: int = Field(default=64 * 1024, ge=1024)
    verifications_in_flight: int = Field(default=10, ge=1)  # per process
