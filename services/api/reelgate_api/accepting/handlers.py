"""Use case of accepting a job: charged, stored and queued in one transaction, or refused."""

import asyncio
import hashlib
import json
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from functools import partial
from uuid import UUID
from weakref import WeakValueDictionary

import structlog

from reelgate_api import further
from reelgate_api.accepting import repository
from reelgate_api.accepting.repository import AcceptResult, NewJob
from reelgate_api.idempotency.in_flight import InFlight
from reelgate_api.limits.handlers import QUEUE_RETRY_SECONDS, Limiter
from reelgate_api.settings import Settings
from reelgate_api.webhooks import handlers as webhooks
from reelgate_common import jobs, metrics, tracing
from reelgate_common.auth import Caller
from reelgate_common.batches import Batches, may_be_of_one
from reelgate_common.db import Connection, Database
from reelgate_common.domain import pricing
from reelgate_common.domain.errors import (
    Busy,
    IdempotencyMismatch,
    InsufficientCredits,
    InvalidInput,
    NotAllowed,
    NotFound,
    Overloaded,
    ReelgateError,
    TooManyQueued,
    TryLater,
    Unavailable,
)
from reelgate_common.domain.quota import Quota
from reelgate_common.domain.request import VideoRequest
from reelgate_common.ids import new_id
from reelgate_common.outbox import Relay

log = structlog.get_logger(__name__)

_TRIES = 3  # of a statement whose answer was lost: repeating it is safe, giving up leaves the caller in doubt
_BETWEEN_TRIES_SECONDS = 0.2
_KEY_HELD_SECONDS = 2.0  # a batch waits much less for a key that is held elsewhere
_PAUSE_SECONDS = 0.002  # after a crowd: callers that were just answered ask again, and then come together
_DEFAULTS = {field.name: field.default for field in fields(VideoRequest)}


@dataclass(frozen=True)
class Accepted:
    """A job that is stored, charged and queued; `replayed` when an earlier request made it."""

    job_id: UUID
    replayed: bool = False
    quotas: tuple[Quota, ...] = ()  # what is left of the limits on requests
    request_hash: bytes = b""


Store = Callable[[NewJob], Awaitable[Accepted]]


@dataclass(frozen=True)
class _Outcome:
    """What became of one job of a batch; `alone`: it was its wallet's only one there."""

    result: AcceptResult
    alone: bool


