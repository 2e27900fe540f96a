"""Use cases of the callback service: keep what Kie.ai says as a hint, then ask whether it is true."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from reelgate_callback import repository
from reelgate_callback.repository import Callback, Hint, Kept
from reelgate_callback.settings import Settings
from reelgate_common import metrics, tracing
from reelgate_common.auth import hash_secret
from reelgate_common.batches import IN_NO_HURRY, Batches, may_be_of_one
from reelgate_common.db import Database
from reelgate_common.domain.errors import InvalidInput, NotFound
from reelgate_common.domain.job import Attempt
from reelgate_common.ids import new_id
from reelgate_common.kie import answers, signature
from reelgate_common.messages import CallbackReceived
from reelgate_common.outbox import Relay
from reelgate_common.verification import Verifier

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """What came in, before anything of it is believed."""

    body: bytes
    attempt: str | None
    token: str | None
    timestamp: str | None
    signature: str | None


class Receiver:
    """Takes webhooks in; those that come at the same time are looked up and stored together."""

    def __init__(self, db: Database, relay: Relay, settings: Settings) -> None:
        self._db = db
        self._relay = relay
        self._settings = settings
        self._found = Batches(self._find_all, name="attempts", of_one=may_be_of_one, pause=IN_NO_HURRY)
        self._kept = Batches(self._keep_all, name="callbacks", of_one=may_be_of_one, pause=IN_NO_HURRY)

    async def receive(self, webhook: Webhook) -> UUID:
        """Keep a webhook about one of our jobs and return the job's id; its truth is checked later.

        InvalidInput when it is no JSON object or names no task; NotFound for a task we do not know, unless it
        comes with the token of the call that made it.
        """
        task_id = _task_of(webhook)
        said = _check_signature(webhook, task_id, self._settings)
        found = await self._found((_uuid(webhook.attempt), task_id))
        attempt, token_ok = _match([(known.attempt, known.token_hash) for known in found], webhook, task_id)
        if attempt is None:
            _count("unknown_task")
            raise NotFound("Job not found")
        trace = next(known.traceparent for known in found if known.attempt.id == attempt.id)
        callback = Callback(
            id=new_id(),
            job_id=attempt.job_id,
            attempt_id=attempt.id,
            task_id=task_id,
            token_ok=token_ok,
            signature=said,
        )
        about: dict[str, tracing.Value | None] = {
            "reelgate.job_id": str(attempt.job_id),
            "reelgate.token_ok": token_ok,
        }
        with tracing.span("receive callback", "server", of=trace, attributes=about):
            fresh = await self._keep(Kept(callback, webhook.body, tracing.current()), attempt)
        _count("stored" if fresh else "repeated")
        with tracing.continuing(trace):
            log.info("callback_received", job_id=str(attempt.job_id), task_id=task_id, token_ok=token_ok, fresh=fresh)
        return attempt.job_id

    async def _find_all(self, named: Sequence[tuple[UUID | None, str]]) -> Sequence[Sequence[repository.Known]]:
        async with self._db.connection() as connection:
            known = await repository.find_attempts(
                connection, [attempt_id for attempt_id, _ in named], [task_id for _, task_id in named]
            )
        return [
            [each for each in known if each.attempt.id == attempt_id or each.owns(task_id)]
            for attempt_id, task_id in named
        ]

    async def _keep(self, kept: Kept, attempt: Attempt) -> bool:
        """Store a webhook and have it looked at; False when it is stored already."""
        callback = kept.callback
        if not (callback.token_ok and attempt.task_id is None):
            return await self._kept(kept)
        async with self._db.transaction() as tx:  # by itself: the attempt may be held by whoever sends it
            fresh = bool(await repository.store(tx, [kept]))
            if fresh:
                await repository.hint_task(tx, callback.attempt_id, callback.task_id)
        self._relay.wake()
        return fresh

    async def _keep_all(self, kept: Sequence[Kept]) -> Sequence[bool]:
        with self._relay.express() as express:
            async with self._db.connection() as connection:
                stored = await repository.store(connection, kept, hold=express.hold)
            for each in kept:
                if each.callback.id in stored:
                    express.add(each.event, each.place)
        return [each.callback.id in stored for each in kept]


def _task_of(webhook: Webhook) -> str:
    parsed = answers.envelope(webhook.body)
    if parsed is None:
        _count("malformed")
        raise InvalidInput(None, "The body is not a JSON object")
    task_id = answers.task_id_of(parsed)
    if task_id is None:
        _count("no_task_id")
        raise InvalidInput("data.taskId", "Missing taskId")
    return task_id


def _match(found: Sequence[tuple[Attempt, bytes]], webhook: Webhook, task_id: str) -> tuple[Attempt | None, bool]:
    """Whose webhook it is: the owner of the task; else the attempt whose token it carries.

    An upgrade owns no task: its webhook names its source's task, or one we never heard of.
    """
    given = hash_secret(webhook.token or "")
    named = _uuid(webhook.attempt)
    mine = {attempt.id for attempt, token in found if attempt.id == named and hmac.compare_digest(token, given)}
    for attempt, _ in found:
        if attempt.id in mine and attempt.operation.is_upgrade:
            return attempt, True
    for attempt, _ in found:
        if attempt.task_id == task_id and not attempt.operation.is_upgrade:
            return attempt, attempt.id in mine
    for attempt, _ in found:
        if attempt.id in mine and attempt.task_id is None:
            return attempt, True
    return None, False


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def _count(result: str) -> None:
    metrics.callbacks.labels(result).inc()


def _check_signature(webhook: Webhook, task_id: str, settings: Settings) -> signature.Signature | None:
    """What it says is counted and kept for operators; it decides nothing."""
    if settings.kie_webhook_hmac_key is None:
        return None
    key = settings.kie_webhook_hmac_key.get_secret_value()
    said = signature.check(key, task_id, timestamp=webhook.timestamp, signature=webhook.signature)
    _count(f"signature_{said}")
    if said is not signature.Signature.GOOD:
        log.warning("callback_signature", task_id=task_id, found=said)
    return said


class Hints:
    """Asks record-info about the tasks that webhooks named, and settles their jobs by the answers.

    Asked at most once per job per interval: a hint that comes too soon only makes the next check sooner.
    Of a job that has its video, only another attempt's task is asked about: a second video is a second bill.
    """

    def __init__(self, db: Database, verifier: Verifier) -> None:
        self._db = db
        self._verifier = verifier
        self._open = Batches(self._find_open, name="hints", of_one=may_be_of_one, pause=IN_NO_HURRY)

    async def verify(self, message: CallbackReceived) -> None:
        """Find out whether what a webhook said is true."""
        hint = await self._open(message.callback_id)
        if hint is None or not await self._verifier.may_ask(hint.attempt.job_id):
            return
        await self._verifier.verify_known(hint.attempt, hint.task_id, trace=hint.trace)

    async def _find_open(self, ids: Sequence[UUID]) -> Sequence[Hint | None]:
        async with self._db.connection() as connection:
            found = await repository.find_open(connection, ids)
        return [found.get(one) for one in ids]
