"""How much of the vendor's window is used while work waits, by one submitter and by several: part of `make bench`.

The simulator enforces the window and refuses what comes too soon, as Kie.ai does. Counted is what it took.
"""

import asyncio
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass

import asyncpg
import bench
from load import Connection
from rich.console import Console
from rich.table import Table

SENDS, SECONDS = 20, 10.0  # the vendor's window
WINDOWS = int(os.environ.get("BENCH_WINDOWS", "6"))  # measured for each figure
REPLICAS = (1, 2, 8)

ENVIRONMENT = {
    "STACK": "bench-window",
    "KIE_SENDS_PER_WINDOW": str(SENDS),
    "KIE_SEND_WINDOW_SECONDS": str(SECONDS),
    "SIM_VIDEO_SECONDS": "0.5",
    "SIGNUP_CREDITS": "1000000",
    "LOG_LEVEL": "WARNING",
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


async def _measure(env: dict[str, str], replicas: int) -> Use:
    connection = await asyncpg.connect(env["DATABASE_URL"])
    try:
        await asyncio.sleep(2 * SECONDS)  # past the start, when the whole window is free
        since = await connection.fetchval("SELECT clock_timestamp()")
        await asyncio.sleep(WINDOWS * SECONDS)
        rows = await connection.fetch(_SENT, since)
        taken = [row["at"] for row in rows if row["outcome"] == "accepted"]
        return Use(replicas, taken, len(rows) - len(taken))
    finally:
        await connection.close()


async def _fill(env: dict[str, str], jobs: int) -> None:
    async with Connection.open(env["API_URL"], env["API_KEY"]) as connection:
        for i in range(jobs):
            await connection.accept(f"window-{i % 7}")


def _submitter(env: dict[str, str]) -> subprocess.Popen[bytes]:
    ours = {
        "KIE_AI_API_ENDPOINT": env["SIMULATOR_URL"],
        "KIE_AI_API_KEY": "bench",
        "PUBLIC_BASE_URL": env["API_URL"],
        "HTTP_PORT": "0",
    }
    return subprocess.Popen([sys.executable, "-m", "reelgate_submitter"], env=os.environ | ENVIRONMENT | env | ours)


def main() -> None:
    """Measure with one submitter after the other added."""
    table = Table("submitters", "sends taken", "of the window", "refused (429)")
    os.environ["KIE_AI_API_KEY"] = "bench"
    with bench.stack(ENVIRONMENT) as env:
        asyncio.run(_fill(env, int((WINDOWS + 3) * SENDS * len(REPLICAS))))
        more: list[subprocess.Popen[bytes]] = []
        try:
            for replicas in REPLICAS:
                more += [_submitter(env) for _ in range(replicas - 1 - len(more))]
                use = asyncio.run(_measure(env, replicas))
                table.add_row(str(use.replicas), str(len(use.taken)), f"{use.share:.1%}", str(use.refused))
        finally:
            for process in more:
                process.terminate()
    Console().print(table)


if __name__ == "__main__":
    main()
