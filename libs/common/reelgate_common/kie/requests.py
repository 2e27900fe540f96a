"""What is asked of Kie.ai: the bodies of its calls, in its own names."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from reelgate_common.domain.job import Job

# extend has other words for the models than generate.
_EXTEND_MODELS = {"veo3_fast": "fast", "veo3": "quality", "veo3_lite": "lite"}
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)  # made once: each is not cheap
_JSON_HEADERS = {"Content-Type": "application/json"}
_QUOTED = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})  # in a form, as browsers do


@dataclass(frozen=True, kw_only=True)
class Extension:
    """A finished Veo clip to make longer, from the prompt for what comes next. Not after a 1080p upgrade."""

    task_id: str
    prompt: str
    model: str = "veo3_fast"  # generate's names
    seeds: int | None = None  # 10000-99999
    watermark: str | None = None


class Body(NamedTuple):
    """What a request carries, and the headers that say so."""

    headers: Mapping[str, str] | None
    content: bytes


NONE = Body(None, b"")


def as_json(fields: Mapping[str, Any]) -> Body:
    """A JSON body."""
    return Body(_JSON_HEADERS, _JSON.encode(fields).encode())


def as_form(fields: Mapping[str, str], *, file: bytes, name: str, media_type: str) -> Body:
    """A multipart form whose member `file` is a file."""
    boundary = secrets.token_hex(16)
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in fields.items()
    ) + (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name.translate(_QUOTED)}"\r\n'
        f"Content-Type: {media_type}\r\n\r\n"
    )
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return Body(headers, b"".join((head.encode(), file, f"\r\n--{boundary}--\r\n".encode())))


def generate_body(job: Job, *, callback_url: str) -> dict[str, Any]:
    """The body of generate."""
    return _given(
        prompt=job.prompt,
        imageUrls=job.image_urls,
        model=job.model,
        generationType=job.generation_type,
        aspect_ratio=job.aspect_ratio,
        resolution=job.resolution,
        duration=job.duration,
        seeds=job.seeds,  # sent only when asked for: the current documentation has it no more
        watermark=job.watermark,
        enableTranslation=job.enable_translation,
        callBackUrl=callback_url,
    )


def extend_body(extension: Extension, *, callback_url: str) -> dict[str, Any]:
    """The body of extend."""
    return _given(
        taskId=extension.task_id,
        prompt=extension.prompt,
        model=_EXTEND_MODELS[extension.model],
        seeds=extension.seeds,
        watermark=extension.watermark,
        callBackUrl=callback_url,
    )


def upgrade_4k_body(task_id: str, *, callback_url: str | None) -> dict[str, Any]:
    """The body of get-4k-video."""
    return _given(taskId=task_id, index=0, callBackUrl=callback_url)


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, "", [])}
