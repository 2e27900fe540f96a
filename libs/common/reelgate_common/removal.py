"""Finished jobs leave: read out for an archive, and deleted. Nothing else deletes a job.

What goes with a job: its timeline, its attempts, what Kie.ai's webhooks said, the webhooks about it. What stays is
the ledger. Each call is one statement on a bounded number of jobs, so nothing waits long for it, and one that dies
is simply called again.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from reelgate_common.db import Connection
from reelgate_common.ids import first_id

# In the bucket, or perhaps on its way there: custody deletes the file first (custody/deletion.py). A video is due for
# as long as Kie.ai has it, also while nobody copies.
_HAS_FILE = "videos.state IN ('due', 'kept', 'deleting')"

# Over, paid or refunded, not to be asked about again, told to everybody, and no other job refers to it. Whoever
# settles, refunds or recovers a job holds its row: it is skipped then, and looked at anew after.
_SETTLED = f"""
    job.completed_at IS NOT NULL
    AND (job.status = 'completed' OR job.refunded_at IS NOT NULL)
    AND job.next_check_at IS NULL
    AND NOT EXISTS (SELECT FROM outbox WHERE outbox.job_id = job.id)
    AND NOT EXISTS (SELECT FROM webhook_deliveries hook WHERE hook.job_id = job.id AND hook.state = 'pending')
    AND NOT EXISTS (SELECT FROM video_jobs further WHERE further.source_job_id = job.id)
    AND NOT EXISTS (SELECT FROM videos WHERE videos.job_id = job.id AND {_HAS_FILE})
"""  # noqa: S608 -- conditions of ours
# By the primary key, whose order is that of acceptance: it needs no index of its own.
_OLD = "job.id < $1 AND job.completed_at < $2"

_AS_JSON = """
    jsonb_build_object(
        'job', to_jsonb(job),
        'timeline', (SELECT jsonb_agg(to_jsonb(e) - 'job_id' ORDER BY e.seq) FROM job_events e WHERE e.job_id = job.id),
        'attempts', (SELECT jsonb_agg(to_jsonb(a) - '{job_id,token_hash}'::text[] ORDER BY a.n)
                       FROM job_attempts a WHERE a.job_id = job.id),
        'ledger', (SELECT jsonb_agg(to_jsonb(t) - '{job_id,wallet_address}'::text[] ORDER BY t.id)
                     FROM credit_transactions t WHERE t.job_id = job.id)
    )::text
"""


async def remove_old(tx: Connection, *, before: datetime, limit: int) -> int:
    """Delete jobs that ended before this moment, the oldest first; return how many."""
    rows = await tx.fetch(
        f"""
        WITH due AS MATERIALIZED (  -- once: looked for again for each row, as a plan may, the limit would be none
            SELECT id FROM video_jobs job WHERE {_OLD} AND {_SETTLED} ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED
        )
        DELETE FROM video_jobs USING due WHERE video_jobs.id = due.id
        RETURNING due.id
        """,  # noqa: S608 -- conditions of ours
        first_id(before),
        before,
        limit,
    )
    return len(rows)


async def remove_archived(tx: Connection, archived: Sequence[tuple[UUID, int]]) -> int:
    """Delete those of these jobs to which nothing happened since they had this version; return how many."""
    rows = await tx.fetch(
        f"""
        DELETE FROM video_jobs
         WHERE id IN (SELECT id FROM video_jobs job JOIN unnest($1::uuid[], $2::integer[]) AS a(id, version)
                             USING (id, version)
                       WHERE {_SETTLED}
                         FOR UPDATE OF job SKIP LOCKED)
        RETURNING id
        """,  # noqa: S608 -- conditions of ours
        [job_id for job_id, _ in archived],
        [version for _, version in archived],
    )
    return len(rows)


async def files_of_wallet(db: Connection, wallet: str) -> tuple[int, float]:
    """How many videos of a wallet are in the bucket, or may be; in how many seconds the last is to be removed."""
    [row] = await db.fetch(
        f"""
        SELECT count(*), coalesce(extract(epoch FROM greatest(max(due_at) - now(), interval '0')), 0)::float8 AS seconds
          FROM videos JOIN video_jobs job ON job.id = job_id
         WHERE wallet_address = $1 AND {_HAS_FILE}
        """,  # noqa: S608 -- conditions of ours
        wallet,
    )
    return row["count"], row["seconds"]


async def remove_of_wallet(tx: Connection, wallet: str, *, limit: int) -> int:
    """Delete finished jobs of a wallet with every word about them, told or not, the newest first; return how many.

    Its unfinished jobs stay, and those whose refund is still to come.
    """
    gone: int = await tx.fetchval(
        """
        WITH over AS MATERIALIZED (
            SELECT id FROM video_jobs
             WHERE wallet_address = $1 AND completed_at IS NOT NULL
               AND (status = 'completed' OR refunded_at IS NOT NULL)
             ORDER BY id DESC LIMIT $2 FOR UPDATE
        ), gone AS (
            DELETE FROM video_jobs USING over WHERE video_jobs.id = over.id
            RETURNING over.id
        ), unsaid AS (
            DELETE FROM outbox WHERE job_id IN (SELECT id FROM gone)
        ), unkeyed AS (
            DELETE FROM idempotency_keys WHERE job_id IN (SELECT id FROM gone)
        )
        SELECT count(*) FROM gone
        """,
        wallet,
        limit,
    )
    return gone


async def read_old(db: Connection, *, before: datetime, after: UUID, limit: int) -> list[tuple[UUID, str]]:
    """Jobs that `remove_old` would delete, as JSON, in order of their ids from `after` on."""
    rows = await db.fetch(
        f"SELECT id, {_AS_JSON} AS line FROM video_jobs job"  # noqa: S608 -- conditions of ours
        f" WHERE {_OLD} AND {_SETTLED} AND id > $3 ORDER BY id LIMIT $4",
        first_id(before),
        before,
        after,
        limit,
    )
    return [(row["id"], row["line"]) for row in rows]


async def read_of_wallet(db: Connection, *, wallet: str, after: UUID, limit: int) -> list[tuple[UUID, str]]:
    """Every job of a wallet, as JSON, in order of their ids from `after` on."""
    rows = await db.fetch(
        f"SELECT id, {_AS_JSON} AS line FROM video_jobs job"  # noqa: S608 -- conditions of ours
        " WHERE wallet_address = $1 AND id > $2 ORDER BY id LIMIT $3",
        wallet,
        after,
        limit,
    )
    return [(row["id"], row["line"]) for row in rows]
