"""Every SQL statement of the callback service."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from uuid import UUID

from reelgate_common import jobs
from reelgate_common.db import Connection
from reelgate_common.domain.job import Attempt
from reelgate_common.messages import CallbackReceived

# Repeats of a body are stored once; this bounds what somebody who knows a task id can make us store. Webhooks
# with the token are counted by themselves, so that a stranger's do not crowd out Kie.ai's own.
_MOST_PER_ATTEMPT = 50


@dataclass(frozen=True, kw_only=True)
class Callback:
    """A webhook as stored."""

    id: UUID
    job_id: UUID
    attempt_id: UUID
    task_id: str
    token_ok: bool
    signature: str | None = None  # what was found; None: not looked at


@dataclass(frozen=True)
class Known:
    """An attempt, the hash of its token, and the traceparent of the request that made its job."""

    attempt: Attempt
    token_hash: bytes
    traceparent: str | None

    def owns(self, task_id: str) -> bool:
        """Whether the task is its own. An upgrade owns none."""
        return self.attempt.task_id == task_id and not self.attempt.operation.is_upgrade


async def find_attempts(db: Connection, attempt_ids: Sequence[UUID | None], task_ids: Sequence[str]) -> Sequence[Known]:
    """The attempts that were named and those that own the tasks."""
    rows = await db.fetch(
        """
        SELECT attempt.*, job.traceparent
          FROM job_attempts attempt JOIN video_jobs job ON job.id = attempt.job_id
         WHERE attempt.id = ANY($1)
            OR (attempt.task_id = ANY($2) AND attempt.operation IN ('generate', 'extend'))
        """,
        attempt_ids,
        task_ids,
    )
    return [Known(jobs.as_attempt(row), row["token_hash"], row["traceparent"]) for row in rows]


@dataclass(frozen=True)
class Kept:
    """A webhook that is to be stored, and the place in its job's trace where it came in."""

    callback: Callback
    raw: bytes
    place: str | None

    @cached_property
    def event(self) -> CallbackReceived:
        """What is published of it."""
        return CallbackReceived(job_id=self.callback.job_id, job_version=0, callback_id=self.callback.id)

    @property
    def body(self) -> str:
        """As text, of whatever it is made."""
        return self.raw.decode("utf-8", "replace").replace("\x00", "")

    @property
    def body_hash(self) -> bytes:
        """What repeats are known by."""
        return hashlib.sha256(self.raw).digest()


async def store(db: Connection, new: Sequence[Kept], *, hold: timedelta = timedelta(0)) -> frozenset[UUID]:
    """Keep webhooks, and write the events of those that are new, held back so long; the ids of these.

    Left out are those that were kept before, or of whose kind enough were. No job's lock is waited for.
    """
    rows = await db.fetch(
        """
        WITH new AS (
            SELECT new.*, row_number() OVER (PARTITION BY attempt_id, token_ok ORDER BY new.id) AS nth
              FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::bool[], $6::text[], $7::bytea[],
                          $8::text[], $10::uuid[], $11::jsonb[], $12::text[])
                   AS new(id, job_id, attempt_id, task_id, token_ok, body, body_hash, signature, event_id, event, place)
        ), stored AS (
            INSERT INTO callbacks (id, job_id, attempt_id, task_id, token_ok, body, body_hash, signature)
            SELECT id, job_id, attempt_id, task_id, token_ok, body, body_hash, signature
              FROM new
             WHERE nth + (SELECT count(*) FROM callbacks kept
                           WHERE kept.attempt_id = new.attempt_id AND kept.token_ok = new.token_ok) <= $9
             ORDER BY attempt_id, task_id, body_hash  -- batches of several processes shall not deadlock over repeats
            ON CONFLICT DO NOTHING
            RETURNING id
        ), queued AS (
            INSERT INTO outbox (event_id, routing_key, job_id, payload, available_at, headers)
            SELECT new.event_id, $13, new.job_id, new.event, clock_timestamp() + $14::interval,
                   jsonb_strip_nulls(jsonb_build_object('traceparent', new.place))
              FROM stored JOIN new USING (id)
        )
        SELECT id FROM stored
        """,
        [one.callback.id for one in new],
        [one.callback.job_id for one in new],
        [one.callback.attempt_id for one in new],
        [one.callback.task_id for one in new],
        [one.callback.token_ok for one in new],
        [one.body for one in new],
        [one.body_hash for one in new],
        [one.callback.signature for one in new],
        _MOST_PER_ATTEMPT,
        [one.event.event_id for one in new],
        [one.event.model_dump(mode="json") for one in new],
        [one.place for one in new],
        CallbackReceived.routing_key,
        hold,
    )
    return frozenset(row["id"] for row in rows)


async def hint_task(tx: Connection, attempt_id: UUID, task_id: str) -> None:
    """Remember the task that a webhook with the right token named, until record-info confirms it.

    An upgrade's task is known from its source.
    """
    await tx.execute(
        """
        UPDATE job_attempts SET hinted_task_id = $2
         WHERE id = $1 AND task_id IS NULL AND operation IN ('generate', 'extend')
        """,
        attempt_id,
        task_id,
    )


@dataclass(frozen=True)
class Hint:
    """The task that a webhook named, of which attempt, and the traceparent of the request that made its job."""

    task_id: str
    attempt: Attempt
    trace: str | None


async def find_open(db: Connection, ids: Sequence[UUID]) -> dict[UUID, Hint]:
    """By the webhooks' ids, without those that were cleaned up or whose attempt has given the job its video."""
    rows = await db.fetch(
        """
        SELECT callback.id AS callback_id, callback.task_id AS named, attempt.*, job.traceparent
          FROM callbacks callback
          JOIN video_jobs job ON job.id = callback.job_id
          JOIN job_attempts attempt ON attempt.id = callback.attempt_id
         WHERE callback.id = ANY($1)
           AND NOT (job.status = 'completed' AND job.attempt_id IS NOT DISTINCT FROM callback.attempt_id)
        """,
        ids,
    )
    return {row["callback_id"]: Hint(row["named"], jobs.as_attempt(row), row["traceparent"]) for row in rows}
