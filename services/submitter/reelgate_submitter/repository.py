"""Every SQL statement of the submitter."""

from typing import Any

from reelgate_common import breaker, jobs
from reelgate_common.db import Connection
from reelgate_common.domain.job import Job

# Any constant will do, so long as every submitter uses the same one.
_LIMITS_LOCK = 0x5EE1CA90


async def lock_fairest_due(tx: Connection, most: int) -> tuple[list[Job], Any]:
    """Up to so many due pending jobs, those first whose wallet's turn it is, held until the transaction ends.

    Besides, the breaker as it is now: a row with `breaker.STATE`.
    """
    rows = await tx.fetch(
        f"SELECT due.*, {breaker.STATE} FROM breaker LEFT JOIN fairest_due($1) AS due ON true",  # noqa: S608
        most,
    )
    return [jobs.as_job(row) for row in rows if row["id"]], rows[0]


async def lock_limits(tx: Connection) -> None:
    """Let one claim at a time count what is under way; held until the transaction ends."""
    await tx.execute("SELECT pg_advisory_xact_lock($1)", _LIMITS_LOCK)


async def count_in_flight(tx: Connection) -> int:
    """Jobs that are, or may be, at Kie.ai."""
    count: int = await tx.fetchval(
        "SELECT count(*) FROM video_jobs WHERE status IN ('submitting', 'unknown', 'processing')"
    )
    return count
