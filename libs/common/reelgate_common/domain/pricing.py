"""What a job costs: the caller in credits, and us at the vendor in its own."""

from collections.abc import Mapping
from dataclasses import dataclass

from reelgate_common.domain.errors import InvalidInput
from reelgate_common.domain.job import Operation

BASE_MODEL = "veo3_fast"
BASE_RESOLUTION = "720p"
BASE_CREDITS = 4  # the guide's price of a veo3_fast 720p video

Table = dict[str, dict[str, int]]


@dataclass(frozen=True, kw_only=True)
class Prices:
    """A price list: of videos by model and resolution, of upgrades by resolution.

    An extension costs what a 720p video of its model does, here as at the vendor.
    """

    videos: Mapping[str, Mapping[str, float]]
    upgrades: Mapping[str, float]

    def find(self, operation: Operation, *, model: str, resolution: str) -> float | None:
        """The price of a job; None when it is not for sale."""
        if operation.is_upgrade:
            return self.upgrades.get(resolution)
        return self.videos.get(model, {}).get(BASE_RESOLUTION if operation is Operation.EXTEND else resolution)


# In the vendor's credits, of 0.005 USD (its price feed, late 2026). Volatile: KIE_PRICES replaces it.
VENDOR = Prices(
    videos={
        "veo3_lite": {"720p": 30, "1080p": 35, "4k": 150},
        "veo3_fast": {"720p": 60, "1080p": 65, "4k": 180},
        "veo3": {"720p": 250, "1080p": 255, "4k": 380},
    },
    upgrades={"1080p": 5, "4k": 120},
)


def _in_ratio(vendor: float, base_credits: int) -> int:
    return -(-base_credits * int(vendor) // int(VENDOR.videos[BASE_MODEL][BASE_RESOLUTION]))


def default_prices(base_credits: int = BASE_CREDITS) -> Table:
    """Model -> resolution -> credits, in the vendor's ratio to one veo3_fast 720p video, rounded up."""
    return {
        model: {resolution: _in_ratio(vendor, base_credits) for resolution, vendor in of_model.items()}
        for model, of_model in VENDOR.videos.items()
    }


def default_upgrades(videos: Table) -> dict[str, int]:
    """Resolution -> credits, in the same ratio to this list's veo3_fast 720p video; none when it has none."""
    base = videos.get(BASE_MODEL, {}).get(BASE_RESOLUTION)
    return {resolution: _in_ratio(vendor, base) for resolution, vendor in VENDOR.upgrades.items()} if base else {}


def price(prices: Prices, operation: Operation, *, model: str, resolution: str) -> int:
    """Credits for one job; InvalidInput for a combination that is not for sale."""
    found = prices.find(operation, model=model, resolution=resolution)
    if found is not None:
        return int(found)
    if operation.is_upgrade:
        raise InvalidInput("resolution", f"no price is set for an upgrade to {resolution}: {_offer(prices.upgrades)}")
    if operation is Operation.EXTEND:
        raise InvalidInput("model", f"no price is set for an extension with model {model}")
    offered = _offer(prices.videos.get(model, {}))
    raise InvalidInput("resolution", f"no price is set for model {model} at {resolution}: {offered}")


def _offer(of: Mapping[str, float]) -> str:
    return f"this gateway offers {', '.join(sorted(of)) or 'no resolution'}"
