"""Use cases of single jobs: look, cancel, ask. No HTTP, no SQL."""

from dataclasses import dataclass
from uuid import UUID

from reelgate_api import repository
from reelgate_common import jobs, settlement
from reelgate_common.auth import Caller
from reelgate_common.db import Database
from reelgate_common.domain.errors import AlreadySent, InvalidInput, NotFound
from reelgate_common.domain.job import Job, JobStatus
from reelgate_common.kie.answers import NotYet, TaskInfo
from reelgate_common.outbox import Relay
from reelgate_common.verification import Verifier, may_ask


async def get(job_id: UUID, *, caller: Caller, db: Database) -> Job:
    """A job of the caller; NotFound also for other people's."""
    async with db.connection() as connection:
        job = await repository.find_job(connection, job_id, wallets=caller.wallets)
    if job is None:
        raise NotFound("Job not found")
    return job


async def cancel(job_id: UUID, *, caller: Caller, db: Database, relay: Relay) -> Job:
    """Take a job back before it is sent, with its refund; AlreadySent when it is too late.

    While a send is under way the wish is recorded, and honoured if the send did not happen.
    """
    await get(job_id, caller=caller, db=db)
    async with db.transaction() as tx:
        job = await jobs.lock_job(tx, job_id)
        if job is None:
            raise NotFound("Job not found")
        if job.status is JobStatus.PENDING:
            await settlement.cancel(tx, job_id, by="api")
        elif job.status is JobStatus.SUBMITTING and job.cancel_requested_at is None:
            await repository.request_cancel(tx, job_id)
            await jobs.note(tx, job_id, step="cancel_requested", by="api")
        elif job.status not in {JobStatus.SUBMITTING, JobStatus.CANCELED}:
            raise AlreadySent("The job was already sent to Kie.ai: it can no longer be canceled")
    relay.wake()
    return await get(job_id, caller=caller, db=db)


@dataclass(frozen=True)
class Asked:
    """The job a question was about, after it, and what Kie.ai said (None: it was asked just before)."""

    job: Job
    info: TaskInfo | None


async def ask(task_id: str, job_id: UUID | None, *, caller: Caller, db: Database, verifier: Verifier) -> Asked:
    """Ask Kie.ai about a task we know, and settle its job by the answer.

    Only an admin who names the job may bring a task we do not know, and only if record-info confirms it.
    """
    found = await _find_task(task_id, job_id, caller=caller, db=db)
    async with db.transaction() as tx:
        allowed = await may_ask(tx, found[0], interval_seconds=verifier.policy.hint_interval_seconds)
    info = await verifier.verify(found[1], task_id) if allowed else None
    return Asked(await get(found[0], caller=caller, db=db), info)


async def _find_task(task_id: str, job_id: UUID | None, *, caller: Caller, db: Database) -> tuple[UUID, UUID]:
    async with db.connection() as connection:
        known = await repository.find_job_of_task(connection, task_id, wallets=caller.wallets)
        if known:
            return known
        job = await repository.find_job(connection, job_id, wallets=caller.wallets) if job_id else None
    if job is None or job.attempt_id is None or not caller.is_admin:
        raise NotFound("Job not found")
    return job.id, job.attempt_id


def not_readable(asked: Asked) -> NotYet | None:
    """Kie.ai's answer when it said nothing about the task."""
    return asked.info if isinstance(asked.info, NotYet) and not asked.job.status.is_final else None


def parse_uuid(text: str, field: str) -> UUID:
    """A UUID from a path or body; InvalidInput naming the field."""
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInput(field, f"{field} must be a UUID") from None


async def timeline(job_id: UUID, *, caller: Caller, db: Database) -> list[dict[str, object]]:
    """Everything that happened to a job of the caller."""
    await get(job_id, caller=caller, db=db)
    async with db.connection() as connection:
        return await repository.timeline(connection, job_id)
