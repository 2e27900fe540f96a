"""The price list as callers see it."""

from pydantic import BaseModel, Field

from reelgate_common.domain.job import UPGRADES, Operation
from reelgate_common.domain.pricing import Prices


class Price(BaseModel):
    """What one job costs."""

    operation: Operation = Field(description="generate, or what is done with a finished video.")
    model: str | None = Field(description="Null where the model makes no difference.", examples=["veo3_fast"])
    resolution: str | None = Field(description="Null where there is nothing to choose.", examples=["720p"])
    credits: int = Field(description="What it costs.", examples=[4])


class PriceList(BaseModel):
    """Everything this gateway sells; what is not listed is refused with 400."""

    prices: list[Price] = Field(description="Each combination there is.")


def price_list(prices: Prices) -> PriceList:
    """Everything that is for sale, at the price a job is charged."""
    jobs = [
        *(
            (Operation.GENERATE, model, resolution)
            for model, of_model in prices.videos.items()
            for resolution in of_model
        ),
        *((Operation.EXTEND, model, None) for model in prices.videos),
        *((operation, None, resolution) for resolution, operation in UPGRADES.items()),
    ]
    return PriceList(prices=[price for job in jobs if (price := _price(prices, *job))])


def _price(prices: Prices, operation: Operation, model: str | None, resolution: str | None) -> Price | None:
    found = prices.find(operation, model=model or "", resolution=resolution or "")
    if found is None:
        return None
    return Price(operation=operation, model=model, resolution=resolution, credits=int(found))
