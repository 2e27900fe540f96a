"""Use cases of the API: accept, look, cancel, ask. No HTTP, no SQL."""

import asyncio
import hashlib
import json
import math
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, fields, replace
from datetime import timedelta
from functools import partial
from uuid import UUID

import structlog

from reelgate_api import further, repository
from reelgate_api.idempotency.in_flight import InFlight
from reelgate_api.limits.handlers import QUEUE_RETRY_SECONDS, Limiter
from reelgate_api.repository import AcceptResult, NewJob
from reelgate_api.settings import Settings
from reelgate_api.webhooks import handlers as webhooks
from reelgate_common import jobs, settlement
from reelgate_common.auth import Caller
from reelgate_common.db import Connection, Database
from reelgate_common.domain import pricing
from reelgate_common.domain.errors import (
    AlreadySent,
    Busy,
    IdempotencyMismatch,
    InsufficientCredits,
    InvalidInput,
    NotAllowed,
    NotFound,
    ReelgateError,
    TooManyQueued,
    TryLater,
    Unavailable,
)
from reelgate_common.domain.job import Job, JobStatus
from reelgate_common.domain.quota import Quota
from reelgate_common.domain.request import VideoRequest
from reelgate_common.ids import new_id
from reelgate_common.kie.answers import NotYet, TaskInfo
from reelgate_common.outbox import Relay
from reelgate_common.verification import Verifier, may_ask

log = structlog.get_logger(__name__)

_TRIES = 3  # of a statement whose answer was lost: repeating it is safe, giving up leaves the caller in doubt
_BETWEEN_TRIES_SECONDS = 0.2


@dataclass(frozen=True)
class Accepted:
    """A job that is stored, charged and queued; `replayed` when an earlier request made it."""

    job_id: UUID
    replayed: bool = False
    quotas: tuple[Quota, ...] = ()  # what is left of the limits on requests
    request_hash: bytes = b""


Store = Callable[..., Awaitable[Accepted]]  # of a NewJob, with db and settings by name


async def accept(
    request: VideoRequest,
    *,
    key: str | None,
    caller: Caller,
    db: Database,
    relay: Relay,
    settings: Settings,
    limiter: Limiter,
    in_flight: InFlight[Accepted],
    request_hash: bytes | None = None,
    store: Store | None = None,
) -> Accepted:
    """Accept a job: charge, store and queue it in one transaction, `store`'s own if given.

    `request_hash` is for a request that its fields alone do not tell from others.

    InsufficientCredits, IdempotencyMismatch, InvalidInput and TryLater leave nothing behind. Unavailable leaves
    the caller in doubt; the same Idempotency-Key tells, whatever the limits.
    """
    _may_use(caller, request.wallet_address)
    _check_expiry(request, settings)
    cost = pricing.price(settings.prices, request.operation, model=request.model, resolution=request.resolution)
    new = NewJob(
        id=new_id(),
        request=request,
        cost=cost,
        owner=caller.key_id or f"wallet:{request.wallet_address}",
        key=key,
        request_hash=request_hash or hash_request(request),
        welcome=not caller.is_session,
    )

    async def decide() -> Accepted:
        if request.webhook_url is not None:
            await webhooks.prepare_job(
                request.webhook_url, caller=caller, db=db, allow_private=settings.webhook_allow_private
            )
        try:
            quotas = await limiter.admit(caller, request.wallet_address)
        except TryLater:
            if earlier := await _find_earlier(new, db):
                return earlier
            raise
        accepted = await _store_surely(new, store or _store_of(request), db=db, settings=settings)
        return replace(accepted, quotas=quotas)

    if key is None:
        accepted = await decide()
    else:
        accepted = await in_flight.first(new.owner, key, decide, repeat=partial(_repeat, new))
    if accepted.job_id == new.id:
        relay.wake()
        log.info("job_accepted", job_id=str(new.id), cost=new.cost)
    return accepted


def _store_of(request: VideoRequest) -> Store:
    return _accept_from_source if request.source_job_id else _accept


async def _store_surely(new: NewJob, store: Store, *, db: Database, settings: Settings) -> Accepted:
    async def once() -> Accepted:
        return replace(await store(new, db=db, settings=settings), request_hash=new.request_hash)

    for _ in range(_TRIES - 1):
        try:
            return await once()
        except Busy:
            raise  # after a wait that was long enough for anybody
        except Unavailable:
            await asyncio.sleep(_BETWEEN_TRIES_SECONDS)
    return await once()


