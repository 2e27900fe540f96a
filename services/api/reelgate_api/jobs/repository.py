"""The SQL of reading jobs."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from reelgate_common import jobs
from reelgate_common.db import Connection
from reelgate_common.domain.job import Job, JobStatus, Operation


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which jobs; None: no matter which. Ids are made in order, so a range of them narrows the search."""

    wallets: Sequence[str] | None
    states: Sequence[JobStatus] | None = None
    model: str | None = None
    operation: Operation | None = None
    client_reference_id: str | None = None
    created_after: datetime | None = None  # at or after
    created_before: datetime | None = None
    made_after: UUID | None = None
    made_before: UUID | None = None
    hidden_too: bool = True


async def list_jobs(
    db: Connection, wanted: Filter, *, after: UUID | None, newest_first: bool = True, limit: int
) -> list[Job]:
    """What follows `after` in the order of creation, which is the order of ids."""
    select, arguments = statement(wanted, after, newest_first=newest_first, limit=limit)
    return [jobs.as_job(row) for row in await db.fetch(select, *arguments)]


def statement(wanted: Filter, after: UUID | None, *, newest_first: bool, limit: int) -> tuple[str, list[Any]]:
    """The statement, of what is asked for only: "or no matter which" in it would cost it the right plan.

    Each way in is an index that has its jobs in order, so a page costs no more at the end of a long list: of each
    wallet, of each state, of each state of each wallet, of each wallet's reference; else the primary key. Only a
    reference in all wallets is sorted.
    """
    given = Arguments()
    keys, conditions = ["(VALUES (1)) AS one"], ["true"]
    if wanted.client_reference_id is not None:
        conditions.append(f"client_reference_id = {given.add(wanted.client_reference_id)}")
    if wanted.wallets is not None:
        keys.append(f"unnest({given.add(list(dict.fromkeys(wanted.wallets)))}::text[]) AS of_wallet(wallet)")
        conditions.append("wallet_address = of_wallet.wallet")
    if wanted.states is not None and wanted.client_reference_id is None:
        keys.append(f"unnest({given.add(list(wanted.states))}::text[]) AS of_state(state)")
        conditions.append("status = of_state.state")
    elif wanted.states is not None:
        conditions.append(f"status = ANY({given.add(list(wanted.states))}::text[])")
    for condition, value in (
        ("model =", wanted.model),
        ("operation =", wanted.operation),
        ("created_at >=", wanted.created_after),
        ("created_at <", wanted.created_before),
        ("id >", wanted.made_after),
        ("id <", wanted.made_before),
        ("id <" if newest_first else "id >", after),
    ):
        if value is not None:
            conditions.append(f"{condition} {given.add(value)}")
    if not wanted.hidden_too:
        conditions.append("hidden_at IS NULL")
    end = f"{'DESC' if newest_first else 'ASC'} LIMIT {given.add(limit)}"
    select = f"""
        SELECT j.*
          FROM (SELECT found.id
                  FROM {" CROSS JOIN ".join(keys)}
                       CROSS JOIN LATERAL (
                       SELECT id FROM video_jobs WHERE {" AND ".join(conditions)} ORDER BY id {end}) AS found
                 ORDER BY found.id {end}) AS page
          JOIN video_jobs j USING (id)
         ORDER BY j.id {end}
    """  # noqa: S608 -- the words are ours, the values are arguments
    return select, given.values


async def find_jobs(db: Connection, ids: Collection[UUID]) -> dict[UUID, Job]:
    """Those of these jobs that there are."""
    # Not `id = ANY($1)`, which is planned anew at each call.
    rows = await db.fetch(
        "SELECT video_jobs.* FROM unnest($1::uuid[]) AS asked(id) JOIN video_jobs USING (id)", list(ids)
    )
    return {row["id"]: jobs.as_job(row) for row in rows}


class Arguments:
    """The values of a statement that is put together, each under its number."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def add(self, value: Any) -> str:
        """What stands for the value in the statement."""
        self.values.append(value)
        return f"${len(self.values)}"


async def find_position(db: Connection, job_id: UUID, *, at_most: int) -> int | None:
    """Where a job stands among those that wait to be sent, counted up to `at_most`; None when it does not wait."""
    position: int | None = await db.fetchval(
        """
        SELECT 1 + (SELECT count(*) FROM (SELECT FROM video_jobs
                                           WHERE status = 'pending' AND (turn, id) < (job.turn, job.id)
                                           LIMIT $2 - 1) AS ahead)
          FROM video_jobs job
         WHERE id = $1 AND status = 'pending'
        """,
        job_id,
        at_most,
    )
    return position


async def usual_seconds(db: Connection, *, newest: int, at_least: int) -> dict[tuple[str, Operation], float]:
    """How long Kie.ai took for half of the newest videos, by model and operation; what is rare is left out."""
    rows = await db.fetch(
        """
        SELECT model, operation,
               percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM completed_at - started_at))::float8
                 AS seconds
          FROM (SELECT * FROM video_jobs WHERE status = 'completed' ORDER BY id DESC LIMIT $1) AS newest
         WHERE recovered_at IS NULL AND started_at IS NOT NULL
         GROUP BY model, operation
        HAVING count(*) >= $2
        """,
        newest,
        at_least,
    )
    return {(row["model"], Operation(row["operation"])): row["seconds"] for row in rows}


async def receipt(db: Connection, job_id: UUID) -> list[dict[str, Any]]:
    """Every ledger line of a job, oldest first."""
    rows = await db.fetch(
        """
        SELECT id, created_at AS at, transaction_type AS type, amount, description
          FROM credit_transactions
         WHERE job_id = $1
         ORDER BY created_at, id
        """,
        job_id,
    )
    return [dict(row) for row in rows]
