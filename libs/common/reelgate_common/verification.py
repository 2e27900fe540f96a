"""The verdict on a task: ask record-info, then settle by what it says.

The callback service comes here with hints, the reconciler with tasks that are due, the API with a
caller's question. None of them decides: Kie.ai's record-info does.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import structlog

from reelgate_common import attempts, jobs, metrics, settlement, slots, tracing
from reelgate_common.batches import IN_NO_HURRY, Batches, may_be_of_one
from reelgate_common.db import LAZILY, Connection, Database
from reelgate_common.domain.job import Attempt, FailureCode, Job, JobStatus, SendOutcome
from reelgate_common.jobs import Move
from reelgate_common.kie import operations
from reelgate_common.kie.answers import Empty, Failed, Generating, NotYet, Succeeded, TaskInfo
from reelgate_common.outbox import Relay
from reelgate_common.settings import JobSettings

log = structlog.get_logger(__name__)

_RIVALS = frozenset({None, SendOutcome.ACCEPTED, SendOutcome.UNKNOWN})


_TURN_SECONDS = 5.0  # how long a question waits for its turn before it is put off
_SECOND = 1.05  # with a margin, since questions take different times to arrive


@dataclass(frozen=True)
class Video:
    """What record-info said of a task that is done."""

    attempt: Attempt
    task_id: str
    said: Succeeded
    place: str | None  # in a trace


class Verifier:
    """Asks about one task at a time and applies the answer. What is looked up, taken and written goes in company."""

    def __init__(
        self,
        db: Database,
        vendor: operations.Questions,
        policy: JobSettings,
        by: str,
        *,
        share: float = 1.0,
        relay: Relay | None = None,
    ) -> None:
        """`share` is the part of the questions Kie.ai takes in a second that is ours: polls leave some to hints.

        Without a relay of this process, what is told is published by others' passes.
        """
        self.db = db
        self.vendor = vendor
        self.policy = policy
        self.by = by
        self._relay = relay
        self._most_a_second = max(1, int(policy.kie_queries_per_second * share))
        self._known = Batches(self._find_all, name="tasks", of_one=may_be_of_one, pause=IN_NO_HURRY)
        self._free = Batches(self._may_ask_all, name="questions", of_one=may_be_of_one, pause=IN_NO_HURRY)
        self._turns = Batches(self._take_turns, name="turns", of_one=may_be_of_one, pause=IN_NO_HURRY)
        self._videos = Batches(self._deliver_all, name="videos", of_one=may_be_of_one, pause=IN_NO_HURRY)

    async def may_ask(self, job_id: UUID) -> bool:
        """As the function of this name, in a transaction of its own."""
        interval = self.policy.hint_interval_seconds
        if await self._free(job_id):
            return True
        async with self.db.connection() as connection:
            return await may_ask(connection, job_id, interval_seconds=interval)

    async def _may_ask_all(self, job_ids: Sequence[UUID]) -> Sequence[bool]:
        """Which of these may be asked about for sure: of others it is found out one by one."""
        async with self.db.connection() as connection:
            rows = await connection.fetch(
                f"""
                WITH {LAZILY},  -- lost, a job is asked about too soon
                held AS (
                    SELECT id FROM video_jobs, lazily
                     WHERE id = ANY($1) AND (last_checked_at IS NULL OR last_checked_at <= now() - $2::interval)
                       FOR NO KEY UPDATE OF video_jobs SKIP LOCKED
                )
                UPDATE video_jobs job SET last_checked_at = clock_timestamp() FROM held WHERE job.id = held.id
                RETURNING job.id
                """,  # noqa: S608
                job_ids,
                timedelta(seconds=self.policy.hint_interval_seconds),
            )
        free = {row["id"] for row in rows}
        firsts = {job_id: n for n, job_id in reversed(list(enumerate(job_ids)))}  # two hints about one job ask once
        return [job_id in free and firsts[job_id] == n for n, job_id in enumerate(job_ids)]

    async def _find_all(self, attempt_ids: Sequence[UUID]) -> Sequence[tuple[Attempt, str | None] | None]:
        async with self.db.connection() as connection:
            found = await jobs.find_attempts(connection, attempt_ids)
        return [found.get(attempt_id) for attempt_id in attempt_ids]

    async def verify(self, attempt_id: UUID, task_id: str) -> TaskInfo | None:
        """Ask Kie.ai about a task of an attempt and settle the job if it is over.

        The task may be one that only a callback with the right token named: it becomes the attempt's own
        when record-info knows it and its prompt is the job's. None when it could not be asked in time: more
        questions wait than Kie.ai takes; the job is then checked soon.
        """
        found = await self._known(attempt_id)
        if found is None:
            return NotYet(why="no such attempt")
        known, trace = found
        return await self.verify_known(known, task_id, trace=trace)

    async def verify_known(self, known: Attempt, task_id: str, *, trace: str | None) -> TaskInfo | None:
        """As `verify`, of an attempt that was just looked up, in its job's trace."""
        about = {"reelgate.job_id": str(known.job_id), "reelgate.attempt_id": str(known.id)}
        with tracing.span("verify", of=trace, attributes=about) as span:
            info = await self._verify(known, task_id)
            span.set({"reelgate.answer": type(info).__name__ if info else "put off"})
        return info

    async def _verify(self, known: Attempt, task_id: str) -> TaskInfo | None:
        if known.operation.is_upgrade:  # a webhook may name it by another task
            task_id = known.task_id or known.hinted_task_id or task_id
        if not await self._take_turn():
            await self._put_off(known.job_id)
            return None
        info = await operations.ask(self.vendor, known.operation, task_id)
        if isinstance(info, Succeeded) and await self._videos(Video(known, task_id, info, tracing.current())):
            log.info("job_completed", job_id=str(known.job_id))
            return info
        async with self.db.transaction() as tx:
            found = await _lock(tx, known)  # again, as they are now
            if found and found[1].task_id != task_id:
                if not await self._bind(tx, *found, task_id, info):
                    await self.check_later(tx, found[0])
                    return info
                found = await _lock(tx, known)
            if found:
                await self._apply(tx, *found, info)
        if self._relay:
            self._relay.wake()
        return info

    async def _take_turn(self) -> bool:
        give_up = time.monotonic() + _TURN_SECONDS
        while wait := await self._turns(None):
            if time.monotonic() + wait > give_up:
                return False
            await asyncio.sleep(wait)
        return True

    async def _take_turns(self, asking: Sequence[None]) -> Sequence[float]:
        """For each 0, or the seconds to wait."""
        async with self.db.connection() as connection:
            taken, wait = await slots.QUERIES.take_up_to(
                connection, len(asking), count=self._most_a_second, seconds=_SECOND
            )
        return [0.0] * taken + [wait] * (len(asking) - taken)

    async def _deliver_all(self, videos: Sequence[Video]) -> Sequence[bool]:
        """Deliver what most videos come to, together; False where that must be looked at by itself."""
        with self._relay.express() if self._relay else nullcontext() as express:
            async with self.db.transaction() as tx:
                told = await _mark_plain(tx, videos)
                ready = [self._move(video) for video in videos if video.attempt.id in told]
                if ready:
                    await settlement.deliver_plain(tx, ready, by=self.by, express=express)
        for video in videos:
            if video.attempt.id in told:
                self._measure(video.said, told=told[video.attempt.id])
        return [video.attempt.id in told for video in videos]

    def _move(self, video: Video) -> Move:
        attempt = video.attempt
        delivery = settlement.delivery(
            attempt.job_id, video_url=video.said.video_url, attempt_id=attempt.id, policy=self.policy
        )
        return Move(attempt.job_id, delivery, video.place)

    async def _put_off(self, job_id: UUID) -> None:
        metrics.queries_put_off.inc()
        async with self.db.connection() as connection:
            await connection.execute(
                """
                UPDATE video_jobs SET next_check_at = least(next_check_at, now() + $2 * interval '1 s')
                 WHERE id = $1 AND status NOT IN ('completed', 'canceled')
                """,
                job_id,
                self.policy.hint_interval_seconds,
            )

    async def _bind(self, tx: Connection, job: Job, attempt: Attempt, task_id: str, info: TaskInfo) -> bool:
        if isinstance(info, NotYet):
            return False
        if not attempt.operation.is_upgrade and not _is_about(info, job, attempt):
            log.error("task_of_another_job", job_id=str(job.id), task_id=task_id)
            await tx.execute("UPDATE job_attempts SET hinted_task_id = NULL WHERE id = $1", attempt.id)
            return False
        reason = "Kie.ai named the task before the answer to the send was recorded"
        found = await attempts.accept(tx, attempt, task_id, by=self.by, reason=reason, policy=self.policy)
        return found is not None

    async def _apply(self, tx: Connection, job: Job, attempt: Attempt, info: TaskInfo) -> None:
        if isinstance(info, Succeeded | Failed) and attempt.verdict is None:
            told = await tx.fetchval("SELECT EXISTS (SELECT FROM callbacks WHERE attempt_id = $1)", attempt.id)
            self._measure(info, told=told)
        if isinstance(info, Succeeded):
            await _mark(tx, attempt, "delivered")
            await settlement.deliver(
                tx, job.id, video_url=info.video_url, attempt_id=attempt.id, by=self.by, policy=self.policy
            )
        elif isinstance(info, Failed):
            await self._failed(tx, job, attempt, FailureCode.GENERATION_FAILED, info.message)
        elif isinstance(info, Empty) and await self._grace_is_over(tx, attempt):
            await self._failed(tx, job, attempt, FailureCode.EMPTY_RESULT, "Kie.ai reported success without a video")
        else:
            await self.check_later(tx, job, waits_for_url=isinstance(info, Empty))

    def _measure(self, info: Succeeded | Failed, *, told: bool) -> None:
        """How long it took us to learn of it, and whether the vendor had told us."""
        if info.ended_at is not None:
            seconds = (datetime.now(UTC) - info.ended_at).total_seconds()
            metrics.detection_seconds.labels(self.by).observe(max(0.0, seconds))
        metrics.verdicts.labels("came" if told else "missing").inc()

    async def _failed(self, tx: Connection, job: Job, attempt: Attempt, code: FailureCode, message: str) -> None:
        """End the job, unless another attempt of it can still deliver."""
        await _mark(tx, attempt, "failed")
        rival = await _rival(tx, job.id, attempt.id)
        if job.status is JobStatus.FAILED and rival:
            await self.check_later(tx, job)  # the other one's video may still turn up
            return
        if job.status.is_final:
            await tx.execute("UPDATE video_jobs SET next_check_at = NULL WHERE id = $1", job.id)
            return
        if rival is None:
            await settlement.fail(tx, job.id, code, message=message, by=self.by, policy=self.policy)
            return
        await tx.execute(
            """
            UPDATE video_jobs
               SET attempt_id = $2, task_id = coalesce($3, task_id), next_check_at = now() + $4
             WHERE id = $1
            """,
            job.id,
            rival.id,
            rival.task_id,
            timedelta(seconds=self.policy.hint_interval_seconds),
        )
        if attempt.verdict is None:  # told once, however often it is asked about
            reason = f"attempt {attempt.n} failed ({message}); attempt {rival.n} may still deliver"
            await jobs.note(tx, job.id, step="attempt_failed", by=self.by, reason=reason)

    async def _grace_is_over(self, tx: Connection, attempt: Attempt) -> bool:
        return bool(
            await tx.fetchval(
                """
                UPDATE job_attempts SET empty_since = coalesce(empty_since, now()) WHERE id = $1
                RETURNING empty_since + $2::interval <= now()
                """,
                attempt.id,
                timedelta(seconds=self.policy.empty_result_grace_seconds),
            )
        )

    async def check_later(self, tx: Connection, job: Job, *, waits_for_url: bool = False) -> None:
        """Set when the task is asked about next: more rarely the longer it takes, to a limit.

        A job that has its video, or was canceled, is not asked about again.
        """
        again = job.status not in {JobStatus.COMPLETED, JobStatus.CANCELED}
        soonest, latest = self._between(job, waits_for_url=waits_for_url)
        await tx.execute(
            """
            UPDATE video_jobs
               SET next_check_at = CASE WHEN $2 THEN now()
                   + least(greatest($3::interval, (now() - coalesce(started_at, created_at)) / 2), $4::interval) END
             WHERE id = $1
            """,
            job.id,
            again,
            timedelta(seconds=soonest),
            timedelta(seconds=latest),
        )

    def _between(self, job: Job, *, waits_for_url: bool) -> tuple[float, float]:
        """The least and the most seconds until the next question; between them, half of the task's age.

        The age is told by the database's clock: a process's own may be wrong.
        """
        policy = self.policy
        if job.status.is_final:
            return policy.late_check_seconds, policy.late_check_seconds
        if waits_for_url:
            wait = min(max(policy.empty_result_grace_seconds / 2, 0.5), policy.max_poll_seconds)
            return wait, wait
        return policy.first_poll_seconds / 2, policy.max_poll_seconds


