"""Use cases of the reconciler: ask, end what is overdue, give back, mend, clean. One pass each."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from reelgate_common import attempts, jobs, removal, republish, settlement, tracing
from reelgate_common.bus import Bus
from reelgate_common.db import Connection, Database
from reelgate_common.domain.job import FailureCode, Job, JobStatus, SendOutcome
from reelgate_common.jobs import Change
from reelgate_common.messages import JobCanceled, JobFailed
from reelgate_common.outbox import Relay
from reelgate_common.verification import Verifier
from reelgate_reconciler import repository
from reelgate_reconciler.repository import Overdue
from reelgate_reconciler.settings import Settings

log = structlog.get_logger(__name__)

BY = "reconciler"
_SENT = frozenset({JobStatus.PROCESSING, JobStatus.UNKNOWN})
_LIMIT = 100  # rows a pass takes: a pass stays short, and the next follows at once
_RETIRED, _RETIRED_BATCHES = 500, 100  # jobs deleted at once, and in a pass: 14 million a day with the usual clock
_BLIND_REQUESTS = timedelta(hours=1)  # far longer than the api looks back for the request that a retry repeats


@dataclass(frozen=True)
class Reconciler:
    """Heals what got stuck. Every method is one pass and returns how much it did."""

    db: Database
    bus: Bus
    relay: Relay
    verifier: Verifier
    settings: Settings

    async def check_due(self) -> int:
        """Ask record-info about tasks that are due, a few at once."""
        async with self.db.connection() as connection:
            due = await repository.take_due_checks(
                connection,
                limit=self.settings.checks_per_pass,
                late_check_days=self.settings.late_check_days,
                interval_seconds=self.settings.hint_interval_seconds,
            )
        asked = (self.verifier.verify(check.attempt_id, check.task_id) for check in due)
        results = await asyncio.gather(*asked, return_exceptions=True)
        for failure in (result for result in results if isinstance(result, BaseException)):
            raise failure  # only now: one that crashes must not leave the others on their own
        return len(due)

    async def end_overdue(self) -> int:
        """End states that lasted too long: leases, unknown sends, silent tasks, jobs that were never sent."""
        async with self.db.connection() as connection:
            overdue = await repository.take_overdue(connection, limit=_LIMIT)
        for found in overdue:
            if not await self._ask_once_more(found):
                continue
            async with self.db.transaction() as tx:
                job = await jobs.lock_job(tx, found.id)
                if job is not None and job.status is found.status and job.attempt_id == found.attempt_id:
                    about = {"reelgate.job_id": str(job.id), "reelgate.state": job.status}
                    with tracing.span("end overdue", of=job.traceparent, attributes=about):
                        await self._end(tx, job, found)
            self.relay.wake()
        return len(overdue)

    async def _ask_once_more(self, found: Overdue) -> bool:
        """False when the last question found no place in the vendor's limit: another pass asks it."""
        if found.status not in _SENT or not found.attempt_id or not found.task_id:
            return True
        return await self.verifier.verify(found.attempt_id, found.task_id) is not None

    async def _end(self, tx: Connection, job: Job, found: Overdue) -> None:
        if job.status is JobStatus.SUBMITTING and found.attempt_id:
            await self._end_lease(tx, job, found.attempt_id)
        elif job.status is JobStatus.UNKNOWN and found.attempt_id:
            await self._end_unknown(tx, job, found.attempt_id)
        elif job.status is JobStatus.PROCESSING:
            await self._fail(tx, job, FailureCode.PROCESSING_TIMEOUT, "Kie.ai did not finish the video in time")
        elif job.status is JobStatus.PENDING:
            await self._fail(tx, job, FailureCode.EXPIRED, "The job could not be sent to Kie.ai in time")

    async def _end_lease(self, tx: Connection, job: Job, attempt_id: UUID) -> None:
        """The submitter is gone or asleep: whether it sent the job nobody knows."""
        reason = "the submitter's lease ran out"
        await attempts.record_outcome(tx, attempt_id, SendOutcome.UNKNOWN, code=None, message=reason)
        attempt = await jobs.find_attempt(tx, attempt_id)
        change = Change(
            deadline=timedelta(seconds=self.settings.submit_unknown_deadline),
            deadline_from=attempt.started_at if attempt else None,
            next_check=timedelta(seconds=self.settings.hint_interval_seconds)
            if attempt and attempt.hinted_task_id
            else None,
        )
        await jobs.transition(tx, job.id, JobStatus.UNKNOWN, step="unknown", by=BY, reason=reason, change=change)

    async def _end_unknown(self, tx: Connection, job: Job, attempt_id: UUID) -> None:
        """Nothing was heard of the send: refund, or by the operator's policy send once more."""
        resubmit = self.settings.submit_unknown_policy == "resubmit" and job.cancel_requested_at is None
        if resubmit and await repository.supersede(tx, attempt_id):
            reason = "nothing was heard of the send; policy: resubmit once"
            await attempts.back_to_pending(tx, job, delay=timedelta(0), step="resubmitted", by=BY, reason=reason)
            return
        # An upgrade was asked about all the time; to ask later would start, and bill, what was refunded.
        message, may_turn_up = "It is not known whether Kie.ai took the job", not job.operation.is_upgrade
        await self._fail(tx, job, FailureCode.SUBMIT_UNKNOWN, message, may_turn_up=may_turn_up)

    async def _fail(
        self, tx: Connection, job: Job, code: FailureCode, message: str, *, may_turn_up: bool = True
    ) -> None:
        await settlement.fail(
            tx,
            job.id,
            code,
            message=message,
            by=BY,
            policy=self.settings,
            came_from=frozenset({job.status}),
            may_turn_up=may_turn_up,
        )

    async def refund(self, message: JobFailed | JobCanceled) -> None:
        """Give a job's charge back as soon as it is known not to deliver."""
        await self._refund(message.job_id)

    async def _refund(self, job_id: UUID) -> None:
        async with self.db.transaction() as tx:
            await settlement.refund(tx, job_id, by=BY)
        self.relay.wake()

    async def sweep_refunds(self) -> int:
        """Refund what is over and was not refunded, whatever became of its message."""
        async with self.db.connection() as connection:
            found = await repository.find_unrefunded(connection, limit=_LIMIT)
        for job_id in found:
            await self._refund(job_id)
        return len(found)

    async def republish(self) -> int:
        """Queue again what waits and lost its permit."""
        count = await republish.run_once(self.db, self.bus, by=BY, limit=_LIMIT)
        self.relay.wake()
        return count

    async def mend_topology(self) -> int:
        """Declare what the broker may have lost. No change is the rule, so nothing is counted."""
        await self.bus.declare()
        return 0

    async def clean(self) -> int:
        """Delete rows that no longer earn their place."""
        settings = self.settings
        async with self.db.transaction() as tx:
            old_callbacks = timedelta(days=settings.callback_days)
            count = await repository.delete_callbacks(tx, older_than=old_callbacks, limit=_LIMIT * 10)
            old_webhooks = timedelta(days=settings.webhook_days)
            count += await repository.delete_webhook_deliveries(tx, older_than=old_webhooks, limit=_LIMIT * 10)
            count += await repository.delete_blind_requests(tx, older_than=_BLIND_REQUESTS, limit=_LIMIT * 10)
            count += await repository.delete_sessions(tx, limit=_LIMIT * 10)
            old_keys = timedelta(hours=settings.idempotency_hours)
            count += await repository.delete_idempotency_keys(tx, older_than=old_keys, limit=_LIMIT * 10)
        async with self.db.connection() as connection:
            return count + await repository.delete_rate_limits(connection, limit=_LIMIT * 100)

    async def retire(self) -> int:
        """Delete finished jobs whose time is over, batch by batch; the ledger stays."""
        if not self.settings.retention_days:
            return 0
        before = datetime.now(UTC) - timedelta(days=self.settings.retention_days)
        count = 0
        for _ in range(_RETIRED_BATCHES):
            async with self.db.transaction() as tx:
                gone = await removal.remove_old(tx, before=before, limit=_RETIRED)
            count += gone
            if gone < _RETIRED:
                break
        return count
