"""What may be asked for, by model, type, number of images and duration."""

from itertools import product

import pytest

from reelgate_common.domain.errors import InvalidInput
from reelgate_common.domain.request import FRAMES, REFERENCE, TEXT, check_limits, default_type

MODELS = ("veo3_fast", "veo3", "veo3_lite")


RESOLUTIONS = ("720p", "1080p", "4k")
RATIOS = ("16:9", "9:16", "Auto")


def allowed(generation_type, model, images, duration):
    """The vendor's table, written down a second time."""
    if generation_type == TEXT:
        return images == 0 and duration in (4, 6, 8)
    if generation_type == FRAMES:
        return images in (1, 2) and duration in (4, 6, 8)
    return model in ("veo3_fast", "veo3_lite") and 1 <= images <= 8 and duration == 8


@pytest.mark.parametrize(("generation_type", "model"), list(product((TEXT, FRAMES, REFERENCE), MODELS)))
def test_the_table_of_limits_is_the_vendors(generation_type, model):
    for images, duration in product(range(10), (4, 5, 6, 8, 10)):
        passed = passes(generation_type, model=model, images=images, duration=duration)

        assert passed == allowed(generation_type, model, images, duration), (images, duration)


def passes(generation_type, **asked):
    try:
        check_limits(generation_type, **{"reference_limit": 8} | asked)
    except InvalidInput:
        return False
    return True


@pytest.mark.parametrize(("generation_type", "images"), [(TEXT, 0), (FRAMES, 2), (REFERENCE, 3)])
def test_every_type_comes_in_every_resolution_and_ratio_and_in_no_other(generation_type, images):
    for resolution, ratio in product((*RESOLUTIONS, "8k", "720P", ""), (*RATIOS, "4:3", "auto", "")):
        passed = passes(
            generation_type, model="veo3_fast", images=images, duration=8, resolution=resolution, aspect_ratio=ratio
        )

        assert passed == (resolution in RESOLUTIONS and ratio in RATIOS), (resolution, ratio)


@pytest.mark.parametrize(("seeds", "fits"), [(None, True), (9_999, False), (10_000, True), (99_999, True), (0, False)])
def test_seeds_have_five_digits(seeds, fits):
    assert passes(TEXT, model="veo3", images=0, duration=8, seeds=seeds) is fits


def test_a_type_or_model_the_vendor_does_not_have_is_refused():
    assert not passes("VIDEO_2_VIDEO", model="veo3", images=0, duration=8)
    assert not passes(TEXT, model="veo2", images=0, duration=8)


@pytest.mark.parametrize("images", range(9))
@pytest.mark.parametrize("model", ["veo3_fast", "veo3_lite"])
def test_images_are_references_by_default(model, images):
    assert default_type(model, images) == REFERENCE


@pytest.mark.parametrize(("images", "expected"), [(0, REFERENCE), (1, FRAMES), (2, FRAMES), (3, FRAMES)])
def test_veo3_refuses_references_so_its_images_are_frames(images, expected):
    assert default_type("veo3", images) == expected


@pytest.mark.parametrize(("limit", "images", "passes"), [(3, 3, True), (3, 4, False), (1, 1, True), (1, 2, False)])
def test_the_reference_limit_can_be_lowered_to_the_vendors(limit, images, passes):
    def check():
        check_limits(REFERENCE, model="veo3_fast", images=images, duration=8, reference_limit=limit)

    if passes:
        check()
    else:
        with pytest.raises(InvalidInput, match=f"^Maximum {limit} images allowed$"):
            check()


@pytest.mark.parametrize(
    ("generation_type", "model", "images", "duration", "field", "message"),
    [
        (REFERENCE, "veo3_fast", 0, 8, "image_urls", "image_urls required (1-8 images)"),
        (REFERENCE, "veo3_fast", 9, 8, "image_urls", "Maximum 8 images allowed"),
        (FRAMES, "veo3", 3, 8, "image_urls", f"Maximum 2 images allowed with model veo3 and {FRAMES}"),
        (FRAMES, "veo3", 0, 8, "image_urls", "image_urls required (1-2 images)"),
        (TEXT, "veo3", 1, 8, "image_urls", f"image_urls must be empty with generation_type {TEXT}"),
        (REFERENCE, "veo3", 1, 8, "model", f"model veo3 does not offer {REFERENCE}: use veo3_fast or veo3_lite"),
        (REFERENCE, "veo3_fast", 1, 4, "duration", f"duration with {REFERENCE} must be 8"),
        (TEXT, "veo3", 0, 5, "duration", f"duration with {TEXT} must be 4, 6, 8"),
        ("VIDEO", "veo3", 0, 8, "generation_type", f"generation_type must be {TEXT}, {FRAMES}, {REFERENCE}"),
    ],
)
def test_a_refusal_names_the_field_and_the_fix(generation_type, model, images, duration, field, message):
    with pytest.raises(InvalidInput) as refused:
        check_limits(generation_type, model=model, images=images, duration=duration, reference_limit=8)

    assert (refused.value.field, str(refused.value)) == (field, message)
