"""HTTP bodies about webhooks."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from reelgate_api.schemas import Label, Moment, wrong
from reelgate_common.webhooks import DISABLED, JOB_EVENTS

EVENTS = (*JOB_EVENTS, DISABLED)


def _events(value: list[str]) -> list[str]:
    if not value or not set(value) <= set(EVENTS):
        raise wrong(f"events must be some of {', '.join(EVENTS)}; leave it out for all")
    return list(dict.fromkeys(value))


Events = Annotated[list[str], AfterValidator(_events)]
_URL = "Where to send: a public https URL."
_EVENTS = "Which events; all when left out."


class WebhookBody(BaseModel):
    """An endpoint to be made."""

    model_config = ConfigDict(extra="ignore", strict=True)

    url: str = Field(description=_URL, examples=["https://example.com/webhooks"])
    events: Events | None = Field(default=None, description=_EVENTS, examples=[["job.completed", "job.failed"]])
    description: Label | None = Field(default=None, description="Yours.", examples=["Shop"])


class WebhookChange(BaseModel):
    """What shall change; what is left out stays."""

    model_config = ConfigDict(extra="ignore", strict=True)

    url: str = Field(default="", description=_URL, examples=["https://example.com/webhooks"])
    events: Events | None = Field(
        default=None, description=_EVENTS.replace("left out", "null"), examples=[["job.completed"]]
    )
    description: Label | None = Field(default=None, description="Yours.", examples=["Shop"])
    disabled: bool = Field(default=False, description="While true, deliveries wait.")


class WebhookView(BaseModel):
    """An endpoint as its owner sees it."""

    id: UUID = Field(description="The endpoint.", examples=["01890a5d-ac96-774b-bcce-b302099a8057"])
    url: str = Field(description="Where it is sent.", examples=["https://example.com/webhooks"])
    events: list[str] | None = Field(description="null: all.", examples=[["job.completed"]])
    description: str | None = Field(description="The caller's own words.", examples=["Shop"])
    disabled: bool = Field(description="Deliveries wait meanwhile.")
    disabled_at: datetime | None = Field(description="Since when.", examples=["2026-01-01T00:00:00Z"])
    disabled_reason: str | None = Field(
        description="owner, gone (it answered 410) or failing (for days).", examples=["failing"]
    )
    failing_since: datetime | None = Field(
        description="The first failure since the last success.", examples=["2026-01-01T00:00:00Z"]
    )
    created_at: datetime = Field(description="When it was made.", examples=["2026-01-01T00:00:00Z"])


class WebhookMade(WebhookView):
    """A new endpoint, with its secret for the only time."""

    secret: str = Field(
        description="Verifies the signatures. Keep it: it is not shown again.",
        examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )


class Webhooks(BaseModel):
    """The endpoints of a key, oldest first."""

    webhooks: list[WebhookView] = Field(description="All of them.")


class Secret(BaseModel):
    """What signatures are verified with."""

    id: UUID = Field(
        description="What is signed with it: an endpoint, or the key's own URLs.",
        examples=["01890a5d-ac96-774b-bcce-b302099a8057"],
    )
    secret: str = Field(description="Verifies the signatures.", examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
    previous_secret_valid_until: datetime | None = Field(
        description="Until then each request is signed with the secret before this one, too.",
        examples=["2026-01-01T00:00:00Z"],
    )


class Queued(BaseModel):
    """A delivery that will be sent."""

    delivery_id: UUID = Field(
        description="Its log tells what came of it.", examples=["01890a5d-ac96-774b-bcce-b302099a8057"]
    )


class DeliveryView(BaseModel):
    """One event for one endpoint."""

    id: UUID = Field(
        description="The header webhook-id of each attempt.", examples=["01890a5d-ac96-774b-bcce-b302099a8057"]
    )
    webhook_id: UUID = Field(description="The endpoint.", examples=["01890a5d-ac96-774b-bcce-b302099a8057"])
    url: str = Field(description="Where it goes.", examples=["https://example.com/webhooks"])
    type: str = Field(description="The event.", examples=["job.completed"])
    job_id: UUID | None = Field(description="The job it is about.", examples=["01890a5d-ac96-774b-bcce-b302099a8057"])
    state: Literal["pending", "delivered", "failed"] = Field(description="failed: given up.")
    attempts: int = Field(description="How often it was sent.", examples=[2])
    next_attempt_at: datetime | None = Field(description="When it is sent next.", examples=["2026-01-01T00:00:00Z"])
    last_status: int | None = Field(description="The receiver's last HTTP status.", examples=[503])
    last_error: str | None = Field(description="What was wrong with the last attempt.", examples=["no answer in time"])
    created_at: datetime = Field(description="When the event happened.", examples=["2026-01-01T00:00:00Z"])


class LogQuery(BaseModel):
    """Which part of a log."""

    state: Literal["pending", "delivered", "failed"] | None = Field(default=None, description="Only these.")
    cursor: str | None = Field(
        default=None, description="next_cursor of the page before.", examples=["AYkKXayWd0uzArzCC4JJ2w"]
    )
    limit: int = Field(default=50, ge=1, le=200, description="At most so many.", examples=[50])


class Deliveries(BaseModel):
    """A page of an endpoint's log, newest first."""

    deliveries: list[DeliveryView] = Field(description="The page.")
    next_cursor: str | None = Field(
        description="Give it as cursor for the next page.", examples=["AYkKXayWd0uzArzCC4JJ2w"]
    )


class Attempt(BaseModel):
    """One request and what came of it."""

    n: int = Field(description="Counts them from 1.", examples=[1])
    at: datetime = Field(description="When it was sent.", examples=["2026-01-01T00:00:00Z"])
    milliseconds: int = Field(description="Until the answer.", examples=[120])
    status: int | None = Field(description="The receiver's HTTP status.", examples=[200])
    error: str | None = Field(description="null: delivered.", examples=["HTTP 503"])
    answer: str | None = Field(description="The beginning of the receiver's answer.", examples=["ok"])


class DeliveryDetail(DeliveryView):
    """A delivery with what is sent and what was tried."""

    payload: dict[str, Any] = Field(description="What is sent.", examples=[{"type": "job.completed"}])
    log: list[Attempt] = Field(description="Every attempt, the oldest first.")


class RangeBody(BaseModel):
    """Which of an endpoint's deliveries are to be sent again."""

    model_config = ConfigDict(extra="ignore")

    from_: Moment = Field(alias="from", description="Made at or after.", examples=["2026-01-01T00:00:00Z"])
    to: Moment = Field(description="Made before.", examples=["2026-01-02T00:00:00Z"])
    state: Literal["failed", "all"] = Field(default="failed", description="all: also what was delivered.")


class Replayed(BaseModel):
    """How many will be sent again."""

    replayed: int = Field(description="So many.", examples=[12])
    next_from: datetime | None = Field(
        description="When there are more: ask again with this as from.", examples=["2026-01-01T00:00:00Z"]
    )
