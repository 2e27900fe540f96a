"""HTTP bodies, and the wording of what is wrong with them."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from reelgate_common.addresses import is_private_host
from reelgate_common.domain import request
from reelgate_common.domain.errors import InvalidInput
from reelgate_common.domain.request import VideoRequest

MAX_PROMPT = 5000  # characters; the vendor publishes no limit, this is far above any prompt met
_MAX_URL = 2048
_MAX_METADATA_BYTES = 16 * 1024
_IMAGES_REQUIRED = "image_urls required (1-8 images)"


def wrong(message: str) -> PydanticCustomError:
    """A validation error whose text is shown to the caller as it stands."""
    return PydanticCustomError("shown", "{text}", {"text": message})


def storable(value: str) -> str:
    """PostgreSQL stores neither NUL nor half a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise wrong("text must be valid Unicode") from None
    if "\x00" in value:
        raise wrong("text must not contain the NUL character")
    return value


def _public_url(url: str) -> str:
    """Judge a URL by its form: what its name resolves to is for the vendor, who fetches it."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise wrong("image_urls must be http(s) URLs: this one cannot be read") from None
    if parts.scheme not in {"http", "https"} or not host or len(url) > _MAX_URL or not url.isprintable() or " " in url:
        raise wrong(f"image_urls must be http(s) URLs of at most {_MAX_URL} characters")
    if parts.username is not None or parts.password is not None:
        raise wrong("image_urls must not carry a user name or password")
    return url


def _check_reachable(urls: Sequence[str], file_host: str | None) -> None:
    """Refuse private addresses, but for Kie.ai's file host as the operator named it: a stand-in's is private.

    That opens no door to our own network: only Kie.ai, or its stand-in, ever fetches these URLs.
    """
    for number, url in enumerate(urls):
        if is_private_host(urlsplit(url).hostname or "") and not (file_host and _origin(url) == _origin(file_host)):
            raise InvalidInput(
                f"image_urls[{number}]",
                "image_urls must be public: Kie.ai cannot fetch from a private or local address",
            )


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]


def _images(value: Any) -> Any:
    if not isinstance(value, list):
        raise wrong(_IMAGES_REQUIRED)
    if len(value) > 8:
        raise wrong("Maximum 8 images allowed")
    return value


def _ratio(value: Any) -> Any:
    ratio = request.ASPECT_RATIOS.get(value) if isinstance(value, str) else None
    if ratio is None:
        raise wrong("aspect_ratio must be landscape, portrait, 16:9, 9:16 or auto")
    return ratio


def _metadata(value: dict[str, Any]) -> dict[str, Any]:
    try:
        size = len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
    except (ValueError, RecursionError):  # NaN, lone surrogates, or nested too deep: PostgreSQL would refuse it
        raise wrong("metadata must be plain JSON") from None
    if size > _MAX_METADATA_BYTES:
        raise wrong(f"metadata must be at most {_MAX_METADATA_BYTES} bytes of JSON")
    if "\\u0000" in json.dumps(value).replace("\\\\", ""):  # an escaped backslash before u0000 is plain text
        raise wrong("metadata must not contain the NUL character")
    return value


def _written(value: Any) -> Any:
    """Not seconds since 1970, which pydantic takes too: of what unit would be a guess."""
    if value is not None and not (isinstance(value, str) and re.match(r"\d{4}-", value)):
        raise wrong("a time is written with its zone, like 2026-01-31T12:00:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_written)]
Prompt = Annotated[str, Field(max_length=MAX_PROMPT), AfterValidator(storable)]
Label = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(storable)]
Reference = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(storable)]
Seeds = Annotated[int, Field(ge=request.SEEDS[0], le=request.SEEDS[-1])]
TaskId = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(storable)]


class _JobBody(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    metadata: Annotated[dict[str, Any], AfterValidator(_metadata)] | None = Field(
        default=None, description="Yours; kept and given back, at most 16 KiB of JSON.", examples=[{"order": 1047}]
    )
    client_reference_id: Reference | None = Field(
        default=None, description="Yours; kept and given back.", examples=["order-1047"]
    )
    webhook_url: str | None = Field(
        default=None,
        description="Where this job's events are sent, signed with the secret of GET /api/webhooks/secret.",
        examples=["https://example.com/webhooks"],
    )
    expires_in: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Seconds: a job that was not sent to Kie.ai by then is given up and refunded. At most, and when "
        "left out, PENDING_DEADLINE.",
        examples=[600],
    )


class GenerateBody(_JobBody):
    """A job to be accepted. Unknown fields are ignored, as in the guide."""

    wallet_address: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,128}$")] = Field(
        description="Whose credits pay, and who may see the job.", examples=["test_wallet_123"]
    )
    prompt: Prompt | None = Field(
        default=None, description="What the video shows.", examples=["A character waving hello"]
    )
    image_urls: Annotated[list[Annotated[str, AfterValidator(_public_url)]], BeforeValidator(_images)] | None = Field(
        default=None,
        description="1-8 public http(s) URLs; none with generation_type TEXT_2_VIDEO.",
        examples=[["https://example.com/image.png"]],
    )
    aspect_ratio: Annotated[Literal["16:9", "9:16", "Auto"], BeforeValidator(_ratio)] = Field(
        default="16:9",
        description="landscape (16:9), portrait (9:16) or auto.",
        examples=["landscape"],
        json_schema_extra={"enum": list(request.ASPECT_RATIOS)},
    )
    model: Literal["veo3_fast", "veo3", "veo3_lite"] = Field(default="veo3_fast", description="Speed against quality.")
    generation_type: Literal["TEXT_2_VIDEO", "FIRST_AND_LAST_FRAMES_2_VIDEO", "REFERENCE_2_VIDEO"] | None = Field(
        default=None, description="How images are used; chosen by model when left out.", examples=["REFERENCE_2_VIDEO"]
    )
    resolution: Literal["720p", "1080p", "4k"] = Field(default="720p", description="Of the finished video.")
    duration: Literal[4, 6, 8] = Field(default=8, description="Seconds.")
    watermark: Label | None = Field(default=None, description="Text burnt into the video.", examples=["Example"])
    seeds: Seeds | None = Field(default=None, description="The same seeds make similar videos.", examples=[12345])
    enable_translation: bool = Field(default=True, description="Whether Kie.ai may translate the prompt to English.")

    def to_request(self, *, reference_limit: int, file_host: str | None = None) -> VideoRequest:
        """Fill in defaults and check the combination; InvalidInput naming field and fix."""
        images = self.image_urls or []
        _check_reachable(images, file_host)
        generation_type = self.generation_type or request.default_type(self.model, len(images))
        request.check_limits(
            generation_type,
            model=self.model,
            images=len(images),
            duration=self.duration,
            resolution=self.resolution,
            aspect_ratio=self.aspect_ratio,
            reference_limit=reference_limit,
        )
        return VideoRequest(
            wallet_address=self.wallet_address,
            prompt=self.prompt or "Generate a video",
            image_urls=tuple(images),
            generation_type=generation_type,
            **{name: getattr(self, name) for name in _AS_GIVEN},
        )


_AS_GIVEN = (
    "aspect_ratio",
    "model",
    "resolution",
    "duration",
    "watermark",
    "metadata",
    "client_reference_id",
    "seeds",
    "enable_translation",
    "webhook_url",
    "expires_in",
)


class ExtendBody(_JobBody):
    """A finished video to be continued. Unknown fields are ignored."""

    prompt: Annotated[Prompt, Field(min_length=1)] = Field(
        description="What happens next.", examples=["The character turns around and walks away"]
    )
    model: Literal["veo3_fast", "veo3", "veo3_lite"] | None = Field(
        default=None, description="Speed against quality; the video's own when left out.", examples=["veo3"]
    )
    seeds: Seeds | None = Field(default=None, description="The same seeds make similar videos.", examples=[12345])
    watermark: Label | None = Field(default=None, description="Text burnt into the video.", examples=["Example"])


class UpgradeBody(_JobBody):
    """A finished video to be had in a better resolution. Unknown fields are ignored."""

    resolution: Literal["1080p", "4k"] = Field(description="Of the better copy.", examples=["1080p"])


class ManualCallbackBody(BaseModel):
    """A question about a task, as in the guide."""

    model_config = ConfigDict(extra="ignore", strict=True)

    taskId: TaskId = Field(description="Kie.ai's id of the task.", examples=["veo_task_abcdef123456"])  # noqa: N815 -- the guide's spelling
    jobId: str | None = Field(  # noqa: N815 -- the guide's spelling
        default=None,
        description="The job it should be bound to; only for admins.",
        examples=["01890a5d-ac96-774b-bcce-b302099a8057"],
    )


def explain(errors: Sequence[Mapping[str, Any]]) -> list[dict[str, str | None]]:
    """Turn pydantic's errors into sentences that name the field and the fix."""
    return [{"field": _field(error), "message": _sentence(error)} for error in errors]


