"""HTTP bodies about webhooks."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from reelgate_api.schemas import Label, wrong
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
    description: Label | None = Field(default=None, description="Yours.")


class WebhookChange(BaseModel):
    """What shall change; what is left out stays."""

    model_config = ConfigDict(extra="ignore", strict=True)

    url: str = Field(default="", description=_URL)
    events: Events | None = Field(default=None, description=_EVENTS.replace("left out", "null"))
    description: Label | None = Field(default=None, description="Yours.")
    disabled: bool = Field(default=False, description="While true, deliveries wait.")


class WebhookView(BaseModel):
    """An endpoint as its owner sees it."""

    id: UUID
    url: str
    events: list[str] | None = Field(description="null: all.")
    description: str | None
    disabled: bool = Field(description="Deliveries wait meanwhile.")
    disabled_at: datetime | None
    disabled_reason: str | None = Field(description="owner, gone (it answered 410) or failing (for days).")
    failing_since: datetime | None = Field(description="The first failure since the last success.")
    created_at: datetime


class WebhookMade(WebhookView):
    """A new endpoint, with its secret for the only time."""

    secret: str = Field(description="Verifies the signatures. Keep it: it is not shown again.")


class Webhooks(BaseModel):
    """The endpoints of a key, oldest first."""

    webhooks: list[WebhookView]


class Secret(BaseModel):
    """What signatures are verified with."""

    id: UUID
    secret: str
    previous_secret_valid_until: datetime | None = Field(
        description="Until then each request is signed with the secret before this one, too."
    )


class Queued(BaseModel):
    """A delivery that will be sent."""

    delivery_id: UUID


class DeliveryView(BaseModel):
    """One event for one endpoint."""

    id: UUID = Field(description="The header webhook-id of each attempt.")
    webhook_id: UUID = Field(description="The endpoint.")
    url: str
    type: str
    job_id: UUID | None
    state: Literal["pending", "delivered", "failed"]
    attempts: int
    next_attempt_at: datetime | None
    last_status: int | None
    last_error: str | None
    created_at: datetime


class LogQuery(BaseModel):
    """Which part of a log."""

    state: Literal["pending", "delivered", "failed"] | None = None
    cursor: str | None = Field(default=None, description="next_cursor of the page before.")
    limit: int = Field(default=50, ge=1, le=200)


class Deliveries(BaseModel):
    """A page of an endpoint's log, newest first."""

    deliveries: list[DeliveryView]
    next_cursor: str | None = Field(description="Give it as cursor for the next page.")


class Attempt(BaseModel):
    """One request and what came of it."""

    n: int
    at: datetime
    milliseconds: int
    status: int | None
    error: str | None = Field(description="null: delivered.")
    answer: str | None = Field(description="The beginning of the receiver's answer.")


class DeliveryDetail(DeliveryView):
    """A delivery with what is sent and what was tried."""

    payload: dict[str, Any]
    log: list[Attempt]


def _written(value: Any) -> Any:
    if not isinstance(value, str):
        raise wrong("a time is written as text, like 2026-01-31T12:00:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_written)]


class RangeBody(BaseModel):
    """Which of an endpoint's deliveries are to be sent again."""

    model_config = ConfigDict(extra="ignore")

    from_: Moment = Field(alias="from", description="Made at or after.")
    to: Moment = Field(description="Made before.")
    state: Literal["failed", "all"] = Field(default="failed", description="all: also what was delivered.")


class Replayed(BaseModel):
    """How many will be sent again."""

    replayed: int
    next_from: datetime | None = Field(description="When there are more: ask again with this as from.")
