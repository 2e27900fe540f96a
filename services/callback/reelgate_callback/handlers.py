"""Use cases of the callback service: keep what Kie.ai says as a hint, then ask whether it is true."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from reelgate_callback import repository
from reelgate_callback.repository import Callback
from reelgate_callback.settings import Settings
from reelgate_common import jobs, metrics, outbox, tracing
from reelgate_common.auth import hash_secret
from reelgate_common.db import Connection, Database
from reelgate_common.domain.errors import InvalidInput, NotFound
from reelgate_common.domain.job import Attempt, JobStatus
from reelgate_common.ids import new_id
from reelgate_common.kie import answers, signature
from reelgate_common.messages import CallbackReceived
from reelgate_common.outbox import Relay
from reelgate_common.verification import Verifier, may_ask

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """What came in, before anything of it is believed."""

    body: bytes
    attempt: str | None
    token: str | None
    timestamp: str | None
    signature: str | None


async def receive(webhook: Webhook, *, db: Database, relay: Relay, settings: Settings) -> UUID:
    """Keep a webhook about one of our jobs and return the job's id; its truth is checked later.

    InvalidInput when it is no JSON object or names no task; NotFound for a task we do not know, unless it
    comes with the token of the call that made it.
    """
    parsed = answers.envelope(webhook.body)
    if parsed is None:
        _count("malformed")
        raise InvalidInput(None, "The body is not a JSON object")
    task_id = answers.task_id_of(parsed)
    if task_id is None:
        _count("no_task_id")
        raise InvalidInput("data.taskId", "Missing taskId")
    said = _check_signature(webhook, task_id, settings)
    async with db.transaction() as tx:
        found = await repository.find_attempts(tx, attempt_id=_uuid(webhook.attempt), task_id=task_id)
        attempt, token_ok = _match(found, webhook, task_id)
        if attempt is None:
            _count("unknown_task")
            raise NotFound("Job not found")
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
        trace = await jobs.find_trace(tx, attempt.job_id)
        with tracing.span("receive callback", "server", of=trace, attributes=about):
            fresh = await _keep(tx, callback, webhook.body)
    relay.wake()
    _count("stored" if fresh else "repeated")
    with tracing.continuing(trace):
        log.info("callback_received", job_id=str(attempt.job_id), task_id=task_id, token_ok=token_ok, fresh=fresh)
    return attempt.job_id


async def _keep(tx: Connection, callback: Callback, raw: bytes) -> bool:
    """Store a webhook and have it looked at; False when it is stored already."""
    body = raw.decode("utf-8", "replace").replace("\x00", "")
    if not await repository.store(tx, callback, body=body, body_hash=hashlib.sha256(raw).digest()):
        return False
    if callback.token_ok:
        await repository.hint_task(tx, callback.attempt_id, callback.task_id)
    await outbox.add(tx, CallbackReceived(job_id=callback.job_id, job_version=0, callback_id=callback.id))
    return True


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


async def verify(message: CallbackReceived, *, db: Database, relay: Relay, verifier: Verifier) -> None:
    """Ask record-info about the task a webhook named, and settle its job by the answer.

    Asked at most once per job per interval: a hint that comes too soon only makes the next check sooner.
    Of a job that has its video, only another attempt's task is asked about: a second video is a second bill.
    """
    async with db.transaction() as tx:
        callback = await repository.find_callback(tx, message.callback_id)
        job = await jobs.lock_job(tx, message.job_id)
        if callback is None or job is None:
            return
        if job.status is JobStatus.COMPLETED and job.attempt_id == callback.attempt_id:
            return
        if not await may_ask(tx, job.id, interval_seconds=verifier.policy.hint_interval_seconds):
            return
    await verifier.verify(callback.attempt_id, callback.task_id)
    relay.wake()
