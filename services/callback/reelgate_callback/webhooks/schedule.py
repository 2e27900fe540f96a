"""When a webhook that was not taken is sent again."""

import random
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

# The example of Standard Webhooks: ten tries in a little over three days.
_MINUTE, _HOUR = 60, 3600
DELAYS = (5, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 14 * _HOUR, 20 * _HOUR, 24 * _HOUR)
_LONGEST = timedelta(hours=24)  # a receiver may ask for no more


def delay_after(tries: int, *, retry_after: timedelta | None) -> timedelta | None:
    """How long to wait after so many tries, not less than the receiver asked for; None when that was the last.

    Spread by a fifth, so that what failed together does not come back together.
    """
    if tries > len(DELAYS):
        return None
    planned = timedelta(seconds=DELAYS[tries - 1] * random.uniform(0.8, 1.2))  # noqa: S311 -- keeps no secret
    return max(planned, min(retry_after or timedelta(0), _LONGEST))


def read_retry_after(header: str | None) -> timedelta | None:
    """The value of a Retry-After header, in seconds or as a date; None when it says nothing usable."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text[:12]), _LONGEST.total_seconds()))
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime.now(UTC)