async def _lock(tx: Connection, attempt: Attempt) -> tuple[Job, Attempt] | None:
    """The attempt and its job, held against every other change; None when they are gone."""
    job = await jobs.lock_job(tx, attempt.job_id)
    now = await jobs.find_attempt(tx, attempt.id)
    return (job, now) if job and now else None


async def _mark(tx: Connection, attempt: Attempt, verdict: str) -> None:
    await tx.execute("UPDATE job_attempts SET verdict = $2 WHERE id = $1", attempt.id, verdict)


async def _mark_plain(tx: Connection, videos: Sequence[Video]) -> dict[UUID, bool]:
    """Mark and lock those that are plain: the job waits for this very video, and nobody else holds it.

    By the attempts' ids: whether the vendor had told us.
    """
    rows = await tx.fetch(
        """
        WITH held AS (
            SELECT job.id, video.attempt_id, video.task_id
              FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS video(job_id, attempt_id, task_id)
              JOIN video_jobs job ON job.id = video.job_id
             WHERE job.status = 'processing' AND job.attempt_id = video.attempt_id
             ORDER BY job.id
               FOR NO KEY UPDATE OF job SKIP LOCKED
        )
        UPDATE job_attempts attempt SET verdict = 'delivered'
          FROM held
         WHERE attempt.id = held.attempt_id AND attempt.task_id = held.task_id AND attempt.verdict IS NULL
        RETURNING attempt.id, EXISTS (SELECT FROM callbacks WHERE attempt_id = attempt.id) AS told
        """,
        [video.attempt.job_id for video in videos],
        [video.attempt.id for video in videos],
        [video.task_id for video in videos],
    )
    return {row["id"]: row["told"] for row in rows}


