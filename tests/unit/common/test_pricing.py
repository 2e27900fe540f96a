"""What a video costs."""

import pytest

from reelgate_common.domain import pricing
from reelgate_common.domain.errors import InvalidInput

PRICES = pricing.default_prices()


def test_the_guides_video_costs_four_credits():
    assert pricing.price(PRICES, model="veo3_fast", resolution="720p") == 4


@pytest.mark.parametrize(
    ("model", "resolution", "credits_asked"),
    [
        ("veo3_lite", "720p", 2),
        ("veo3_lite", "1080p", 3),
        ("veo3_lite", "4k", 10),
        ("veo3_fast", "1080p", 5),
        ("veo3_fast", "4k", 12),
        ("veo3", "720p", 17),
        ("veo3", "1080p", 17),
        ("veo3", "4k", 26),
    ],
)
def test_other_videos_cost_in_the_vendors_ratio_rounded_up(model, resolution, credits_asked):
    assert pricing.price(PRICES, model=model, resolution=resolution) == credits_asked


def test_one_number_scales_the_whole_list():
    assert pricing.default_prices(60)["veo3"]["4k"] == 380


@pytest.mark.parametrize("base", [1, 2, 3, 7])
def test_nothing_is_ever_free(base):
    assert all(cost > 0 for of_model in pricing.default_prices(base).values() for cost in of_model.values())


def test_a_combination_without_a_price_is_refused_with_what_is_offered():
    prices = {"veo3_fast": {"720p": 4, "1080p": 5}}

    with pytest.raises(InvalidInput, match="veo3_fast at 4k: this gateway offers 1080p, 720p"):
        pricing.price(prices, model="veo3_fast", resolution="4k")


def test_a_model_without_any_price_is_refused():
    with pytest.raises(InvalidInput, match="offers no resolution"):
        pricing.price({}, model="veo3", resolution="720p")
