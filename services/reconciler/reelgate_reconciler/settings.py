"""What the reconciler can be told."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from reelgate_common.custody.settings import BucketSettings
from reelgate_common.service import ServiceSettings
from reelgate_common.settings import Seconds, SendWindowSettings

_LEAST_RETENTION_DAYS = 15  # Kie.ai forgets a task, and deletes its video, after 14


def _outlives_the_vendors_memory(days: float) -> float:
    if 0 < days < _LEAST_RETENTION_DAYS:
        raise ValueError(f"must be 0, or {_LEAST_RETENTION_DAYS} at least: until then a video may still come late")
    return days


Retention = Annotated[float, Field(ge=0, allow_inf_nan=False), AfterValidator(_outlives_the_vendors_memory)]


class Settings(ServiceSettings, BucketSettings, SendWindowSettings):
    """How often it looks, and how much it does at once."""

    reconcile_seconds: Seconds = 1  # due checks and deadlines
    sweep_seconds: Seconds = 5  # lost permits and lost refunds
    mend_seconds: Seconds = 30  # the broker's topology
    audit_seconds: Seconds = 60  # what is new in the ledger
    balance_seconds: Seconds = 60  # the account at Kie.ai
    # In Kie.ai's credits; with less on the account the alert is on. A quality video takes 250, a fast one 60.
    kie_low_balance: float = Field(default=1000, ge=0, allow_inf_nan=False)
    measure_seconds: Seconds = 10  # what metrics tell of the whole gateway
    clean_seconds: Seconds = 300  # old rows
    retention_days: Retention = 0  # of finished jobs; 0: for ever
    checks_per_pass: int = Field(default=10, ge=1)  # tasks asked about in one pass
    callback_days: float = Field(default=14, gt=0, allow_inf_nan=False)
    webhook_days: float = Field(default=30, gt=0, allow_inf_nan=False)  # longer than a webhook is tried
    idempotency_hours: float = Field(default=24, gt=0, allow_inf_nan=False)
    custody_seconds: Seconds = 2  # how often a copier that found nothing looks again
    custody_copies: int = Field(default=4, ge=1)  # at once, per process
    custody_copy_seconds: Seconds = 900  # for one copy, and how long nobody else takes it
    custody_max_bytes: int = Field(default=2 * 1024**3, ge=1)  # an 8 s clip in 4K is far below 200 MB
    custody_retention_days: float = Field(default=0, ge=0, le=36_500)  # 0: kept until it is deleted on request

    @model_validator(mode="after")
    def _videos_go_before_their_jobs(self) -> Self:
        """A job stays as long as its video, so that without this none would ever go, and each pass read past all."""
        ends = self.custody_retention_days or float("inf")
        if self.custody_url and self.retention_days and ends > self.retention_days:
            raise ValueError(
                "RETENTION_DAYS with CUSTODY_URL needs a CUSTODY_RETENTION_DAYS that is no longer, and not 0:"
                " a job is not deleted while its video is kept"
            )
        return self