class Acceptor:
    """Accepts the jobs of this process."""

    def __init__(
        self,
        db: Database,
        relay: Relay,
        settings: Settings,
        limiter: Limiter,
        *,
        in_flight: InFlight[Accepted] | None = None,
    ) -> None:
        self._db = db
        self._relay = relay
        self._settings = settings
        self._limiter = limiter
        self._in_flight = in_flight or InFlight()
        self._together = Batches(self._store_together, name="accept", of_one=_may_be_of_one, pause=_PAUSE_SECONDS)
        self._queues: WeakValueDictionary[str, Batches[NewJob, _Outcome]] = WeakValueDictionary()
        # Whoever waits for a wallet does so on a connection: some are left for all others.
        self._patient = asyncio.Semaphore(max(1, settings.database_pool_size // 2))

    async def accept(
        self,
        request: VideoRequest,
        *,
        key: str | None,
        caller: Caller,
        request_hash: bytes | None = None,
        store: Store | None = None,
    ) -> Accepted:
        """Accept a job: charge, store and queue it in one transaction, `store`'s own if given.

        `request_hash` is for a request that its fields alone do not tell from others.

        InsufficientCredits, IdempotencyMismatch, InvalidInput and TryLater leave nothing behind. Unavailable leaves
        the caller in doubt; the same Idempotency-Key tells, whatever the limits.
        """
        settings = self._settings
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
            traceparent=tracing.current(),
            welcome=not caller.is_session,
        )
        decide = partial(self._decide, new, caller, store or self._store_of(request))
        if key is None:
            accepted = await decide()
        else:
            accepted = await self._in_flight.first(new.owner, key, decide, repeat=partial(_repeat, new))
        if accepted.job_id == new.id:
            if store:
                self._relay.wake()
            metrics.job_steps.labels("accepted").inc()
            log.info("job_accepted", job_id=str(new.id), cost=new.cost)
        return accepted

    async def _decide(self, new: NewJob, caller: Caller, store: Store) -> Accepted:
        request = new.request
        if request.webhook_url is not None:
            await webhooks.prepare_job(
                request.webhook_url, caller=caller, db=self._db, allow_private=self._settings.webhook_allow_private
            )
        try:
            quotas = await self._limiter.admit(caller, request.wallet_address)
        except TryLater:
            if earlier := await self._find_earlier(new):
                return earlier
            raise
        accepted = await _store_surely(new, store)
        return Accepted(accepted.job_id, accepted.replayed, quotas, new.request_hash)

    async def _find_earlier(self, new: NewJob) -> Accepted | None:
        if new.key is None:
            return None
        async with self._db.connection() as connection:
            earlier = await repository.find_idempotency_key(connection, new.owner, new.key)
        return _replay(new, *earlier) if earlier else None

    def _store_of(self, request: VideoRequest) -> Store:
        return self._store_from_source if request.source_job_id else self._store

    async def _store(self, new: NewJob) -> Accepted:
        """Store a job together with those of others.

        A wallet that is held just now by somebody else is passed over there, so that nobody waits for other people's
        wallets, and is waited for here, together with those of the same wallet.
        """
        try:
            outcome = await self._together(new)
        except Busy:  # its key is held by a request that is under way elsewhere
            outcome = None
        if outcome is None or outcome.result.balance is None:
            outcome = await self._queue(new.request.wallet_address)(new)
        if outcome.result.made:
            return Accepted(new.id)
        async with self._patient, self._db.connection() as connection:
            if outcome.alone:
                accepted = await self._judge(connection, new, outcome.result)
            else:  # perhaps only because one that is here for the second time was counted before it
                accepted = await self.accept_on(connection, new)
        self._relay.wake()
        return accepted

    async def _store_together(self, new: Sequence[NewJob]) -> list[_Outcome]:
        begun = time.monotonic()
        try:
            return await self._store_batch(new, wait=False)
        except Busy as error:
            if time.monotonic() - begun < _KEY_HELD_SECONDS:
                raise
            # No key is waited for so long: a table is locked, and each of them would wait for it alone, too.
            raise Overloaded(str(error)) from error

    async def _store_patiently(self, new: Sequence[NewJob]) -> list[_Outcome]:
        async with self._patient:
            return await self._store_batch(new, wait=True)

    def _queue(self, wallet: str) -> Batches[NewJob, _Outcome]:
        queue = self._queues.get(wallet)
        if queue is None:  # there for as long as anybody is in it
            queue = self._queues[wallet] = Batches(self._store_patiently, name="wallet")
        return queue

    async def _store_batch(self, new: Sequence[NewJob], *, wait: bool) -> list[_Outcome]:
        with self._relay.express() as express:
            async with self._db.connection() as connection:
                results = await self._try_to_accept(connection, new, wait=wait, hold=express.hold)
            for one, result in zip(new, results, strict=True):
                if result.made:
                    express.add(one.permit, one.traceparent)
        jobs_of = Counter(one.request.wallet_address for one in new)
        return [
            _Outcome(result, alone=jobs_of[one.request.wallet_address] == 1)
            for one, result in zip(new, results, strict=True)
        ]

    async def _try_to_accept(
        self, db: Connection, new: Sequence[NewJob], *, wait: bool = True, hold: timedelta = timedelta(0)
    ) -> list[AcceptResult]:
        settings = self._settings
        expires_in = timedelta(seconds=settings.pending_deadline)
        return await repository.accept(
            db, new, expires_in=expires_in, max_queued=settings.max_queued_per_wallet, wait=wait, hold=hold
        )

    async def accept_on(self, db: Connection, new: NewJob) -> Accepted:
        """Accept a job on this connection, which may be in a transaction; may be repeated after a lost answer."""
        [result] = await self._try_to_accept(db, [new])
        return await self._judge(db, new, result)

    async def _judge(self, db: Connection, new: NewJob, result: AcceptResult) -> Accepted:
        """What came of a job that was tried for its wallet alone."""
        if result.balance is None and self._settings.signup_credits and new.welcome:
            wallet = new.request.wallet_address
            await repository.open_wallet(db, wallet, signup_credits=self._settings.signup_credits)
            [result] = await self._try_to_accept(db, [new])
        if result.made:
            return Accepted(new.id)
        if new.key is not None and (earlier := await repository.find_idempotency_key(db, new.owner, new.key)):
            return _replay(new, *earlier)
        if await repository.job_exists(db, new.id):
            return Accepted(new.id)
        if result.covered and result.has_room:  # by a key that was deleted since
            raise Unavailable("an Idempotency-Key of the request came and went")
        raise self._why_not(new, result)

    def _why_not(self, new: NewJob, result: AcceptResult) -> ReelgateError:
        if result.covered and not result.has_room:
            most = self._settings.max_queued_per_wallet
            return TooManyQueued(max_queued=most, retry_seconds=QUEUE_RETRY_SECONDS)
        return InsufficientCredits(balance=result.balance or 0, cost=new.cost)

    async def _store_from_source(self, new: NewJob) -> Accepted:
        """As _store, while the source is held, so that no two upgrades of it to the same resolution are charged."""
        source_id, operation = UUID(new.request.source_job_id), new.request.operation
        async with self._db.transaction() as tx:
            is_there = await jobs.lock_job(tx, source_id) is not None
            if new.key is not None and (earlier := await repository.find_idempotency_key(tx, new.owner, new.key)):
                return _replay(new, *earlier)
            if not is_there:  # it was, a moment ago
                raise NotFound("Job not found")
            memory = timedelta(days=self._settings.late_check_days)
            state = await repository.find_source_state(tx, source_id, operation, besides=new.id, memory=memory)
            further.check_source(state, operation)
            accepted = await self.accept_on(tx, new)
        self._relay.wake()
        return accepted


def _may_be_of_one(error: Exception) -> bool:
    """Also a key that another request holds: its neighbours do not wait for that."""
    return may_be_of_one(error) or isinstance(error, Busy)


async def _store_surely(new: NewJob, store: Store) -> Accepted:
    for _ in range(_TRIES - 1):
        try:
            return await store(new)
        except (Busy, Overloaded):
            raise  # after a wait that was long enough for anybody, or not begun at all
        except Unavailable:
            await asyncio.sleep(_BETWEEN_TRIES_SECONDS)
    return await store(new)


def _repeat(new: NewJob, earlier: Accepted) -> Accepted:
    return replace(_replay(new, earlier.job_id, earlier.request_hash), quotas=earlier.quotas)


def _replay(new: NewJob, job_id: UUID, request_hash: bytes) -> Accepted:
    if request_hash != new.request_hash:
        raise IdempotencyMismatch
    return Accepted(job_id, replayed=job_id != new.id, request_hash=request_hash)


def hash_request(request: VideoRequest) -> bytes:
    """Of what was asked for besides the defaults, so that a field added later changes no hash that is stored."""
    asked = {name: value for name, value in vars(request).items() if value != _DEFAULTS[name]}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest()


def _check_expiry(request: VideoRequest, settings: Settings) -> None:
    most = math.floor(settings.pending_deadline)
    if request.expires_in is not None and request.expires_in > most:
        raise InvalidInput("expires_in", f"expires_in must be at most {most} seconds")


def _may_use(caller: Caller, wallet: str) -> None:
    if not caller.may_use(wallet):
        raise NotAllowed("This key may not act for that wallet_address")
