"""Every SQL statement of the callback service."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from reelgate_common import jobs
from reelgate_common.db import Connection
from reelgate_common.domain.job import Attempt

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


async def store(tx: Connection, new: Sequence[tuple[Callback, str, bytes]]) -> frozenset[UUID]:
    """Keep webhooks, each with its body and that one's hash; the ids of those that are new.

    Left out are those that were kept before, or of whose kind enough were. No job's lock is waited for.
    """
    rows = await tx.fetch(
        """
        WITH new AS (
            SELECT new.*, row_number() OVER (PARTITION BY attempt_id, token_ok ORDER BY new.id) AS nth
              FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::bool[], $6::text[], $7::bytea[],
                          $8::text[])
                   AS new(id, job_id, attempt_id, task_id, token_ok, body, body_hash, signature)
        )
        INSERT INTO callbacks (id, job_id, attempt_id, task_id, token_ok, body, body_hash, signature)
        SELECT id, job_id, attempt_id, task_id, token_ok, body, body_hash, signature
          FROM new
         WHERE nth + (SELECT count(*) FROM callbacks kept
                       WHERE kept.attempt_id = new.attempt_id AND kept.token_ok = new.token_ok) <= $9
         ORDER BY attempt_id, task_id, body_hash  -- batches of several processes shall not deadlock over repeats
        ON CONFLICT DO NOTHING
        RETURNING id
        """,
        [callback.id for callback, _, _ in new],
        [callback.job_id for callback, _, _ in new],
        [callback.attempt_id for callback, _, _ in new],
        [callback.task_id for callback, _, _ in new],
        [callback.token_ok for callback, _, _ in new],
        [body for _, body, _ in new],
        [body_hash for _, _, body_hash in new],
        [callback.signature for callback, _, _ in new],
        _MOST_PER_ATTEMPT,
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


async def find_open(db: Connection, ids: Sequence[UUID]) -> dict[UUID, Callback]:
    """Webhooks by their ids, without those that were cleaned up or whose attempt has given the job its video."""
    rows = await db.fetch(
        """
        SELECT callback.id, job_id, callback.attempt_id, callback.task_id, token_ok
          FROM callbacks callback JOIN video_jobs job ON job.id = job_id
         WHERE callback.id = ANY($1)
           AND NOT (job.status = 'completed' AND job.attempt_id IS NOT DISTINCT FROM callback.attempt_id)
        """,
        ids,
    )
    return {row["id"]: Callback(**row) for row in rows}
