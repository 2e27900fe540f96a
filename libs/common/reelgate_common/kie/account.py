"""What Kie.ai's answers about our account and its files mean: the balance, and links to download by."""

import math
from dataclasses import dataclass
from typing import Any

from reelgate_common.domain.job import SendOutcome
from reelgate_common.kie import answers, urls
from reelgate_common.kie.answers import Answer


@dataclass(frozen=True, kw_only=True)
class Balance(Answer):
    """What is left on the account, in the vendor's credits; it has a fraction."""

    credits: float | None = None


@dataclass(frozen=True, kw_only=True)
class Link(Answer):
    """A link to one of the vendor's files, good for 20 minutes."""

    url: str | None = None


def read_balance(status: int, body: bytes) -> Balance:
    """Classify an answer to chat/credit: a bare number."""
    said, parsed = answers.read(status, body)
    if said.outcome is not SendOutcome.ACCEPTED:
        return Balance(outcome=said.outcome, code=said.code, message=said.message)
    left = _number(parsed.get("data"))
    if left is None:
        return Balance(outcome=SendOutcome.UNKNOWN, code=said.code, message="no number came with it")
    return Balance(outcome=said.outcome, code=said.code, message=said.message, credits=left)


def read_link(status: int, body: bytes) -> Link:
    """Classify an answer to download-url: a bare string."""
    said, parsed = answers.read(status, body)
    if said.outcome is not SendOutcome.ACCEPTED:
        return Link(outcome=said.outcome, code=said.code, message=said.message)
    url = parsed.get("data")
    if not isinstance(url, str) or not urls.is_usable(url):
        return Link(outcome=SendOutcome.UNKNOWN, code=said.code, message="no usable URL came with it")
    return Link(outcome=said.outcome, code=said.code, message=said.message, url=url)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer no float can hold
        return None
