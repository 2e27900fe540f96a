"""What is asked and answered about jobs that are there."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field

from reelgate_api.schemas import Moment, Reference, storable
from reelgate_common import grants
from reelgate_common.domain.job import JobStatus, Operation
from reelgate_common.views import JobView

Text = Annotated[str, AfterValidator(storable)]


class ListQuery(BaseModel):
    """Which jobs; each filter narrows the list."""

    wallet_address: Annotated[str, Field(pattern=grants.WALLET)] | None = Field(
        default=None, description="Of this wallet.", examples=["test_wallet_123"]
    )
    status: list[Literal["pending", "processing", "completed", "failed"]] | None = Field(
        default=None, description="The status as shown; may be given several times.", examples=[["failed"]]
    )
    state: JobStatus | None = Field(default=None, description="The finer state behind it.", examples=["canceled"])
    model: Text | None = Field(default=None, description="Of this model.", examples=["veo3_fast"])
    operation: Operation | None = Field(default=None, description="Of this kind.", examples=["extend"])
    client_reference_id: Reference | None = Field(
        default=None, description="With the caller's own reference.", examples=["order-1047"]
    )
    created_after: Moment | None = Field(
        default=None, description="Accepted at this moment or later.", examples=["2026-01-01T00:00:00Z"]
    )
    created_before: Moment | None = Field(
        default=None, description="Accepted before this moment.", examples=["2026-02-01T00:00:00Z"]
    )
    limit: int = Field(default=20, ge=1, le=100, description="At most so many.", examples=[20])
    cursor: str | None = Field(
        default=None, description="next_cursor of the page before.", examples=["AYkKXayWd0uzArzCC4JJ2w"]
    )


class JobList(BaseModel):
    """A page of jobs, the newest first."""

    jobs: list[JobView] = Field(description="Each as GET of it shows it; queue_position is always null here.")
    next_cursor: str | None = Field(
        description="Give it as cursor for the next page; null at the end.", examples=["AYkKXayWd0uzArzCC4JJ2w"]
    )


class ReceiptLine(BaseModel):
    """One movement of credits for a job."""

    id: UUID = Field(description="The ledger's own id.", examples=["01890a5d-ac96-774b-bcce-b302099a8058"])
    at: datetime = Field(description="When it was booked.", examples=["2026-01-01T00:00:00Z"])
    type: Literal["charge", "refund", "recharge"] = Field(
        description="recharge: the video came after the refund.", examples=["charge"]
    )
    amount: int = Field(description="What the balance gained; negative for a charge.", examples=[-4])
    description: str | None = Field(description="As in the ledger.", examples=["Video generation"])


class Receipt(BaseModel):
    """Every credit a job moved, oldest first, and the sums."""

    job_id: UUID = Field(description="The job.", examples=["01890a5d-ac96-774b-bcce-b302099a8057"])
    wallet_address: str = Field(description="Whose credits they are.", examples=["test_wallet_123"])
    lines: list[ReceiptLine] = Field(description="The movements.")
    charged: int = Field(description="Credits taken, all together.", examples=[4])
    refunded: int = Field(description="Credits given back.", examples=[0])
    net: int = Field(description="What the job cost: charged less refunded.", examples=[4])
