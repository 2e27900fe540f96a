"""Use cases of reading jobs: list them, what one cost, when one will be sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

from reelgate_api import cursor as cursors
from reelgate_api.jobs import repository
from reelgate_api.jobs.repository import Filter
from reelgate_common.auth import Caller
from reelgate_common.db import Database
from reelgate_common.domain.job import Job, JobStatus, Operation
from reelgate_common.ids import first_id

MOST_COUNTED = 1000  # of those ahead of a job: counting more is not worth its cost at each poll

# A job's id is made by an api's clock before its statement, `created_at` by the database's in it.
_IDS_DIFFER = timedelta(minutes=10)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC) + _IDS_DIFFER
_END = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which jobs a caller asks for; None: no matter which. `status` is one of the words that are shown."""

    wallet_address: str | None = None
    status: Sequence[str] | None = None
    state: JobStatus | None = None
    model: str | None = None
    operation: Operation | None = None
    client_reference_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


async def list_jobs(
    wanted: Wanted, *, limit: int, cursor: str | None, caller: Caller, db: Database
) -> tuple[list[Job], str | None]:
    """A page of the caller's jobs, newest first, and the cursor of the next, if there is one."""
    before = cursors.decode(cursor) if cursor is not None else None
    async with db.connection() as connection:
        found = await repository.list_jobs(connection, _filter(wanted, caller), after=before, limit=limit + 1)
    return cursors.first(found, limit, id_of=attrgetter("id"))


def _filter(wanted: Wanted, caller: Caller) -> Filter:
    since, until = (_clamp(moment) for moment in (wanted.created_after, wanted.created_before))
    return Filter(
        wallets=_wallets(wanted.wallet_address, caller),
        states=_states(wanted),
        model=wanted.model,
        operation=wanted.operation,
        client_reference_id=wanted.client_reference_id,
        created_after=since,
        created_before=until,
        made_after=first_id(since - _IDS_DIFFER) if since else None,
        made_before=first_id(until + _IDS_DIFFER) if until else None,
    )


def _wallets(asked: str | None, caller: Caller) -> Sequence[str] | None:
    if asked is None:
        return caller.wallets
    return (asked,) if caller.wallets is None or asked in caller.wallets else ()


def _states(wanted: Wanted) -> list[JobStatus] | None:
    if wanted.status is None and wanted.state is None:
        return None
    return [
        state
        for state in JobStatus
        if wanted.state in {None, state} and (wanted.status is None or state.shown in wanted.status)
    ]


def _clamp(moment: datetime | None) -> datetime | None:
    """A moment that ids can tell; no job was made outside of it."""
    return min(max(moment, _EPOCH), _END) if moment else None


async def position(job: Job, *, db: Database) -> int | None:
    """Where a job stands among all that wait to be sent, 1 being the next; None when it does not wait."""
    if job.status is not JobStatus.PENDING:
        return None
    async with db.connection() as connection:
        return await repository.find_position(connection, job.id, at_most=MOST_COUNTED)


async def receipt(job: Job, *, db: Database) -> dict[str, Any]:
    """Every ledger line of a job, oldest first, and their sums."""
    async with db.connection() as connection:
        lines = await repository.receipt(connection, job.id)
    net, refunded = -sum(line["amount"] for line in lines), sum(max(line["amount"], 0) for line in lines)
    return {
        "job_id": job.id,
        "wallet_address": job.wallet_address,
        "lines": lines,
        "charged": net + refunded,
        "refunded": refunded,
        "net": net,
    }
