"""What the reconciler can be told."""

from pydantic import Field

from reelgate_common.service import ServiceSettings
from reelgate_common.settings import Seconds


class Settings(ServiceSettings):
    """How often it looks, and how much it does at once."""

    reconcile_seconds: Seconds = 1  # due checks and deadlines
    sweep_seconds: Seconds = 5  # lost permits and lost refunds
    mend_seconds: Seconds = 30  # the broker's topology
    audit_seconds: Seconds = 60  # what is new in the ledger
    balance_seconds: Seconds = 60  # the account at Kie.ai
    # In Kie.ai's credits; with less on the account the alert is on. A quality video takes 250, a fast one 60.
    kie_low_balance: float = Field(default=1000, ge=0, allow_inf_nan=False)
    clean_seconds: Seconds = 300  # old rows
    checks_per_pass: int = Field(default=10, ge=1)  # tasks asked about in one pass
    callback_days: float = Field(default=14, gt=0, allow_inf_nan=False)
    webhook_days: float = Field(default=30, gt=0, allow_inf_nan=False)  # longer than a webhook is tried
    idempotency_hours: float = Field(default=24, gt=0, allow_inf_nan=False)
