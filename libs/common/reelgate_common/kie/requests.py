"""What is asked of Kie.ai: the bodies of its calls, in its own names."""

from dataclasses import dataclass
from typing import Any

from reelgate_common.domain.job import Job

# extend has other words for the models than generate.
_EXTEND_MODELS = {"veo3_fast": "fast", "veo3": "quality", "veo3_lite": "lite"}


@dataclass(frozen=True, kw_only=True)
class Extension:
    """A finished Veo clip to make longer, from the prompt for what comes next. Not after a 1080p upgrade."""

    task_id: str
    prompt: str
    model: str = "veo3_fast"  # generate's names
    seeds: int | None = None  # 10000-99999
    watermark: str | None = None


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
