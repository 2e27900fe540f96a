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


async def find_attempts(db: Connection, *, attempt_id: UUID | None, task_id: str) -> Sequence[tuple[Attempt, bytes]]:
    """The attempt that was named and the one that owns the task, each with the hash of its token."""
    rows = await db.fetch(
        "SELECT * FROM job_attempts WHERE id = $1 OR (task_id = $2 AND operation IN ('generate', 'extend'))",
        attempt_id,
        task_id,
    )
    return [(jobs.as_attempt(row), row["token_hash"]) for row in rows]


async def store(tx: Connection, callback: Callback, *, body: str, body_hash: bytes) -> bool:
    """Keep a webhook; False when the same was kept before, or enough of them."""
    row = await tx.fetchrow(
        """
        INSERT INTO callbacks (id, job_id, attempt_id, task_id, token_ok, body, body_hash, signature)
        SELECT $1, $2, $3, $4, $5, $6, $7, $9
         WHERE (SELECT count(*) FROM callbacks WHERE attempt_id = $3 AND token_ok = $5) < $8
        ON CONFLICT DO NOTHING
        RETURNING id
        """,
        callback.id,
        callback.job_id,
        callback.attempt_id,
        callback.task_id,
        callback.token_ok,
        body,
        body_hash,
        _MOST_PER_ATTEMPT,
        callback.signature,
    )
    return row is not None


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


async def find_callback(db: Connection, callback_id: UUID) -> Callback | None:
    """A webhook by its id; None when it was cleaned up."""
    row = await db.fetchrow(
        "SELECT id, job_id, attempt_id, task_id, token_ok FROM callbacks WHERE id = $1", callback_id
    )
    return Callback(**row) if row else None
