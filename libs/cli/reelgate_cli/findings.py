"""What the doctor's looks come to."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one look came to."""

    what: str
    state: Literal["good", "doubtful", "bad"]
    says: str
    fix: str | None = None


Look = Callable[[], AsyncIterator[Found]]


def good(what: str, says: str) -> Found:
    """As it should be."""
    return Found(what=what, state="good", says=says)


def doubtful(what: str, says: str, fix: str) -> Found:
    """Worth a look; the gateway works."""
    return Found(what=what, state="doubtful", says=says, fix=fix)


def bad(what: str, says: str, fix: str) -> Found:
    """Something does not work."""
    return Found(what=what, state="bad", says=says, fix=fix)
