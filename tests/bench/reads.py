"""Reading one job: answers a second, and those of who has the newest already, beside a bare handler's."""

import asyncio

import accept
import asyncpg
import load
import stacks
from load import ROUNDS, Connection, Figure, Target, drive
from results import Goal, Outcome, Table

# By an index of what is not over: to count would read the whole history, and be measured with the jobs.
_OPEN_JOB = "SELECT deadline_at FROM video_jobs WHERE deadline_at IS NOT NULL ORDER BY deadline_at LIMIT 1"


async def drained(db: asyncpg.Connection) -> None:
    """Return when every job is over; what is in hand comes from the database, not from a guess."""
    async with asyncio.timeout(600):
        while await db.fetchval(_OPEN_JOB):  # noqa: ASYNC110 -- the event is in another process
            await asyncio.sleep(0.1)


async def _reads(at: Target, name: str, job_id: str, etag: str | None = None) -> Figure:
    """One job asked for again and again by 32 callers, perhaps with what they know of it."""

    async def read(connection: Connection, _: int) -> None:
        headers = {"If_None_Match": etag} if etag else {}
        status, _body = await connection.ask(f"GET /api/video/jobs/{job_id}", **headers)
        if status != (304 if etag else 200):
            raise RuntimeError(f"{name} answered {status}")

    return await drive(name, at, connections=32, act=read)


async def measure() -> Outcome:
    """Ours, ours with an ETag and the bare handler take turns; the median counts."""
    name = "bench-reads"
    with stacks.stack(name, stacks.LIFTED) as env:
        job_id = await accept.open_wallets(env)
        async with stacks.database(env) as db:
            await drained(db)
            etag = f'"{await db.fetchval("SELECT version FROM video_jobs WHERE id = $1", job_id)}"'
        others = [int(env[f"PID_{one}"]) for one in ("SUBMITTER", "CALLBACK", "RECONCILER", "SIMULATOR")]
        with stacks.held(others):
            async with accept.bare_handler(name, env) as bare_one:
                rounds = [
                    (
                        await _reads(accept.ours(name, env), "ours reads", job_id),
                        await _reads(accept.ours(name, env), "ours reads, all 304", job_id, etag),
                        await _reads(bare_one, "bare reads", job_id),
                    )
                    for _ in range(ROUNDS)
                ]
    ours, same, bare = (load.median(figures) for figures in zip(*rounds, strict=True))
    rows = [one.row for one in (ours, same, bare)]
    return Outcome(
        [Table("GET /api/video/jobs/{id}", load.COLUMNS, rows, "per second")],
        [
            Goal("reads: ours to the bare handler", ours.per_second / bare.per_second, 0.9),
            Goal("304s to the bare handler's 200s", same.per_second / bare.per_second, 1.5),
        ],
    )
