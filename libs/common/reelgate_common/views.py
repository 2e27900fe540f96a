"""What others are shown of a job: the body of GET, and of outgoing webhooks."""

from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field

from reelgate_common.domain import failures
from reelgate_common.domain.failures import FailureCategory
from reelgate_common.domain.job import FailureCode, Job, JobStatus, Operation


class FailureView(BaseModel):
    """Why there is no video, and what can be done about it."""

    code: FailureCode = Field(description="The cause; the same as failure_code.", examples=["generation_failed"])
    category: FailureCategory = Field(description="Whose matter it is.", examples=["vendor"])
    retryable: bool = Field(description="Whether the very same request may work another time.")
    charged: bool = Field(
        description="Whether the credits are gone: false once they were given back, or when they will be."
    )
    advice: str = Field(
        description="What to do, in one sentence for a person.",
        examples=["Kie.ai could not make the video: try again, or change the prompt."],
    )

    @classmethod
    def of(cls, job: Job) -> Self | None:
        """None for a job that delivered, also late, or that still may."""
        if job.failure_code is None:
            return None
        meaning = failures.meaning(job.failure_code, job.error_message)
        return cls(
            code=job.failure_code,
            category=meaning.category,
            retryable=meaning.retryable,
            charged=job.status not in {JobStatus.FAILED, JobStatus.CANCELED},  # each of these is refunded in the end
            advice=meaning.advice,
        )


class JobView(BaseModel):
    """A job as its owner sees it."""

    id: UUID = Field(description="The job's id, a UUIDv7.", examples=["01890a5d-ac96-774b-bcce-b302099a8057"])
    status: Literal["pending", "processing", "completed", "failed"] = Field(
        description="pending until it is sent to Kie.ai; completed and failed are the end.", examples=["processing"]
    )
    state: JobStatus = Field(description="The finer state behind status.", examples=["submitting"])
    version: int = Field(description="Grows with each change; the ETag.", examples=[3])
    wallet_address: str = Field(description="Whose credits paid.", examples=["test_wallet_123"])
    prompt: str = Field(description="What the video shows.", examples=["A character waving hello"])
    image_urls: list[str] = Field(
        description="The images it is made from.", examples=[["https://example.com/image.png"]]
    )
    aspect_ratio: str = Field(description="16:9, 9:16 or Auto.", examples=["16:9"])
    model: str = Field(description="veo3_fast, veo3 or veo3_lite.", examples=["veo3_fast"])
    generation_type: str = Field(description="How the images are used.", examples=["REFERENCE_2_VIDEO"])
    resolution: str = Field(description="720p, 1080p or 4k.", examples=["720p"])
    duration: int = Field(description="Seconds asked for.", examples=[8])
    watermark: str | None = Field(description="Text burnt into the video.", examples=[None])
    metadata: dict[str, Any] | None = Field(description="The caller's own, as given.", examples=[{"scene": 2}])
    client_reference_id: str | None = Field(description="The caller's own, as given.", examples=["order-1047"])
    seeds: int | None = Field(description="As given; the same make similar videos.", examples=[12345])
    enable_translation: bool = Field(description="Whether Kie.ai may translate the prompt to English.")
    operation: Operation = Field(
        description="generate, or what was done with the video of source_job_id.", examples=["generate"]
    )
    source_job_id: UUID | None = Field(description="The job whose video this one takes further.", examples=[None])
    video_url: str | None = Field(
        description="Where the video is, once completed, until video_expires_at; null again once it was deleted.",
        examples=["https://media.example.com/video.mp4"],
    )
    video_kept: bool = Field(
        description="Whether it was copied to the operator's own bucket; else Kie.ai alone has it.", examples=[False]
    )
    video_expires_at: datetime | None = Field(
        description="When the video ends, at the latest: its retention here, or the 14 days that Kie.ai keeps it. "
        "Null without a video, and for one that is kept without end.",
        examples=["2026-01-15T00:00:00Z"],
    )
    video_deleted_at: datetime | None = Field(
        description="When it was deleted, on request or because its retention was over.", examples=[None]
    )
    error_message: str | None = Field(description="Why it failed, in Kie.ai's words or ours.", examples=[None])
    failure_code: FailureCode | None = Field(description="Why it failed, as a stable name.", examples=[None])
    failure: FailureView | None = Field(description="What a failure means, and what to do; null without one.")
    cost: int = Field(description="Credits charged.", examples=[4])
    refunded: bool = Field(description="Whether the charge was given back.", examples=[False])
    created_at: datetime = Field(description="When it was accepted.", examples=["2026-01-01T00:00:00Z"])
    expires_at: datetime = Field(
        description="Given up and refunded if it was not sent to Kie.ai by then.", examples=["2026-01-02T00:00:00Z"]
    )
    queue_position: int | None = Field(
        default=None,
        description="1 is sent next; counted up to 1000, which means that or more. A hint, only in the answer to GET "
        "of one job while it waits: it changes without the version, so a 304 may hide a newer one.",
        examples=[None],
    )
    started_at: datetime | None = Field(description="When it was first sent.", examples=["2026-01-01T00:00:01Z"])
    completed_at: datetime | None = Field(description="When it ended.", examples=[None])

    @classmethod
    def of(cls, job: Job, *, queue_position: int | None = None) -> Self:
        """What of a job is shown: no task id, no attempt."""
        made = {
            "status": job.status.shown,
            "state": job.status,
            "refunded": job.refunded_at is not None,
            "failure": FailureView.of(job),
            "queue_position": queue_position,
            "video_url": job.shown_video_url,
            "video_kept": job.video_kept_at is not None,
            "video_expires_at": job.video_ends_at,
        }
        return cls(**made, **{name: getattr(job, name) for name in cls.model_fields.keys() - made.keys()})


class JobEnvelope(BaseModel):
    """The guide's shape."""

    job: JobView = Field(description="The job.")
