"""What is answered, besides a job itself."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field


class Accepted(BaseModel):
    """The job is stored, charged and queued; not yet sent."""

    job_id: UUID
    degraded: str | None = Field(
        default=None, description="Only there while Kie.ai takes no jobs: the job waits, and is sent when it does."
    )


class Status(BaseModel):
    """Whether accepted jobs are being sent."""

    status: Literal["ok", "degraded"]
    reason: str | None = Field(description="Why they wait, when they do.")
    since: datetime | None


class TimelineEntry(BaseModel):
    """One thing that happened to a job."""

    seq: int
    at: datetime
    event: str
    status: str
    service: str = Field(description="Who decided.")
    attempt: int | None
    reason: str | None


class Timeline(BaseModel):
    """Everything that happened to a job, oldest first."""

    events: list[TimelineEntry]
