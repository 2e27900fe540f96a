"""Every SQL statement of custody."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from reelgate_common.db import Connection
from reelgate_common.domain.job import KEPT_BY_VENDOR

_REFUSALS_COUNT_AFTER = timedelta(days=1)  # until then a host may come to its senses, and an operator may help
_FIRST_SECONDS, _LAST_SECONDS = 30.0, 3600.0


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A video in our hands for a while. `attempts` proves later that nobody else has taken it since."""

    job_id: UUID
    attempts: int
    completed_at: datetime
    video_url: str


async def take(db: Connection, state: str, *, seconds: float) -> Taken | None:
    """Take the video that is due longest, for so long; None when there is none."""
    row = await db.fetchrow(
        """
        WITH next AS (
            SELECT job_id FROM videos
             WHERE state = $1 AND due_at <= now()
             ORDER BY due_at
             LIMIT 1
               FOR UPDATE SKIP LOCKED
        )
        UPDATE videos SET due_at = now() + $2 * interval '1 s', attempts = attempts + 1
          FROM next, video_jobs AS job
         WHERE videos.job_id = next.job_id AND job.id = next.job_id
        RETURNING videos.job_id, attempts, videos.completed_at, job.video_url
        """,
        state,
        seconds,
    )
    return Taken(**row) if row else None


async def keep(tx: Connection, taken: Taken, *, size: int, sha256: bytes, days: float, link: str | None) -> bool:
    """Say that the video is in the bucket; False when it is not ours to say any more. The job is locked before."""
    kept = await tx.fetchrow(
        """
        UPDATE videos
           SET state = 'kept', due_at = now() + nullif($5::float, 0) * interval '1 day',
               bytes = $3, sha256 = $4, error = NULL
         WHERE job_id = $1 AND attempts = $2 AND state = 'due'
        RETURNING due_at
        """,
        taken.job_id,
        taken.attempts,
        size,
        sha256,
        days,
    )
    if kept is None:
        return False
    await tx.execute(
        """
        UPDATE video_jobs
           SET video_kept_at = now(), video_expires_at = $2, video_link = coalesce(video_link, $3)
         WHERE id = $1
        """,
        taken.job_id,
        kept["due_at"],
        link,
    )
    return True


async def is_over(db: Connection, job_id: UUID) -> bool:
    """Whether nothing will be done about a video any more that is not in the bucket; its job may be gone, too."""
    is_open = "SELECT EXISTS (SELECT FROM videos WHERE job_id = $1 AND state NOT IN ('failed', 'deleted'))"
    return not await db.fetchval(is_open, job_id)


async def put_off(db: Connection, taken: Taken, *, error: str, refused: bool) -> str | None:
    """Try again later, ever more rarely; what is refused a day after it was made is given up.

    The state it has; None when it is not ours to say any more. What is to be removed is never given up.
    """
    state: str | None = await db.fetchval(
        """
        UPDATE videos
           SET state = CASE WHEN $4 AND state = 'due' AND completed_at < now() - $5::interval
                            THEN 'failed' ELSE state END,
               due_at = CASE WHEN NOT $4 OR state <> 'due' OR completed_at >= now() - $5::interval
                             THEN now() + least($6 * 2 ^ least(attempts - 1, 20), $7) * interval '1 s' END,
               error = $3
         WHERE job_id = $1 AND attempts = $2 AND state IN ('due', 'deleting')
        RETURNING state
        """,
        taken.job_id,
        taken.attempts,
        error,
        refused,
        _REFUSALS_COUNT_AFTER,
        _FIRST_SECONDS,
        _LAST_SECONDS,
    )
    return state


async def let_go(db: Connection, taken: Taken) -> None:
    """Leave it to another at once: this process stops."""
    await db.execute(
        "UPDATE videos SET due_at = now() WHERE job_id = $1 AND attempts = $2 AND state = 'due'",
        taken.job_id,
        taken.attempts,
    )


async def removed(db: Connection, taken: Taken) -> None:
    """Say that the file is out of the bucket."""
    await db.execute(
        "UPDATE videos SET state = 'deleted', due_at = NULL WHERE job_id = $1 AND attempts = $2 AND state = 'deleting'",
        taken.job_id,
        taken.attempts,
    )


async def find_over(db: Connection, *, limit: int) -> list[UUID]:
    """Jobs whose video's retention is over."""
    rows = await db.fetch(
        "SELECT job_id FROM videos WHERE state = 'kept' AND due_at <= now() ORDER BY due_at LIMIT $1", limit
    )
    return [row["job_id"] for row in rows]


async def give_up_old(db: Connection, *, limit: int) -> int:
    """Give up what Kie.ai has deleted by now; return how many. It is also what nobody was to copy."""
    rows = await db.fetch(
        """
        UPDATE videos SET state = 'failed', due_at = NULL, error = coalesce(error, 'Kie.ai keeps it no longer')
         WHERE job_id IN (SELECT job_id FROM videos
                           WHERE state = 'due' AND completed_at < now() - $1::interval AND due_at <= now()
                           ORDER BY completed_at
                           LIMIT $2
                             FOR UPDATE SKIP LOCKED)
        RETURNING attempts
        """,
        KEPT_BY_VENDOR,
        limit,
    )
    return len(rows)


async def oldest_due_seconds(db: Connection) -> float:
    """The age of the oldest video that is still to be copied; 0 when none is."""
    return float(
        await db.fetchval(
            "SELECT coalesce(extract(epoch FROM now() - min(completed_at)), 0) FROM videos WHERE state = 'due'"
        )
    )
