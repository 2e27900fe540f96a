"""The life of a job: its states, which may follow which, and the reasons for not delivering."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID


class JobStatus(StrEnum):
    """Where a job stands. The API shows only the guide's four words: see `shown`."""

    PENDING = "pending"  # accepted and charged; no call to Kie.ai is under way
    SUBMITTING = "submitting"  # one submitter holds it under a lease and may be calling Kie.ai
    UNKNOWN = "unknown"  # nobody can say whether Kie.ai took it; never sent again by itself
    PROCESSING = "processing"  # Kie.ai has it and gave a task id
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        """Nothing follows, save a verified late success after a failure."""
        return self in FINAL

    @property
    def shown(self) -> str:
        """The guide's word for it: pending, processing, completed or failed."""
        return _SHOWN.get(self, self.value)


FINAL = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELED})

_SHOWN = {
    JobStatus.SUBMITTING: "processing",
    JobStatus.UNKNOWN: "processing",
    JobStatus.CANCELED: "failed",
}

# The one table of what may follow what. `failed -> completed` is recovery: a verified late success.
# The database holds the same pairs (0001_initial.sql); a test walks every pair through both.
FOLLOWERS: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.PENDING: frozenset({JobStatus.SUBMITTING, JobStatus.PROCESSING, JobStatus.FAILED, JobStatus.CANCELED}),
    JobStatus.SUBMITTING: frozenset(
        {
            JobStatus.PENDING,
            JobStatus.PROCESSING,
            JobStatus.UNKNOWN,
            JobStatus.FAILED,
        }
    ),
    JobStatus.UNKNOWN: frozenset({JobStatus.PROCESSING, JobStatus.PENDING, JobStatus.FAILED}),
    JobStatus.PROCESSING: frozenset({JobStatus.COMPLETED, JobStatus.FAILED}),
    JobStatus.COMPLETED: frozenset(),
    JobStatus.FAILED: frozenset({JobStatus.COMPLETED}),
    JobStatus.CANCELED: frozenset(),
}


def leading_to(status: JobStatus) -> frozenset[JobStatus]:
    """Every state that `status` may follow."""
    return frozenset(before for before, after in FOLLOWERS.items() if status in after)


class Operation(StrEnum):
    """What a job asks of Kie.ai. All but the first are about the finished video of another job."""

    GENERATE = "generate"
    EXTEND = "extend"
    UPGRADE_1080P = "upgrade_1080p"
    UPGRADE_4K = "upgrade_4k"

    @property
    def is_upgrade(self) -> bool:
        """A better copy of a video: no task of its own, and the call that starts it also tells how it stands."""
        return self in UPGRADES.values()


# Resolution of the better copy -> the operation that makes it.
UPGRADES = {"1080p": Operation.UPGRADE_1080P, "4k": Operation.UPGRADE_4K}


KEPT_BY_VENDOR = timedelta(days=14)  # a video; Kie.ai may delete it earlier


class FailureCode(StrEnum):
    """Why a job did not deliver, as stored; `failures.py` says what each means for whoever asked."""

    REFUSED = "refused"  # Kie.ai said no to the request itself
    GENERATION_FAILED = "generation_failed"  # Kie.ai took it and could not make it
    EMPTY_RESULT = "empty_result"  # successful at Kie.ai, but without a usable video
    SUBMIT_UNKNOWN = "submit_unknown"  # nobody ever learned whether Kie.ai took it
    PROCESSING_TIMEOUT = "processing_timeout"  # Kie.ai never said how it ended
    EXPIRED = "expired"  # could not be sent in time
    CANCELED = "canceled"  # its owner took it back before it was sent


# Failures by our own deadline, not by Kie.ai's word: the video may still turn up.
BY_DEADLINE = frozenset({FailureCode.SUBMIT_UNKNOWN, FailureCode.PROCESSING_TIMEOUT})


class SendOutcome(StrEnum):
    """What is known of one call to Kie.ai."""

    ACCEPTED = "accepted"  # a task id came back, or verified evidence brought one
    REFUSED = "refused"  # surely not taken, and never will be
    THROTTLED = "throttled"  # surely not taken: too many requests
    BLOCKED = "blocked"  # surely not taken: trouble with our account or with the vendor
    NOT_SENT = "not_sent"  # surely never arrived
    UNKNOWN = "unknown"  # may have been taken


@dataclass(frozen=True, kw_only=True)
class Job:
    """One row of video_jobs."""

    id: UUID
    status: JobStatus
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
    cost: int
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    expires_at: datetime
    cancel_requested_at: datetime | None
    attempt_id: UUID | None
    task_id: str | None
    video_url: str | None
    failure_code: FailureCode | None
    error_message: str | None
    refunded_at: datetime | None
    recovered_at: datetime | None
    seeds: int | None = None
    enable_translation: bool = True
    operation: Operation = Operation.GENERATE
    source_job_id: UUID | None = None
    source_task_id: str | None = None
    video_link: str | None = None  # our own address of the video
    video_kept_at: datetime | None = None
    video_expires_at: datetime | None = None  # end of our own retention
    video_deleted_at: datetime | None = None
    traceparent: str | None = None  # of the request that made it

    @property
    def shown_video_url(self) -> str | None:
        """Where callers find the video: our own link if there is one, else Kie.ai's."""
        return None if self.video_deleted_at else self.video_link or self.video_url

    @property
    def video_ends_at(self) -> datetime | None:
        """When the video ends, at the latest: with our own retention once it is kept, else at Kie.ai."""
        if self.status is not JobStatus.COMPLETED or self.video_deleted_at or self.completed_at is None:
            return None
        return self.video_expires_at if self.video_kept_at else self.completed_at + KEPT_BY_VENDOR


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One row of job_attempts: one call to Kie.ai, recorded before it was made."""

    id: UUID
    job_id: UUID
    n: int
    operation: Operation
    started_at: datetime
    outcome: SendOutcome | None
    task_id: str | None
    hinted_task_id: str | None
    empty_since: datetime | None
    verdict: str | None
    superseded_at: datetime | None
