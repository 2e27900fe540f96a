"""What may be asked for: models, generation types and their limits, in one table."""

from dataclasses import dataclass, field
from typing import Any

from reelgate_common.domain.errors import InvalidInput
from reelgate_common.domain.job import Operation

TEXT = "TEXT_2_VIDEO"
FRAMES = "FIRST_AND_LAST_FRAMES_2_VIDEO"
REFERENCE = "REFERENCE_2_VIDEO"

MODELS = ("veo3_fast", "veo3", "veo3_lite")
RESOLUTIONS = ("720p", "1080p", "4k")
DURATIONS = (4, 6, 8)
DEFAULT_DURATION = 8
SEEDS = range(10_000, 100_000)

# The guide's words beside the vendor's.
ASPECT_RATIOS = {
    "landscape": "16:9",
    "portrait": "9:16",
    "16:9": "16:9",
    "9:16": "9:16",
    "auto": "Auto",
    "Auto": "Auto",
}


ERASED = "erased:"  # so begin the names under which the books of a forgotten wallet go on

VENDOR_RATIOS = tuple(dict.fromkeys(ASPECT_RATIOS.values()))


def check_wallet(name: str) -> None:
    """Raise InvalidInput for a name that no wallet may have: what it holds could never be forgotten."""
    if name.startswith(ERASED):
        raise InvalidInput("wallet_address", f"wallet_address must not begin with {ERASED}")


@dataclass(frozen=True)
class TypeLimits:
    """What a generation type takes: how many images, and which of everything else."""

    min_images: int
    max_images: int
    models: tuple[str, ...] = MODELS
    durations: tuple[int, ...] = DURATIONS
    resolutions: tuple[str, ...] = RESOLUTIONS
    aspect_ratios: tuple[str, ...] = VENDOR_RATIOS


GENERATION_TYPES = {
    TEXT: TypeLimits(0, 0),
    FRAMES: TypeLimits(1, 2),
    # The vendor takes 3 today; the guide promises 8. KIE_REFERENCE_IMAGE_LIMIT lowers it. Its pages name 16:9 and
    # 9:16 for references, but none says that Auto is refused, so Auto is let through.
    REFERENCE: TypeLimits(1, 8, models=("veo3_fast", "veo3_lite"), durations=(DEFAULT_DURATION,)),
}


@dataclass(frozen=True, kw_only=True)
class VideoRequest:
    """A job as asked for, checked and with every default filled in."""

    wallet_address: str
    prompt: str
    image_urls: tuple[str, ...]
    aspect_ratio: str
    model: str
    generation_type: str
    resolution: str
    duration: int
    watermark: str | None = None
    metadata: dict[str, Any] | None = field(default=None)
    client_reference_id: str | None = None
    seeds: int | None = None
    enable_translation: bool = True
    operation: Operation = Operation.GENERATE
    source_job_id: str | None = None
    source_task_id: str | None = None
    webhook_url: str | None = None
    expires_in: int | None = None  # seconds

    def __post_init__(self) -> None:
        """No wallet is opened by it that could not be forgotten."""
        check_wallet(self.wallet_address)


def default_type(model: str, images: int) -> str:
    """REFERENCE_2_VIDEO as in the guide; frames for models that refuse references."""
    refuses_references = model not in GENERATION_TYPES[REFERENCE].models
    return FRAMES if refuses_references and images else REFERENCE


def check_limits(
    generation_type: str,
    *,
    model: str,
    images: int,
    duration: int,
    reference_limit: int,
    resolution: str = RESOLUTIONS[0],
    aspect_ratio: str = VENDOR_RATIOS[0],
    seeds: int | None = None,
) -> None:
    """Raise InvalidInput, naming field and fix, when the vendor would refuse the combination."""
    limits = GENERATION_TYPES.get(generation_type)
    if limits is None:
        raise InvalidInput("generation_type", f"generation_type must be {', '.join(GENERATION_TYPES)}")
    _check_images(generation_type, limits, model=model, images=images, reference_limit=reference_limit)
    for field_name, value, allowed in (
        ("duration", duration, limits.durations),
        ("resolution", resolution, limits.resolutions),
        ("aspect_ratio", aspect_ratio, limits.aspect_ratios),
    ):
        if value not in allowed:
            raise InvalidInput(
                field_name, f"{field_name} with {generation_type} must be {', '.join(map(str, allowed))}"
            )
    if seeds is not None and seeds not in SEEDS:
        raise InvalidInput("seeds", f"seeds must be {SEEDS[0]}-{SEEDS[-1]}")


def _check_images(generation_type: str, limits: TypeLimits, *, model: str, images: int, reference_limit: int) -> None:
    most = min(limits.max_images, reference_limit) if generation_type == REFERENCE else limits.max_images
    if generation_type == TEXT and images:
        raise InvalidInput("image_urls", f"image_urls must be empty with generation_type {TEXT}")
    if images < limits.min_images:
        raise InvalidInput("image_urls", f"image_urls required (1-{most} images)")
    if model not in limits.models:
        raise InvalidInput("model", f"model {model} does not offer {generation_type}: use {' or '.join(limits.models)}")
    if images > most:
        raise InvalidInput("image_urls", _too_many(generation_type, model, most))


def _too_many(generation_type: str, model: str, most: int) -> str:
    if generation_type == REFERENCE:
        return f"Maximum {most} images allowed"
    return f"Maximum {most} images allowed with model {model} and {generation_type}"
