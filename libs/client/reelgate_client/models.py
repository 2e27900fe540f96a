"""What the gateway answers. A newer gateway may say more: members unknown here are kept, words stay plain strings."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Read-only, and open to what comes later."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Failure(Model):
    """Why there is no video, and what can be done about it."""

    code: str
    category: str
    """input, content, vendor, capacity, timeout, canceled or internal."""
    retryable: bool
    """The very same request may work another time."""
    charged: bool
    """The credits are gone; false once they were given back, or when they will be."""
    advice: str
    """What to do, in one sentence for a person."""


class Job(Model):
    """A job as it stands."""

    id: str
    status: str
    """pending, processing, completed or failed."""
    state: str
    """The finer state behind it."""
    version: int
    wallet_address: str
    prompt: str
    image_urls: tuple[str, ...]
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
    operation: str
    source_job_id: str | None
    video_url: str | None
    video_kept: bool = False
    """Whether it was copied to the operator's own bucket; else Kie.ai alone has it."""
    video_expires_at: datetime | None = None
    """When the video ends, at the latest; None also for one that is kept without end."""
    video_deleted_at: datetime | None = None
    error_message: str | None
    failure_code: str | None
    failure: Failure | None = None
    cost: int
    refunded: bool
    created_at: datetime
    expires_at: datetime | None = None
    """Given up and refunded if it was not sent by then."""
    queue_position: int | None = None
    """1 is sent next; only while it waits."""
    started_at: datetime | None
    completed_at: datetime | None

    @property
    def is_settled(self) -> bool:
        """Delivered, or refunded: nothing more will happen."""
        return self.status == "completed" or (self.status == "failed" and self.refunded)


class Accepted(Model):
    """A job that is stored, charged and queued."""

    job_id: str
    degraded: str | None = None
    """Why the job has to wait, when Kie.ai takes none at the moment."""
    replayed: bool = False
    """An earlier request with the same Idempotency-Key made this job."""


class Progress(Model):
    """One thing that happened to a job, and the job as it stood when it was told."""

    seq: int
    """The job's own number of it."""
    event: str
    """The step of the timeline; `job` says only how the job stands."""
    status: str
    job: Job
    at: datetime | None = None
    service: str | None = None
    attempt: int | None = None
    reason: str | None = None


class TimelineEntry(Model):
    """One thing that happened to a job."""

    seq: int
    at: datetime
    event: str
    status: str
    service: str
    attempt: int | None
    reason: str | None


class ReceiptLine(Model):
    """One movement of credits for a job."""

    id: str
    at: datetime
    type: str
    amount: int
    """What the balance gained; negative for a charge."""
    description: str | None


class Receipt(Model):
    """Every credit a job moved, oldest first, and the sums."""

    job_id: str
    wallet_address: str
    lines: tuple[ReceiptLine, ...]
    charged: int
    refunded: int
    net: int


class LedgerEntry(Model):
    """One movement of a wallet's credits."""

    id: str
    transaction_type: str
    amount: int
    """What the balance gained; negative for a charge."""
    job_id: str | None
    description: str | None
    created_at: datetime


class Price(Model):
    """What one job costs."""

    operation: str
    model: str | None
    resolution: str | None
    credits: int


class Image(Model):
    """An uploaded image."""

    url: str
    """For image_urls. Anyone who knows it can fetch the image."""
    media_type: str
    size: int
    width: int
    height: int
    expires_at: datetime


class Event(Model):
    """A webhook that was verified."""

    id: str
    """The same for every repeat of it."""
    type: str
    timestamp: datetime
    data: dict[str, Any]

    @property
    def job(self) -> Job | None:
        """The job it is about, as it stood then."""
        return Job.model_validate(self.data["job"]) if "job" in self.data else None
