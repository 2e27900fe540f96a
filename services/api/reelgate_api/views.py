"""What is answered, besides a job itself."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field


class Accepted(BaseModel):
    """The job is stored, charged and queued; not yet sent."""

    job_id: UUID = Field(description="The new job.", examples=["01890a5d-ac96-774b-bcce-b302099a8057"])
    degraded: str | None = Field(
        default=None,
        description="Only there while Kie.ai takes no jobs: the job waits, and is sent when it does.",
        examples=["Kie.ai takes no jobs: 402: Credits insufficient"],
    )


class Status(BaseModel):
    """Whether accepted jobs are being sent."""

    status: Literal["ok", "degraded"] = Field(description="degraded: accepted jobs wait.")
    reason: str | None = Field(
        description="Why they wait, when they do.", examples=["Kie.ai takes no jobs: 402: Credits insufficient"]
    )
    since: datetime | None = Field(description="Since when they wait.", examples=["2026-01-01T00:00:00Z"])


class TimelineEntry(BaseModel):
    """One thing that happened to a job."""

    seq: int = Field(description="Counts the job's entries from 1.", examples=[3])
    at: datetime = Field(description="When it happened.", examples=["2026-01-01T00:00:00Z"])
    event: str = Field(description="What happened.", examples=["submitted"])
    status: str = Field(description="The job's state after it.", examples=["processing"])
    service: str = Field(description="Who decided.", examples=["submitter"])
    attempt: int | None = Field(description="Which call to Kie.ai it is about.", examples=[1])
    reason: str | None = Field(description="Why, where there is something to say.", examples=["429: throttled"])


class Timeline(BaseModel):
    """Everything that happened to a job, oldest first."""

    events: list[TimelineEntry] = Field(description="All entries.")
