"""The shapes of the OpenAI videos format, and what they mean here."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError

from reelgate_api.openai.fields import Fields
from reelgate_api.schemas import GenerateBody
from reelgate_common.domain.errors import InvalidInput
from reelgate_common.domain.job import Job, JobStatus
from reelgate_common.domain.request import DEFAULT_DURATION, DURATIONS, FRAMES, MODELS, TEXT, VideoRequest

# size -> aspect_ratio, resolution
SIZES = {
    "1280x720": ("16:9", "720p"),
    "720x1280": ("9:16", "720p"),
    "1920x1080": ("16:9", "1080p"),
    "1080x1920": ("9:16", "1080p"),
    "3840x2160": ("16:9", "4k"),
    "2160x3840": ("9:16", "4k"),
}
_SIZES_BACK = {meaning: size for size, meaning in SIZES.items()}

_PLACE_HOLDER = "https://file.invalid/"

_USUAL_SECONDS = 180  # Kie.ai's pages say 2 to 5 minutes
_STATUSES = {"pending": "queued", "processing": "in_progress", "completed": "completed", "failed": "failed"}

_CREATE = {
    "type": "object",
    "required": ["prompt"],
    "description": "Every other field of POST /api/video/generate is taken too.",
    "properties": {
        "prompt": {"type": "string", "description": "What the video shows.", "examples": ["A cat"]},
        "model": {"description": "Speed against quality.", "enum": list(MODELS), "default": MODELS[0]},
        "seconds": {
            "description": "How long it is.",
            "enum": [str(duration) for duration in DURATIONS],
            "default": str(DEFAULT_DURATION),
        },
        "size": {"description": "Width x height.", "enum": list(SIZES), "default": "1280x720"},
        "input_reference": {
            "description": "The first frame: a file in a form, or an object.",
            "type": "object",
            "properties": {
                "image_url": {
                    "type": "string",
                    "description": "A public URL, or the image itself as a data: URL.",
                    "examples": ["https://example.com/image.png"],
                }
            },
        },
        "wallet_address": {
            "type": "string",
            "description": "Whose credits pay; may be left out with a key that is bound to one wallet.",
            "examples": ["test_wallet_123"],
        },
    },
}
CREATE_BODY = {  # of the OpenAPI document
    "requestBody": {
        "required": True,
        "content": {kind: {"schema": _CREATE} for kind in ("multipart/form-data", "application/json")},
    }
}


@dataclass(frozen=True)
class Asked:
    """A request for a video, in the gateway's own words."""

    body: GenerateBody
    file: bytes | None  # an image that is not anywhere yet; in the body stands a mere place holder for it

    def to_request(self, *, reference_limit: int, file_host: str | None) -> VideoRequest:
        """Fill in defaults and check the combination; InvalidInput naming field and fix."""
        try:
            return self.body.to_request(reference_limit=reference_limit, file_host=file_host)
        except InvalidInput as error:
            if error.field != "duration":
                raise
            raise InvalidInput("seconds", str(error).replace("duration", "seconds", 1)) from None


def parse(fields: Fields, *, only_wallet: str | None) -> Asked:
    """Translate size, seconds and input_reference; the other fields are the gateway's own, and checked as such."""
    given = dict(fields.values)
    if not isinstance(given.get("prompt"), str) or not given["prompt"].strip():
        raise InvalidInput("prompt", "prompt required")
    if only_wallet is not None:
        given.setdefault("wallet_address", only_wallet)
    reference = fields.file if fields.file is not None else _reference(given)
    given |= _size(given) | _seconds(given) | _images(given, reference)
    try:
        body = GenerateBody.model_validate(given, strict=False if fields.is_form else None)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None
    return Asked(body, reference if isinstance(reference, bytes) else None)


def _size(given: dict[str, Any]) -> dict[str, Any]:
    size = given.get("size")
    if size is None:
        return {}
    if given.keys() & {"aspect_ratio", "resolution"}:
        raise InvalidInput("size", "size says aspect_ratio and resolution already: give one or the other")
    if not isinstance(size, str) or size not in SIZES:
        raise InvalidInput("size", f"size must be {', '.join(SIZES)}")
    aspect_ratio, resolution = SIZES[size]
    return {"aspect_ratio": aspect_ratio, "resolution": resolution}


def _seconds(given: dict[str, Any]) -> dict[str, Any]:
    seconds = given.get("seconds", given.get("duration"))
    if seconds is None:
        return {}
    if given.keys() >= {"seconds", "duration"}:
        raise InvalidInput("seconds", "seconds is the duration: give one of them")
    found = [duration for duration in DURATIONS if str(duration) == str(seconds)]
    if not found:
        raise InvalidInput("seconds", f"seconds must be {', '.join(map(str, DURATIONS))}")
    return {"duration": found[0]}