async def _rival(tx: Connection, job_id: UUID, attempt_id: UUID) -> Attempt | None:
    """Another attempt of the job that is or may be at Kie.ai, one with a task id first."""
    rows = await tx.fetch(
        """
        SELECT * FROM job_attempts
         WHERE job_id = $1 AND id <> $2 AND verdict IS NULL
         ORDER BY task_id IS NULL, n DESC
        """,
        job_id,
        attempt_id,
    )
    rivals = (jobs.as_attempt(row) for row in rows)
    return next((rival for rival in rivals if rival.outcome in _RIVALS), None)


def _is_about(info: Succeeded | Empty | Failed | Generating, job: Job, attempt: Attempt) -> bool:
    """Whether a task is this attempt's: by the callback URL it echoes, else by its prompt."""
    if info.callback_url is not None:
        return str(attempt.id) in parse_qs(urlsplit(info.callback_url).query).get("attempt", [])
    return info.prompt is not None and info.prompt.strip() == job.prompt.strip()


async def may_ask(tx: Connection, job_id: UUID, *, interval_seconds: float) -> bool:
    """Take the right to ask record-info about a job now; False, and a check soon, when it was just asked.

    This is what bounds a flood of callbacks to one question per job per interval. What is written is the time
    now, not the transaction's: it may have waited for the job's lock, and the question follows only then.
    """
    row = await tx.fetchrow(
        """
        WITH asked AS (
            UPDATE video_jobs SET last_checked_at = clock_timestamp()
             WHERE id = $1 AND (last_checked_at IS NULL OR last_checked_at <= now() - $2::interval)
            RETURNING id
        ), soon AS (
            UPDATE video_jobs SET next_check_at = least(next_check_at, now() + $2::interval)
             WHERE id = $1 AND NOT EXISTS (SELECT FROM asked)
               AND status NOT IN ('completed', 'canceled')
        )
        SELECT EXISTS (SELECT FROM asked) AS allowed
        """,
        job_id,
        timedelta(seconds=interval_seconds),
    )
    return bool(row and row["allowed"])
