"""HTTP bodies about API keys."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from reelgate_api.schemas import Label
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
    expires_at: AwareDatetime | None = Field(default=None, description="When it ends by itself; null: never.")
    test: bool = Field(default=False, description="Begin with rg_test_ instead of rg_live_. A label, no more.")


class KeyView(BaseModel):
    """What is known about a key."""

    id: UUID
    name: str
    prefix: str | None = Field(description="How the key begins; null for keys from before this was kept.")
    scopes: list[Scope]
    wallets: list[str] | None = Field(description="Null: every wallet.")
    test: bool
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To within a minute.")
    revoked_at: datetime | None


class KeyMade(KeyView):
    """A new key."""

    key: str | None = Field(description="The key itself, shown here only; null in the answer to a repeat.")


class Keys(BaseModel):
    """A page of keys, the newest first; also those that are revoked or expired."""

    keys: list[KeyView]
    next_cursor: str | None = Field(description="Where older ones begin; null at the end.")
