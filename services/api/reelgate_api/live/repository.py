"""Every SQL statement of the live streams."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from reelgate_common import jobs
from reelgate_common.db import Connection, Database
from reelgate_common.domain.job import BY_DEADLINE, FINAL, Job
from reelgate_common.ids import first_id

# No job changes later: two days of deadlines, then at most two weeks in which its video may turn up.
_LIFE = timedelta(days=31)
_PAGE = 100


Entry = dict[str, Any]  # a row of job_events without the job's id


@dataclass(frozen=True)
class News:
    """A job, and entries of its timeline that were not told yet."""

    job: Job
    entries: list[Entry]


async def news(db: Connection, told: Mapping[UUID, int], *, wallets: Sequence[str] = ()) -> list[News]:
    """What happened to these jobs after the entry told last; -1: all of it, if the job is of these wallets."""
    rows = await db.fetch(
        """
        SELECT j.*, (SELECT coalesce(jsonb_agg(to_jsonb(e) - 'job_id' ORDER BY e.seq), '[]')
                       FROM job_events e WHERE e.job_id = j.id AND e.seq > w.seq) AS entries
          FROM unnest($1::uuid[], $2::integer[]) AS w(id, seq)
          JOIN video_jobs j ON j.id = w.id AND j.version > w.seq
         WHERE w.seq >= 0 OR j.wallet_address = ANY($3::text[])
        """,
        list(told),
        list(told.values()),
        list(wallets),
    )
    return [News(jobs.as_job(row), [_dated(entry) for entry in row["entries"]]) for row in rows]


def _dated(entry: Entry) -> Entry:
    return entry | {"at": datetime.fromisoformat(entry["at"])}


async def unsettled(db: Connection, wallet: str, *, now: datetime) -> dict[UUID, int]:
    """The jobs of a wallet to which something may still happen, with the number of their newest entry."""
    rows = await db.fetch(
        """
        SELECT id, version FROM video_jobs
         WHERE wallet_address = $1 AND id >= $2
           AND (status <> ALL($3) OR status <> 'completed' AND (refunded_at IS NULL OR failure_code = ANY($4)))
        """,
        wallet,
        first_id(now - _LIFE),
        list(FINAL),
        list(BY_DEADLINE),
    )
    return {row["id"]: row["version"] for row in rows}


async def now(db: Connection) -> datetime:
    """The database's clock."""
    moment: datetime = await db.fetchval("SELECT clock_timestamp()")
    return moment


async def made_since(db: Connection, wallets: Sequence[str], since: datetime) -> list[UUID]:
    """The jobs of these wallets whose id was made since then."""
    rows = await db.fetch(
        "SELECT id FROM video_jobs WHERE wallet_address = ANY($1::text[]) AND id >= $2", list(wallets), first_id(since)
    )
    return [row["id"] for row in rows]


async def entries_since(db: Database, wallet: str, since: datetime) -> AsyncIterator[News]:
    """Every entry of a wallet's jobs since then, oldest first, one by one; no connection is held meanwhile."""
    last = (since, UUID(int=0), 0)
    while True:
        async with db.connection() as connection:
            rows = await _page(connection, wallet, last)
        for row in rows:
            entry = _dated(row["entry"])
            last = (entry["at"], row["id"], entry["seq"])
            yield News(jobs.as_job(row), [entry])
        if len(rows) < _PAGE:
            return


async def _page(db: Connection, wallet: str, last: tuple[datetime, UUID, int]) -> list[Any]:
    rows: list[Any] = await db.fetch(
        """
        SELECT j.*, to_jsonb(e) - 'job_id' AS entry
          FROM video_jobs j JOIN job_events e ON e.job_id = j.id
         WHERE j.wallet_address = $1 AND j.id >= $2
           -- the start of a job's latest transaction, which may lie before the entry it wrote
           AND j.updated_at >= $3::timestamptz - interval '1 minute'
           AND (e.at, e.job_id, e.seq) > ($3, $4, $5)
         ORDER BY e.at, e.job_id, e.seq
         LIMIT $6
        """,
        wallet,
        first_id(last[0] - _LIFE),
        *last,
        _PAGE,
    )
    return rows
