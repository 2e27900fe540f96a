"""The setting of processes that open the bucket: a bad one stops the start, with a line that says so."""

from typing import Self

from pydantic import model_validator

from reelgate_common.custody.store import Store
from reelgate_common.settings import CustodySettings


class BucketSettings(CustodySettings):
    """Where videos are kept, known to be a place that can be. Whether it lets us in, `reelgate doctor` tells."""

    @model_validator(mode="after")
    def _bucket_can_be(self) -> Self:
        if self.custody_url:
            Store.open(self.custody_url)
        return self
