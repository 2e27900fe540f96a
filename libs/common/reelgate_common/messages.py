"""The contracts on the wire: one frozen model per message, with its routing key.

Every message can be made again from a table row: the broker carries, PostgreSQL knows.
"""

from datetime import UTC, datetime
from typing import ClassVar, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reelgate_common.ids import new_id


class UnreadableMessage(Exception):
    """The body is no message of the type its routing key promises."""


class Event(BaseModel):
    """What all messages carry. `job_version` is the number of the job's newest timeline entry."""

    # Unknown fields are ignored, so an older service reads what a newer one writes.
    model_config = ConfigDict(frozen=True, extra="ignore")

    routing_key: ClassVar[str]

    event_id: UUID = Field(default_factory=new_id)
    occurred_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    schema_version: int = 1
    job_id: UUID
    job_version: int

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Parse a message body; UnreadableMessage when it is none of ours."""
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            raise UnreadableMessage(f"{cls.__name__}: {error.error_count()} invalid fields") from error


class JobRequested(Event):
    """A permit to claim one due job; not necessarily the one it names."""

    routing_key = "job.requested"


class JobSubmitted(Event):
    """Kie.ai has the job under this task id."""

    routing_key = "job.submitted"
    task_id: str


class JobCompleted(Event):
    """The video is there."""

    routing_key = "job.completed"
    video_url: str


class JobFailed(Event):
    """The job will not deliver; its refund follows."""

    routing_key = "job.failed"
    code: str
    message: str


class JobCanceled(Event):
    """The owner took the job back before it was sent; its refund follows."""

    routing_key = "job.canceled"


class JobRefunded(Event):
    """The charge was given back."""

    routing_key = "job.refunded"
    amount: int


class JobRecovered(Event):
    """A job that had failed by a deadline delivered after all."""

    routing_key = "job.recovered"
    video_url: str
    recharged: bool


class CallbackReceived(Event):
    """Kie.ai's webhook named a task: a hint to ask record-info."""

    routing_key = "callback.received"
    callback_id: UUID


EVENTS: tuple[type[Event], ...] = (
    JobRequested,
    JobSubmitted,
    JobCompleted,
    JobFailed,
    JobCanceled,
    JobRefunded,
    JobRecovered,
    CallbackReceived,
)
