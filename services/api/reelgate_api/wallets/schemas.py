"""HTTP bodies about wallets."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from reelgate_api.schemas import Reference, wrong
from reelgate_common import grants

_WALLET = {"description": "The wallet, 1-128 visible ASCII characters.", "examples": ["test_wallet_123"]}
WalletAddress = Annotated[str, Path(**_WALLET)]
WalletToFill = Annotated[str, Path(pattern=grants.WALLET, **_WALLET)]


def _not_zero(amount: int) -> int:
    if amount == 0:
        raise wrong("amount must not be 0")
    return amount


class Wallet(BaseModel):
    """A balance in credits."""

    wallet_address: str = Field(description="The wallet.", examples=["test_wallet_123"])
    credits: int = Field(description="What it holds.", examples=[96])


class LedgerEntry(BaseModel):
    """One movement of credits."""

    id: UUID = Field(description="The entry.", examples=["01890a5d-ac96-774b-bcce-b302099a8057"])
    transaction_type: str = Field(
        description="Why: charge, refund, recharge, grant, adjustment or signup.", examples=["charge"]
    )
    amount: int = Field(description="What the balance gained; negative for a charge.", examples=[-4])
    job_id: UUID | None = Field(description="The job it is about.", examples=["01890a5d-ac96-774b-bcce-b302099a8057"])
    description: str | None = Field(description="In words.", examples=["Video generation"])
    created_at: datetime = Field(description="When it was booked.", examples=["2026-01-01T00:00:00Z"])


class Ledger(BaseModel):
    """Movements of a wallet, the newest first."""

    entries: list[LedgerEntry] = Field(description="The page.")
    next_cursor: str | None = Field(
        description="Where older ones begin; null at the end.", examples=["AYkKXayWd0uzArzCC4JJ2w"]
    )


class _MovementBody(BaseModel):
    # A misspelt reference must not pass as none.
    model_config = ConfigDict(extra="forbid", strict=True)

    reference: Reference | None = Field(
        default=None,
        description="Yours, such as the payment's number: the same one again moves nothing again. "
        "Without it an Idempotency-Key is needed.",
        examples=["invoice-2026-118"],
    )
    description: Reference | None = Field(default=None, description="Shown in the ledger.", examples=["Top-up"])


class GrantBody(_MovementBody):
    """Credits for a wallet."""

    amount: Annotated[int, Field(ge=1, le=grants.MAX_AMOUNT)] = Field(description="Credits.", examples=[100])


class AdjustmentBody(_MovementBody):
    """A correction of a balance."""

    amount: Annotated[int, Field(ge=-grants.MAX_AMOUNT, le=grants.MAX_AMOUNT), AfterValidator(_not_zero)] = Field(
        description="Credits the balance gains; negative takes them away.", examples=[-4]
    )


class MovementView(BaseModel):
    """The entry in the ledger."""

    id: UUID = Field(description="The entry.", examples=["01890a5d-ac96-774b-bcce-b302099a8057"])
    wallet_address: str = Field(description="The wallet.", examples=["test_wallet_123"])
    transaction_type: Literal["grant", "adjustment"] = Field(description="Which kind.")
    amount: int = Field(description="What the balance gained.", examples=[100])
    reference: str = Field(description="What it can be told by.", examples=["invoice-2026-118"])
    description: str | None = Field(description="In words.", examples=["Top-up"])
    created_at: datetime = Field(description="When it was booked.", examples=["2026-01-01T00:00:00Z"])
