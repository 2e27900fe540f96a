"""Taking a finished video further: what an extension or an upgrade of it asks for, and when it cannot be."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from reelgate_common.domain.errors import InvalidInput, SourceUnusable
from reelgate_common.domain.job import UPGRADES, Job, JobStatus, Operation
from reelgate_common.domain.request import RESOLUTIONS, VideoRequest


@dataclass(frozen=True, kw_only=True)
class SourceState:
    """What is known of a source besides its own row."""

    is_too_old: bool  # Kie.ai does not know it any more
    has_1080p: bool  # an upgrade to 1080p was made, or may be
    same: UUID | None  # a job that does the same to it


def extension(source: Job, asked: dict[str, Any]) -> VideoRequest:
    """The job that continues this video; its wallet pays."""
    _check_finished(source)
    return _about(source, Operation.EXTEND, {"model": source.model} | asked)


def upgrade(source: Job, asked: dict[str, Any]) -> VideoRequest:
    """The job that makes a better copy of this video; its wallet pays."""
    _check_finished(source)
    resolution = asked["resolution"]
    if RESOLUTIONS.index(resolution) <= RESOLUTIONS.index(source.resolution):
        raise InvalidInput("resolution", f"resolution must be above the video's own, which is {source.resolution}")
    return _about(source, UPGRADES[resolution], {"prompt": source.prompt, "model": source.model} | asked)


def _about(source: Job, operation: Operation, asked: dict[str, Any]) -> VideoRequest:
    inherited = {name: getattr(source, name) for name in ("aspect_ratio", "generation_type", "resolution", "duration")}
    return VideoRequest(
        wallet_address=source.wallet_address,
        image_urls=(),
        operation=operation,
        source_job_id=str(source.id),
        source_task_id=source.task_id,
        **inherited | asked,
    )


def _check_finished(source: Job) -> None:
    if source.operation.is_upgrade:
        raise SourceUnusable(f"This is an upgrade: take its source_job_id, {source.source_job_id}")
    if source.status is not JobStatus.COMPLETED or source.task_id is None:
        raise SourceUnusable("The video is not finished: only a completed job can be taken further")


def check_source(state: SourceState, operation: Operation) -> None:
    """Raise SourceUnusable for what Kie.ai would refuse, and for what is made already."""
    if state.is_too_old:
        raise SourceUnusable("The video is too old: Kie.ai keeps a video for 14 days")
    if operation is Operation.EXTEND and state.has_1080p:
        raise SourceUnusable("A video upgraded to 1080p cannot be extended")
    if operation.is_upgrade and state.same is not None:
        raise SourceUnusable(f"This upgrade exists already: it is job {state.same}")
