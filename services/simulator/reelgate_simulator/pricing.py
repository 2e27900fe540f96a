"""What a video costs at the vendor, in credits, by model and resolution."""

from typing import Final

# Per video whatever its length, as the vendor's price feed says.
PRICES: Final[dict[str, dict[str, float]]] = {
    "veo3_lite": {"720p": 30.0, "1080p": 35.0, "4k": 150.0},
    "veo3_fast": {"720p": 60.0, "1080p": 65.0, "4k": 180.0},
    "veo3": {"720p": 250.0, "1080p": 255.0, "4k": 370.0},
}
UPGRADE_1080P: Final = 5.0
UPGRADE_4K: Final = 120.0


def price(model: str, resolution: str) -> float:
    """Credits one video of this model and resolution takes."""
    return PRICES[model][resolution]