def _field(error: Mapping[str, Any]) -> str | None:
    parts = [part for part in error["loc"] if part not in {"body", "query", "path", "header"}]
    if error["type"] == "json_invalid" or not parts:
        return None
    path = str(parts[0])
    for part in parts[1:]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path


_REQUIRED = {
    "wallet_address": "wallet_address required",
    "image_urls": _IMAGES_REQUIRED,
    "taskId": "taskId required",
}


def _sentence(error: Mapping[str, Any]) -> str:
    kind, field = error["type"], _field(error)
    context = error.get("ctx", {})
    if field is None:
        return "The body is not valid JSON" if kind == "json_invalid" else "The body must be a JSON object"
    if field in _REQUIRED and (kind == "missing" or error.get("input") in (None, "", [])):
        return _REQUIRED[field]
    if field == "wallet_address":
        return "wallet_address must be 1-128 visible ASCII characters"
    sentences = {
        "shown": context.get("text"),
        "string_too_long": f"{field} must be at most {context.get('max_length')} characters",
        "string_too_short": f"{field} must not be empty",
        "string_type": f"{field} must be a string",
        "string_unicode": f"{field} must be valid Unicode",
        "dict_type": f"{field} must be a JSON object",
        "literal_error": f"{field} must be {context.get('expected', '').replace(chr(39), '')}",
    }
    return sentences.get(kind) or f"{field}: {error['msg'][0].lower()}{error['msg'][1:]}"
