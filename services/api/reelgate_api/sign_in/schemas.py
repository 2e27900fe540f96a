"""HTTP bodies of signing in."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Nonce(BaseModel):
    """A nonce for one EIP-4361 message."""

    nonce: str = Field(description="To be put into the message; good once.", examples=["0123456789abcdef"])
    expires_at: datetime = Field(description="Until when.", examples=["2026-01-01T00:00:00Z"])


class SignInBody(BaseModel):
    """A message, and the wallet's signature of it."""

    model_config = ConfigDict(extra="ignore", strict=True)

    message: Annotated[str, Field(max_length=4096)] = Field(
        description="The EIP-4361 message, byte for byte as it was signed.",
        examples=[
            (
                "video.example.com wants you to sign in with your Ethereum account:\n"
                "0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1\n\n\nURI: https://video.example.com\n"
                "Version: 1\nChain ID: 1\nNonce: 0123456789abcdef\nIssued At: 2026-01-01T00:00:00Z"
            )
        ],
    )
    signature: Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{130}$")] = Field(
        description="What personal_sign gave: 65 bytes in hexadecimal.", examples=["0x" + "ab" * 65]
    )


class SessionView(BaseModel):
    """A session. It may read and make jobs of its wallet, spelled with checksum or in lower case."""

    token: str = Field(
        description="For the Authorization header; shown here only.",
        examples=["rgs_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"],
    )
    wallet_address: str = Field(
        description="The address that signed, spelled with its checksum.",
        examples=["0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1"],
    )
    expires_at: datetime = Field(description="When the session ends by itself.", examples=["2026-01-01T00:00:00Z"])


class CallerView(BaseModel):
    """What a credential may do."""

    scopes: list[Literal["read", "jobs", "admin"]] = Field(
        description="Its scopes, and those they include.", examples=[["read", "jobs"]]
    )
    wallets: list[str] | None = Field(
        description="The wallets it may act for; null: every one.", examples=[["test_wallet_123"]]
    )
    is_session: bool = Field(description="Whether a wallet signed in.", examples=[False])
    is_admin: bool = Field(description="Whether it may do what operators do.", examples=[False])
