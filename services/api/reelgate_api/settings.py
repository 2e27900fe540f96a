"""What the API can be told."""

import ipaddress
import json
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from reelgate_common.custody.settings import BucketSettings
from reelgate_common.domain import pricing
from reelgate_common.domain.pricing import Prices
from reelgate_common.service import ServiceSettings
from reelgate_common.settings import (
    BaseUrl,
    PublicUrlSettings,
    Seconds,
    SendWindowSettings,
    WebhookSettings,
    Words,
)


class Settings(ServiceSettings, BucketSettings, PublicUrlSettings, SendWindowSettings, WebhookSettings):
    """The public HTTP surface."""

    auth_mode: Literal["required", "open"] = "required"
    # How long a session lasts that a wallet's signature opened; 0: there are none.
    session_seconds: int = Field(default=3600, ge=0, le=30 * 86400)
    sign_in_chain_id: int | None = Field(default=None, ge=1)  # unset: whichever the wallet is on
    cron_secret: SecretStr | None = None  # unset: the cron endpoint is closed
    # What becomes of a caller's traceparent: our trace is linked with the caller's, or goes on with it.
    trace_callers: Literal["link", "join"] = "link"
    api_workers: int = Field(default=1, ge=1, le=64)
    # Where the callback path is forwarded to; unset where a gateway in front routes it itself.
    callback_service_url: BaseUrl | None = None
    cors_allow_origins: Words = Field(default_factory=list)
    signup_credits: int = Field(default=0, ge=0)
    # A number of credits (for veo3_fast at 720p; the others in the vendor's ratio), or a JSON object
    # {"model": {"resolution": credits}} that is the whole price list.
    credits_per_video: Annotated[dict[str, dict[str, Annotated[int, Field(gt=0)]]], NoDecode] = Field(
        default_factory=pricing.default_prices
    )
    # A JSON object {"resolution": credits}: a better copy of a finished video. Unset: in the vendor's ratio too.
    credits_per_upgrade: dict[str, Annotated[int, Field(gt=0)]] | None = None
    kie_reference_image_limit: int = Field(default=8, ge=1, le=8)
    # Requests a minute that make a job, for each API key and for each wallet, all replicas together; 0: no limit.
    # As many may come at once; they are free again evenly over the minute.
    rate_limit_per_key: int = Field(default=0, ge=0, le=6_000_000)
    rate_limit_per_wallet: int = Field(default=0, ge=0, le=6_000_000)
    # Jobs that wait to be sent: of one wallet, exactly; of everybody, as a brake that looks each second. 0: no limit.
    max_queued_per_wallet: int = Field(default=0, ge=0, le=1_000_000)
    max_queued: int = Field(default=0, ge=0, le=1_000_000)
    max_body_bytes: int = Field(default=256 * 1024, ge=1024)
    max_image_bytes: int = Field(default=10 * 1024 * 1024, ge=1024)
    max_streams: int = Field(default=10_000, ge=0)
    max_downloads: int = Field(default=100, ge=1)  # videos passed on at once, per process; of one video an eighth
    live_sweep_seconds: Seconds = 2
    # Who asks for a kept video is sent on to the bucket, by an address that is good for so long. 0: it is passed on.
    custody_link_seconds: int = Field(default=0, ge=0, le=7 * 86400)

    @field_validator("credits_per_video", mode="before")
    @classmethod
    def _one_number_scales_the_list(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            given = json.loads(value)
        except ValueError:
            raise ValueError("must be a number of credits, or a JSON object of them") from None
        return pricing.default_prices(given) if isinstance(given, int) and given > 0 else given

    @property
    def prices(self) -> Prices:
        """The whole price list."""
        upgrades = self.credits_per_upgrade
        if upgrades is None:
            upgrades = pricing.default_upgrades(self.credits_per_video)
        return Prices(videos=self.credits_per_video, upgrades=upgrades)

    @model_validator(mode="after")
    def _open_stays_at_home(self) -> "Settings":
        host = urlsplit(self.public_base_url).hostname or ""
        if self.auth_mode == "open" and not _is_loopback(host):
            raise ValueError("AUTH_MODE=open serves anyone: it needs a loopback PUBLIC_BASE_URL")
        return self


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
