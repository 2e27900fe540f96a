"""What others are shown of a job: the body of GET, and of outgoing webhooks."""

from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field

from reelgate_common.domain.job import Job, Operation


class JobView(BaseModel):
    """A job as its owner sees it."""

    id: UUID
    status: Literal["pending", "processing", "completed", "failed"]
    state: str = Field(description="The finer state behind status.")
    version: int
    wallet_address: str
    prompt: str
    image_urls: list[str]
    aspect_ratio: str
    model: str
    generation_type: str
    resolution: str
    duration: int
    watermark: str | None
    metadata: dict[str, Any] | None
    client_reference_id: str | None
    seeds: int | None
    enable_translation: bool
    operation: Operation = Field(description="generate, or what was done with the video of source_job_id.")
    source_job_id: UUID | None
    video_url: str | None
    error_message: str | None
    failure_code: str | None
    cost: int = Field(description="Credits charged.")
    refunded: bool = Field(description="Whether the charge was given back.")
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None

    @classmethod
    def of(cls, job: Job) -> Self:
        """What of a job is shown: no task id, no attempt."""
        return cls(
            status=job.status.shown,
            state=job.status.value,
            refunded=job.refunded_at is not None,
            **{name: getattr(job, name) for name in cls.model_fields.keys() - {"status", "state", "refunded"}},
        )


class JobEnvelope(BaseModel):
    """The guide's shape."""

    job: JobView
