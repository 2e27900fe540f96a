"""HTTP bodies about API keys."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from reelgate_api.schemas import Label, Moment
from reelgate_common import grants

Scope = Literal["read", "jobs", "admin"]
Wallet = Annotated[str, Field(pattern=grants.WALLET)]


class KeyBody(BaseModel):
    """A key to be made. `wallets` must be stated, so that nobody opens all of them by leaving it out."""

    model_config = ConfigDict(extra="forbid")  # a misspelt expires_at must not pass as none

    name: Label = Field(description="Whose key it is, for the list of keys.", examples=["shop"])
    scopes: list[Scope] = Field(
        min_length=1,
        max_length=3,
        description="read: see. jobs: also create and change. admin: also what operators do; "
        "it counts only with wallets null.",
        examples=[["jobs"]],
    )
    wallets: Annotated[list[Wallet], Field(min_length=1, max_length=1000)] | None = Field(
        description="The wallets it may act for; null: all.", examples=[["test_wallet_123"]]
    )
    expires_at: Moment | None = Field(
        default=None, description="When it ends by itself; null: never.", examples=["2027-01-01T00:00:00Z"]
    )
    test: bool = Field(default=False, description="Begin with rg_test_ instead of rg_live_. A label, no more.")


class KeyView(BaseModel):
    """What is known about a key."""

    id: UUID = Field(description="The key's id, which is no secret.", examples=["01890a5d-ac96-774b-bcce-b302099a8057"])
    name: str = Field(description="Whose key it is.", examples=["shop"])
    prefix: str | None = Field(
        description="How the key begins; null for keys from before this was kept.", examples=["rg_live_1a2b3c4d"]
    )
    scopes: list[Scope] = Field(description="What it may do.", examples=[["jobs"]])
    wallets: list[str] | None = Field(description="Null: every wallet.", examples=[["test_wallet_123"]])
    test: bool = Field(description="Whether it begins with rg_test_.")
    created_at: datetime = Field(description="When it was made.", examples=["2026-01-01T00:00:00Z"])
    expires_at: datetime | None = Field(
        description="When it ends by itself; null: never.", examples=["2027-01-01T00:00:00Z"]
    )
    last_used_at: datetime | None = Field(description="To within a minute.", examples=["2026-01-01T00:00:00Z"])
    revoked_at: datetime | None = Field(description="When it was revoked.", examples=["2026-01-01T00:00:00Z"])


class KeyMade(KeyView):
    """A new key."""

    key: str | None = Field(
        description="The key itself, shown here only; null in the answer to a repeat.",
        examples=["rg_live_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"],
    )


class Keys(BaseModel):
    """A page of keys, the newest first; also those that are revoked or expired."""

    keys: list[KeyView] = Field(description="The page.")
    next_cursor: str | None = Field(
        description="Where older ones begin; null at the end.", examples=["AYkKXayWd0uzArzCC4JJ2w"]
    )
