"""What a video costs the caller, in credits."""

from reelgate_common.domain.errors import InvalidInput

BASE_MODEL = "veo3_fast"
BASE_RESOLUTION = "720p"
BASE_CREDITS = 4  # the guide's price of a veo3_fast 720p video

# The vendor's prices per video in its own credits (price feed, late 2026). Only their ratio is used:
# other combinations cost the guide's 4 credits times this ratio, rounded up.
_VENDOR_CREDITS = {
    ("veo3_lite", "720p"): 30,
    ("veo3_lite", "1080p"): 35,
    ("veo3_lite", "4k"): 150,
    ("veo3_fast", "720p"): 60,
    ("veo3_fast", "1080p"): 65,
    ("veo3_fast", "4k"): 180,
    ("veo3", "720p"): 250,
    ("veo3", "1080p"): 255,
    ("veo3", "4k"): 380,
}


def default_prices(base_credits: int = BASE_CREDITS) -> dict[str, dict[str, int]]:
    """Model -> resolution -> credits, in the vendor's ratio to one veo3_fast 720p video."""
    base = _VENDOR_CREDITS[BASE_MODEL, BASE_RESOLUTION]
    prices: dict[str, dict[str, int]] = {}
    for (model, resolution), vendor in _VENDOR_CREDITS.items():
        prices.setdefault(model, {})[resolution] = -(-base_credits * vendor // base)
    return prices


def price(prices: dict[str, dict[str, int]], *, model: str, resolution: str) -> int:
    """Credits for one video; InvalidInput for a combination that is not for sale."""
    try:
        return prices[model][resolution]
    except KeyError:
        offered = ", ".join(sorted(prices.get(model, {}))) or "no resolution"
        raise InvalidInput(
            "resolution", f"no price is set for model {model} at {resolution}: this gateway offers {offered}"
        ) from None
