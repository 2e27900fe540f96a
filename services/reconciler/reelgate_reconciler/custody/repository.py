"""Every SQL statement of custody."""

from dataclasses import dataclass
from uuid import UUID

from reelgate_common.db import Connection
from reelgate_common.domain.job import KEPT_BY_VENDOR

_FIRST_SECONDS, _LAST_SECONDS = 30.0, 3600.0
# What an earlier try said tells more.
_GIVEN_UP = "state = 'failed', due_at = NULL, error = coalesce(error, 'Kie.ai keeps it no longer')"


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A video in our hands for a while. `attempts` proves later that nobody else has taken it since."""

    job_id: UUID
    attempts: int
    is_too_old: bool  # Kie.ai has deleted it by now
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
        RETURNING videos.job_id, attempts, videos.completed_at < now() - $3::interval AS is_too_old, job.video_url
        """,
        state,
        seconds,
        KEPT_BY_VENDOR,
    )
    return Taken(**row) if row else None


async def keep(tx: Connection, taken: Taken, *, size: int, sha256: bytes, days: float, link: str | None) -> bool:
    """Say that the video is in the bucket; False when it is not ours to say any more. The job is locked before.

    One that was given up meanwhile is nobody's: who has it after all may say so.
    """
    kept = await tx.fetchrow(
        """
        UPDATE videos
           SET state = 'kept', due_at = now() + nullif($5::float, 0) * interval '1 day',
               bytes = $3, sha256 = $4, error = NULL
         WHERE job_id = $1 AND (state = 'due' AND attempts = $2 OR state = 'failed')
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


async def is_deleted(db: Connection, job_id: UUID) -> bool:
    """Whether a video is given to nobody and removed from the bucket; its job may be gone, too."""
    is_wanted = "SELECT EXISTS (SELECT FROM videos WHERE job_id = $1 AND state <> 'deleted')"
    return not await db.fetchval(is_wanted, job_id)


async def put_off(db: Connection, taken: Taken, *, error: str) -> bool:
    """Try again later, ever more rarely; False when it is not ours to say any more."""
    mine = await db.fetchval(
        """
        UPDATE videos
           SET due_at = now() + least($4 * 2 ^ least(attempts - 1, 20), $5) * interval '1 s', error = $3
         WHERE job_id = $1 AND attempts = $2 AND state IN ('due', 'deleting')
        RETURNING true
        """,
        taken.job_id,
        taken.attempts,
        error,
        _FIRST_SECONDS,
        _LAST_SECONDS,
    )
    return bool(mine)


async def give_up(db: Connection, taken: Taken) -> bool:
    """Say that the video is lost; False when it is not ours to say any more."""
    mine = await db.fetchval(
        f"""
        UPDATE videos SET {_GIVEN_UP}
         WHERE job_id = $1 AND attempts = $2 AND state = 'due'
        RETURNING true
        """,  # noqa: S608 -- a constant of ours
        taken.job_id,
        taken.attempts,
    )
    return bool(mine)


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


async def give_up_uncopied(db: Connection, *, limit: int) -> int:
    """Let go of what Kie.ai has deleted by now and nobody ever began to copy; return how many."""
    rows = await db.fetch(
        f"""
        UPDATE videos SET {_GIVEN_UP}
         WHERE job_id IN (SELECT job_id FROM videos
                           WHERE state = 'due' AND completed_at < now() - $1::interval AND due_at <= now()
                             AND attempts = 0
                           ORDER BY completed_at
                           LIMIT $2
                             FOR UPDATE SKIP LOCKED)
        RETURNING job_id
        """,  # noqa: S608 -- a constant of ours
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
