"""What operators are shown."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from reelgate_api.schemas import storable
from reelgate_common.domain.job import JobStatus
from reelgate_common.views import JobView

Span = Literal["1h", "6h", "24h"]
Text = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(storable)]


class Standing(BaseModel):
    """The jobs in one state."""

    state: JobStatus = Field(description="The state.", examples=["pending"])
    count: int = Field(description="Counted up to 10000, which means that or more.", examples=[12])
    oldest_at: datetime | None = Field(
        description="When the oldest of them was accepted; null without one.", examples=["2026-01-01T00:00:00Z"]
    )


class Sends(BaseModel):
    """Whether jobs are being sent to Kie.ai, and how fast."""

    is_stopped: bool = Field(description="Nothing is sent: paused, the breaker, or the day's limit.", examples=[True])
    is_paused: bool = Field(description="An operator stopped them, and only one lets them go on.", examples=[False])
    reason: str | None = Field(description="Why nothing is sent.", examples=["402: insufficient credits at Kie.ai"])
    since: datetime | None = Field(description="Since when nothing is sent.", examples=["2026-01-01T00:00:00Z"])
    next_try_at: datetime | None = Field(
        description="When one send goes to see whether the trouble is over.", examples=["2026-01-01T00:00:20Z"]
    )
    in_window: int = Field(description="Sends within the window that ends now.", examples=[14])
    window_limit: int = Field(description="As many as Kie.ai takes in it.", examples=[20])
    window_seconds: float = Field(description="How long it is.", examples=[10])


class QueueDepth(BaseModel):
    """One queue of the broker."""

    queue: str = Field(description="Its name.", examples=["submitter.job.requested.v1"])
    ready: int = Field(description="Messages nobody has in hand.", examples=[3])
    retrying: int = Field(description="Messages that failed and wait for another round.", examples=[0])


class Broker(BaseModel):
    """What waits in the broker."""

    queues: list[QueueDepth] = Field(description="Each work queue.")
    dead_letters: int = Field(description="Messages that failed every round.", examples=[0])


class Vendor(BaseModel):
    """Our account at Kie.ai."""

    balance: float | None = Field(description="Its credits as last seen; null before.", examples=[8250.5])
    balance_at: datetime | None = Field(description="When that was.", examples=["2026-01-01T00:00:00Z"])


class Bucket(BaseModel):
    """The jobs accepted in one stretch of time."""

    at: datetime = Field(description="Its beginning.", examples=["2026-01-01T00:00:00Z"])
    counts: dict[JobStatus, int] = Field(
        description="How many there are, by the state they are in now.", examples=[{"completed": 40, "failed": 1}]
    )


class History(BaseModel):
    """The jobs of the span, by when they were accepted."""

    bucket_seconds: int = Field(description="How long each stretch is.", examples=[60])
    complete_since: datetime | None = Field(
        description="There were too many jobs to count: from here on all are. Null: all are.", examples=[None]
    )
    buckets: list[Bucket] = Field(description="Oldest first; those without a job are left out.")


class Latency(BaseModel):
    """How long a part of the newest videos' way took."""

    step: Literal["waiting", "making", "whole"] = Field(
        description="From acceptance until the first send; from there until the video; all of it.", examples=["making"]
    )
    videos: int = Field(description="Of how many videos.", examples=[512])
    p50: float = Field(description="Seconds; half took longer.", examples=[71.5])
    p95: float = Field(description="Seconds; one in twenty took longer.", examples=[118.2])
    p99: float = Field(description="Seconds; one in a hundred took longer.", examples=[161.9])


class Callbacks(BaseModel):
    """Whether Kie.ai calls back."""

    finished: int = Field(description="The newest tasks that are over.", examples=[500])
    missing: int = Field(description="Those it never called us about: polling found them.", examples=[2])


class Overview(BaseModel):
    """The whole gateway at a look."""

    at: datetime = Field(
        description="When it was looked; numbers over the span may be older.", examples=["2026-01-01T00:00:00Z"]
    )
    span: Span = Field(description="How far back history, outcomes, latency and callbacks go.", examples=["1h"])
    sends: Sends
    standing: list[Standing] = Field(description="Jobs that are not over, by state.")
    refunds_due: int = Field(description="Failed jobs whose refund is not written, counted up to 10000.", examples=[0])
    outbox: int = Field(description="Messages the broker does not have yet, counted up to 10000.", examples=[0])
    broker: Broker | None = Field(description="Null while the broker is away.")
    vendor: Vendor
    history: History
    outcomes: dict[str, int] = Field(
        description="What came of the span's sends.", examples=[{"accepted": 118, "throttled": 2}]
    )
    latency: list[Latency] = Field(description="Empty without a video.")
    callbacks: Callbacks


class Match(BaseModel):
    """A job that was found."""

    matched: Literal["job", "task", "wallet", "reference"] = Field(
        description="Which of its names was searched for.", examples=["task"]
    )
    task_id: str | None = Field(description="Kie.ai's name for it.", examples=["4f3c2b1a"])
    job: JobView


class Matches(BaseModel):
    """What was found, the newest first."""

    matches: list[Match] = Field(description="The newest first.")


class DeadLetter(BaseModel):
    """A message that failed every round."""

    message_id: str = Field(description="Its id.", examples=["01890a5d-ac96-774b-bcce-b302099a8057"])
    queue: str = Field(description="Where it came from, and goes back to.", examples=["reconciler.job.failed.v1"])
    reason: str = Field(description="Why it was parked.", examples=["failed 8 times"])
    body: str = Field(
        description="The beginning of what it says.", examples=['{"job_id": "01890a5d-ac96-774b-bcce-b302099a8057"}']
    )
    job_id: UUID | None = Field(description="The job it is about, if it says so.", examples=[None])


class DeadLetterList(BaseModel):
    """The oldest messages that failed every round."""

    messages: list[DeadLetter] = Field(description="At most 100.")


class PauseBody(BaseModel):
    """Why nothing shall be sent."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: Text = Field(description="For the other operators.", examples=["Kie.ai announced maintenance"])
