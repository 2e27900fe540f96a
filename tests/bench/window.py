"""How much of the vendor's window is used while work waits, by one submitter and by several.

The simulator enforces the window and refuses what comes too soon, as Kie.ai does. Counted is what it took.
"""

import asyncio
import contextlib
import os
import statistics
from dataclasses import dataclass

import load
import stacks
from results import Goal, Outcome, Table

SENDS, SECONDS = 20, 10.0  # the vendor's window
WINDOWS = int(os.environ.get("BENCH_WINDOWS", "6"))  # measured for each figure
REPLICAS = (1, 2, 8)

_ENVIRONMENT = stacks.LIFTED | {
    "KIE_SENDS_PER_WINDOW": str(SENDS),
    "KIE_SEND_WINDOW_SECONDS": str(SECONDS),
    "SIM_VIDEO_SECONDS": "0.5",
    "KIE_AI_API_KEY": "bench",
}

_SENT = """
    SELECT extract(epoch FROM started_at)::float8 AS at, outcome FROM job_attempts
     WHERE started_at > $1 AND outcome IN ('accepted', 'throttled')
     ORDER BY started_at
"""


@dataclass(frozen=True)
class Use:
    """What was sent in so many windows."""

    replicas: int
    taken: list[float]  # when, in seconds
    refused: int

    @property
    def share(self) -> float:
        """Of what the vendor allows: the least time for so many whole windows by the time they took.

        Sends come in bursts, so a count in a fixed time would depend on where it cuts them.
        """
        windows = (len(self.taken) - 1) // SENDS
        later = self.taken[windows * SENDS :]
        return statistics.mean(windows * SECONDS / (end - start) for start, end in zip(self.taken, later, strict=False))


async def _use(env: dict[str, str], replicas: int) -> Use:
    async with stacks.database(env) as db:
        await asyncio.sleep(2 * SECONDS)  # past the start, when the whole window is free
        since = await db.fetchval("SELECT clock_timestamp()")
        await asyncio.sleep(WINDOWS * SECONDS)
        rows = await db.fetch(_SENT, since)
        if not await db.fetchval("SELECT EXISTS (SELECT FROM video_jobs WHERE status = 'pending')"):
            raise RuntimeError("the jobs ran out: a window that nothing waits for says nothing")
    taken = [row["at"] for row in rows if row["outcome"] == "accepted"]
    return Use(replicas, taken, len(rows) - len(taken))


async def measure() -> Outcome:
    """With one submitter after the other added."""
    found = []
    with stacks.stack("bench-window", _ENVIRONMENT) as env:
        jobs = (WINDOWS + 6) * SENDS * len(REPLICAS)  # two windows before each measure, and time to start others
        act = lambda connection, n: connection.accept(f"window-{n % 7}")  # noqa: E731 -- one line, used once
        await load.send(env["API_URL"], env["API_KEY"], count=jobs, connections=4, act=act)
        ours = {"KIE_AI_API_ENDPOINT": env["SIMULATOR_URL"], "PUBLIC_BASE_URL": env["API_URL"]}
        async with contextlib.AsyncExitStack() as more:
            started = 1
            for replicas in REPLICAS:
                for _ in range(replicas - started):
                    await more.enter_async_context(
                        stacks.serving(stacks.service("submitter"), os.environ | _ENVIRONMENT | env | ours)
                    )
                started = replicas
                found.append(await _use(env, replicas))
    rows = [(f"{use.replicas} submitters", len(use.taken), 100 * use.share, use.refused) for use in found]
    columns = ("replicas", "sends taken", "% of the window", "refused (429)")
    return Outcome(
        [Table(f"{SENDS} sends in {SECONDS:.0f} s allowed, work waiting", columns, rows, "% of the window")],
        [
            Goal("least share of the window used, %", min(100 * use.share for use in found), 98),
            Goal("refused sends", max(use.refused for use in found), at_most=0),
        ],
    )
