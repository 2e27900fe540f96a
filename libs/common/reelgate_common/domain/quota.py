"""What is left of a limit on requests."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Quota:
    """`remaining` of `per_minute` requests are free; one more is in `next_seconds`."""

    name: str  # whose limit it is: key or wallet
    per_minute: int
    remaining: int
    next_seconds: int
