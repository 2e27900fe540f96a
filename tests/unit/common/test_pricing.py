"""What a job costs its caller, and us."""

import pytest

from reelgate_common.domain import pricing
from reelgate_common.domain.errors import InvalidInput
from reelgate_common.domain.job import Operation
from reelgate_common.domain.pricing import Prices

VIDEOS = pricing.default_prices()
PRICES = Prices(videos=VIDEOS, upgrades=pricing.default_upgrades(VIDEOS))


def price(operation=Operation.GENERATE, *, prices=PRICES, model="veo3_fast", resolution="720p"):
    return pricing.price(prices, operation, model=model, resolution=resolution)


def test_the_guides_video_costs_four_credits():
    assert price() == 4


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
    assert price(model=model, resolution=resolution) == credits_asked


@pytest.mark.parametrize(("model", "credits_asked"), [("veo3_lite", 2), ("veo3_fast", 4), ("veo3", 17)])
def test_an_extension_costs_a_720p_video_of_its_model_whatever_it_extends(model, credits_asked):
    assert price(Operation.EXTEND, model=model, resolution="4k") == credits_asked


@pytest.mark.parametrize("model", ["veo3_lite", "veo3_fast", "veo3"])
def test_an_upgrade_costs_the_same_for_every_model(model):
    assert price(Operation.UPGRADE_1080P, model=model, resolution="1080p") == 1
    assert price(Operation.UPGRADE_4K, model=model, resolution="4k") == 8


def test_one_number_scales_the_whole_list():
    videos = pricing.default_prices(60)

    assert (videos["veo3"]["4k"], pricing.default_upgrades(videos)) == (380, {"1080p": 5, "4k": 120})


@pytest.mark.parametrize("base", [1, 2, 3, 7])
def test_nothing_is_ever_free(base):
    videos = pricing.default_prices(base)

    assert all(cost > 0 for of_model in videos.values() for cost in of_model.values())
    assert all(cost > 0 for cost in pricing.default_upgrades(videos).values())


def test_a_combination_without_a_price_is_refused_with_what_is_offered():
    prices = Prices(videos={"veo3_fast": {"720p": 4, "1080p": 5}}, upgrades={"1080p": 1})

    with pytest.raises(InvalidInput, match="veo3_fast at 4k: this gateway offers 1080p, 720p"):
        price(prices=prices, resolution="4k")
    with pytest.raises(InvalidInput, match="an upgrade to 4k: this gateway offers 1080p"):
        price(Operation.UPGRADE_4K, prices=prices, resolution="4k")
    with pytest.raises(InvalidInput, match="an extension with model veo3"):
        price(Operation.EXTEND, prices=prices, model="veo3")


def test_a_model_without_any_price_is_refused():
    with pytest.raises(InvalidInput, match="offers no resolution"):
        price(prices=Prices(videos={}, upgrades=pricing.default_upgrades({})), model="veo3")


@pytest.mark.parametrize(
    ("operation", "model", "resolution", "vendor"),
    [
        (Operation.GENERATE, "veo3", "4k", 380),
        (Operation.EXTEND, "veo3_lite", "1080p", 30),
        (Operation.UPGRADE_1080P, "veo3", "1080p", 5),
        (Operation.UPGRADE_4K, "veo3_fast", "4k", 120),
    ],
)
def test_what_the_vendor_bills_is_known_for_each_kind_of_job(operation, model, resolution, vendor):
    assert pricing.VENDOR.find(operation, model=model, resolution=resolution) == vendor