def _repeat(new: NewJob, earlier: Accepted) -> Accepted:
    return replace(_replay(new, earlier.job_id, earlier.request_hash), quotas=earlier.quotas)


async def _find_earlier(new: NewJob, db: Database) -> Accepted | None:
    if new.key is None:
        return None
    async with db.connection() as connection:
        earlier = await repository.find_idempotency_key(connection, new.owner, new.key)
    return _replay(new, *earlier) if earlier else None


async def _accept(new: NewJob, *, db: Database, settings: Settings) -> Accepted:
    async with db.connection() as connection:
        return await accept_on(connection, new, settings=settings)


async def accept_on(connection: Connection, new: NewJob, *, settings: Settings) -> Accepted:
    """Accept a job on this connection, which may be in a transaction; may be repeated after a lost answer."""
    expires_in = timedelta(seconds=settings.pending_deadline)
    accept_one = partial(
        repository.accept, connection, [new], expires_in=expires_in, max_queued=settings.max_queued_per_wallet
    )
    [result] = await accept_one()
    if result.balance is None and settings.signup_credits and new.welcome:
        await repository.open_wallet(connection, new.request.wallet_address, signup_credits=settings.signup_credits)
        [result] = await accept_one()
    if result.made:
        return Accepted(new.id)
    if new.key is not None and (earlier := await repository.find_idempotency_key(connection, new.owner, new.key)):
        return _replay(new, *earlier)
    if await repository.job_exists(connection, new.id):
        return Accepted(new.id)
    raise _why_not(new, result, settings)


async def _accept_from_source(new: NewJob, *, db: Database, settings: Settings) -> Accepted:
    """As _accept, while the source is held, so that no two upgrades of it to the same resolution are charged."""
    source_id, operation = UUID(new.request.source_job_id), new.request.operation
    async with db.transaction() as tx:
        await jobs.lock_job(tx, source_id)
        if new.key is not None and (earlier := await repository.find_idempotency_key(tx, new.owner, new.key)):
            return _replay(new, *earlier)
        memory = timedelta(days=settings.late_check_days)
        state = await repository.find_source_state(tx, source_id, operation, besides=new.id, memory=memory)
        further.check_source(state, operation)
        return await accept_on(tx, new, settings=settings)


def _why_not(new: NewJob, result: AcceptResult, settings: Settings) -> ReelgateError:
    if result.covered and not result.has_room:
        return TooManyQueued(max_queued=settings.max_queued_per_wallet, retry_seconds=QUEUE_RETRY_SECONDS)
    return InsufficientCredits(balance=result.balance or 0, cost=new.cost)


def _replay(new: NewJob, job_id: UUID, request_hash: bytes) -> Accepted:
    if request_hash != new.request_hash:
        raise IdempotencyMismatch
    return Accepted(job_id, replayed=job_id != new.id, request_hash=request_hash)


def hash_request(request: VideoRequest) -> bytes:
    """Of what was asked for besides the defaults, so that a field added later changes no hash that is stored."""
    defaults = {field.name: field.default for field in fields(request)}
    asked = {name: value for name, value in asdict(request).items() if value != defaults[name]}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest()


def _check_expiry(request: VideoRequest, settings: Settings) -> None:
    most = math.floor(settings.pending_deadline)
    if request.expires_in is not None and request.expires_in > most:
        raise InvalidInput("expires_in", f"expires_in must be at most {most} seconds")


def _may_use(caller: Caller, wallet: str) -> None:
    if caller.wallets is not None and wallet not in caller.wallets:
        raise NotAllowed("This key may not act for that wallet_address")


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


async def ask(
    task_id: str, job_id: UUID | None, *, caller: Caller, db: Database, verifier: Verifier, relay: Relay
) -> Asked:
    """Ask Kie.ai about a task we know, and settle its job by the answer.

    Only an admin who names the job may bring a task we do not know, and only if record-info confirms it.
    """
    found = await _find_task(task_id, job_id, caller=caller, db=db)
    async with db.transaction() as tx:
        allowed = await may_ask(tx, found[0], interval_seconds=verifier.policy.hint_interval_seconds)
    info = await verifier.verify(found[1], task_id) if allowed else None
    relay.wake()
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
