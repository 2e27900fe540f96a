"""What a stream tells."""

from datetime import datetime
from typing import Self

from pydantic import BaseModel, Field

from reelgate_common.domain.job import Job
from reelgate_common.views import JobView


class LiveEvent(BaseModel):
    """One thing that happened to a job, with the job as it stood when this was told."""

    seq: int = Field(description="The job's own number of it: what was told twice has the same.")
    at: datetime
    event: str = Field(description="The step of the timeline, or job: only how the job stands.")
    status: str
    service: str | None = Field(default=None, description="Who decided.")
    attempt: int | None = None
    reason: str | None = None
    job: JobView

    @classmethod
    def snapshot(cls, job: Job) -> Self:
        """How a job stands."""
        return cls(seq=job.version, at=job.updated_at, event="job", status=job.status, job=JobView.of(job))