def _reference(given: dict[str, Any]) -> str | bytes | None:
    """The URL of an input_reference, or the image itself when the URL holds it."""
    reference = given.get("input_reference")
    if reference is None:
        return None
    url = reference.get("image_url") if isinstance(reference, dict) else None
    if not isinstance(url, str):
        raise InvalidInput("input_reference", "input_reference must be a file or an object with image_url")
    if not url.startswith("data:"):
        return url
    head, _, data = url.partition(",")
    try:
        if head.endswith(";base64"):
            return base64.b64decode(data, validate=True)
    except ValueError:
        pass
    raise InvalidInput("input_reference", "input_reference holds no base64: data:image/png;base64,…")


def _images(given: dict[str, Any], reference: str | bytes | None) -> dict[str, Any]:
    """An input_reference is the video's first frame, as at OpenAI; no image at all means a video from text."""
    if reference is None:
        return {} if given.get("image_urls") or given.get("generation_type") else {"generation_type": TEXT}
    if given.get("image_urls"):
        raise InvalidInput("input_reference", "input_reference or image_urls: give one of them")
    url = _PLACE_HOLDER if isinstance(reference, bytes) else reference
    return {"image_urls": [url], "generation_type": given.get("generation_type") or FRAMES}


class VideoError(BaseModel):
    """Why a video failed."""

    code: str = Field(description="Stable name of the reason.", examples=["content_policy"])
    message: str = Field(description="The reason in words.", examples=["Kie.ai refused the prompt"])


class Video(BaseModel):
    """A job, as OpenAI's clients read it."""

    id: str = Field(description="The job's id.", examples=["01890a5d-ac96-774b-bcce-b302099a8057"])
    object: Literal["video"] = Field(default="video", description="Always video.")
    status: Literal["queued", "in_progress", "completed", "failed"] = Field(description="How it stands.")
    progress: int = Field(description="0-100; estimated from how long videos usually take.", examples=[40])
    model: str = Field(description="Which model makes it.", examples=["veo3_fast"])
    prompt: str = Field(description="What it shows.", examples=["A cat"])
    size: str = Field(description="Width x height, or auto.", examples=["1280x720"])
    seconds: str = Field(description="How long it is.", examples=["8"])
    created_at: int = Field(description="When it was asked for; seconds since 1970.", examples=[1767225600])
    completed_at: int | None = Field(description="When it was over.", examples=[1767225700])
    expires_at: int | None = Field(description="When the file ends, at the latest.", examples=[1768435300])
    error: VideoError | None = Field(description="Why it failed.")
    remixed_from_video_id: str | None = Field(
        description="What was extended or upgraded.", examples=["01890a5d-ac96-774b-bcce-b302099a8057"]
    )

    @classmethod
    def of(cls, job: Job, *, now: datetime) -> Self:
        """How a job stands at this moment."""
        return cls(
            id=str(job.id),
            status=_STATUSES[job.status.shown],
            progress=_progress(job, now),
            model=job.model,
            prompt=job.prompt,
            size=_SIZES_BACK.get((job.aspect_ratio, job.resolution), "auto"),
            seconds=str(job.duration),
            created_at=int(job.created_at.timestamp()),
            completed_at=_seconds_of(job.completed_at),
            expires_at=_seconds_of(job.video_ends_at),
            error=VideoError(code=job.failure_code, message=job.error_message or "") if job.failure_code else None,
            remixed_from_video_id=str(job.source_job_id) if job.source_job_id else None,
        )


def _seconds_of(moment: datetime | None) -> int | None:
    return int(moment.timestamp()) if moment else None


def _progress(job: Job, now: datetime) -> int:
    if job.status is JobStatus.COMPLETED:
        return 100
    if job.status is JobStatus.PENDING or job.started_at is None:
        return 0
    elapsed = ((job.completed_at or now) - job.started_at).total_seconds()
    return max(0, min(99, int(100 * elapsed / _USUAL_SECONDS)))


class VideoList(BaseModel):
    """One page of videos."""

    object: Literal["list"] = Field(default="list", description="Always list.")
    data: Sequence[Video] = Field(description="The page.")
    first_id: str | None = Field(description="Of the first in it.", examples=["01890a5d-ac96-774b-bcce-b302099a8057"])
    last_id: str | None = Field(
        description="Give it as `after` to have the next page.", examples=["01890a5d-ac96-774b-bcce-b302099a8057"]
    )
    has_more: bool = Field(description="Whether others follow.")


class VideoDeleted(BaseModel):
    """A video is not shown any more."""

    id: str = Field(description="The video's id.", examples=["01890a5d-ac96-774b-bcce-b302099a8057"])
    object: Literal["video.deleted"] = Field(default="video.deleted", description="Always video.deleted.")
    deleted: Literal[True] = Field(default=True, description="Always true.")
