"""HTTP bodies about wallets."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from reelgate_api.schemas import Reference, wrong
from reelgate_common import grants

WalletToFill = Annotated[str, Path(pattern=grants.WALLET, description="1-128 visible ASCII characters.")]


def _not_zero(amount: int) -> int:
    if amount == 0:
        raise wrong("amount must not be 0")
    return amount


class Wallet(BaseModel):
    """A balance in credits."""

    wallet_address: str
    credits: int


class LedgerEntry(BaseModel):
    """One movement of credits."""

    id: UUID
    transaction_type: str
    amount: int = Field(description="What the balance gained; negative for a charge.")
    job_id: UUID | None
    description: str | None
    created_at: datetime


class Ledger(BaseModel):
    """Movements of a wallet, the newest first."""

    entries: list[LedgerEntry]
    next_cursor: str | None = Field(description="Where older ones begin; null at the end.")


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

    id: UUID
    wallet_address: str
    transaction_type: Literal["grant", "adjustment"]
    amount: int
    reference: str
    description: str | None
    created_at: datetime
