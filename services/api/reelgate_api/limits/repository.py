"""The SQL of the limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from reelgate_common.db import Connection

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Whether a subject's request was counted, and how much of its minute is used up."""

    counted: bool
    used: timedelta
    step: timedelta  # what one request uses

    def remaining(self, per_minute: int) -> int:
        """Requests that are free now."""
        return max(0, (self.step * per_minute - self.used) // self.step)  # a limit may have been lowered meanwhile

    def next_in(self, per_minute: int) -> timedelta:
        """How long until one more is."""
        return self.used - (per_minute - self.remaining(per_minute) - 1) * self.step


async def take(db: Connection, limits: Mapping[str, int], times: Mapping[str, int] | None = None) -> list[Taken]:
    """Count a request for each subject (subject -> requests a minute), or for none when one of them has none free.

    With `times`, so many requests of a subject, or none. `step` of what is returned is for all of them.
    A subject may ask for a whole minute's requests at once; they come back evenly over the minute (GCRA: the
    one stored moment is when all are free again). Rows are locked in order, so that requests do not deadlock.
    Of requests that open the same row at once the condition of the conflict refuses the ones too many.
    """
    ones = [_MINUTE // per_minute for per_minute in limits.values()]
    steps = [one * (times or {}).get(subject, 1) for subject, one in zip(limits, ones, strict=True)]
    rows = await db.fetch(
        """
        WITH asked AS MATERIALIZED (
            SELECT * FROM unnest($1::text[], $2::interval[], $3::interval[])
              WITH ORDINALITY AS t(subject, step, whole, n)
        ), held AS MATERIALIZED (
            SELECT subject, full_at FROM rate_limits
             WHERE subject = ANY($1::text[])
             ORDER BY subject
               FOR NO KEY UPDATE
        ), judged AS MATERIALIZED (
            SELECT asked.*, greatest(held.full_at, now()) AS full_at FROM asked LEFT JOIN held USING (subject)
        ), verdict AS MATERIALIZED (
            SELECT bool_and(full_at + step <= now() + whole) AS is_free FROM judged
        ), taken AS (
            INSERT INTO rate_limits AS r (subject, full_at)
            SELECT subject, full_at + step FROM judged, verdict
             WHERE is_free
             ORDER BY subject
            ON CONFLICT (subject) DO UPDATE
               SET full_at = greatest(r.full_at, now()) + (SELECT step FROM asked WHERE asked.subject = r.subject)
             WHERE greatest(r.full_at, now())
                   <= now() + (SELECT whole - step FROM asked WHERE asked.subject = r.subject)
            RETURNING subject, full_at
        )
        SELECT taken.subject IS NOT NULL AS counted, step,
               -- free, yet refused: others that opened the row just now took it all
               coalesce(taken.full_at, CASE WHEN is_free THEN now() + whole ELSE judged.full_at END) - now() AS used
          FROM verdict, judged LEFT JOIN taken USING (subject)
         ORDER BY n
        """,
        list(limits),
        steps,
        [one * per_minute for one, per_minute in zip(ones, limits.values(), strict=True)],
    )
    return [Taken(**row) for row in rows]


async def count_queued(db: Connection, *, at_most: int) -> int:
    """Jobs that wait to be sent; counting ends at `at_most`."""
    count: int = await db.fetchval(
        "SELECT count(*) FROM (SELECT FROM video_jobs WHERE status = 'pending' LIMIT $1) AS found", at_most
    )
    return count
