"""What may be asked for, by model, type, number of images and duration."""

from itertools import product

import pytest

from reelgate_common.domain.errors import InvalidInput
from reelgate_common.domain.request import FRAMES, REFERENCE, TEXT, check_limits, default_type

MODELS = ("veo3_fast", "veo3", "veo3_lite")


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
        try:
            check_limits(generation_type, model=model, images=images, duration=duration, reference_limit=8)
            passed = True
        except InvalidInput:
            passed = False

        assert passed == allowed(generation_type, model, images, duration), (images, duration)


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
    ],
)
def test_a_refusal_names_the_field_and_the_fix(generation_type, model, images, duration, field, message):
    with pytest.raises(InvalidInput) as refused:
        check_limits(generation_type, model=model, images=images, duration=duration, reference_limit=8)

    assert (refused.value.field, str(refused.value)) == (field, message)
