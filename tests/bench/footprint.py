"""What each process takes when nothing is asked of it, and how soon it is ready."""

import asyncio
import os
import shutil
import statistics
import subprocess

import stacks
from load import ROUNDS
from machine import Meter, resident_mb
from results import Goal, Outcome, Table

_SETTLE_SECONDS = 5.0
_ENVIRONMENT = {"LOG_LEVEL": "WARNING", "KIE_AI_API_KEY": "bench"}
IDLE_SECONDS = float(os.environ.get("BENCH_IDLE_SECONDS", "20"))
_MOST_MB, _MOST_PERCENT = 90, 0.5


async def _start_seconds(env: dict[str, str], name: str) -> float:
    """The median from the start of a process until /readyz says yes."""
    took = []
    for _ in range(ROUNDS):
        async with stacks.serving(stacks.service(name), env) as running:
            took.append(running.seconds)
    return statistics.median(took)


def _image_mb() -> float | None:
    """The size of the image that every process runs from, where an engine is and has built it."""
    if not shutil.which("docker"):
        return None
    command = ["docker", "image", "inspect", "reelgate", "--format", "{{.Size}}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return int(done.stdout) / 1_000_000 if done.returncode == 0 else None


async def measure() -> Outcome:
    """With the settings an operator has, not lifted ones: they say how often a process looks."""
    name = "bench-footprint"
    with stacks.stack(name, _ENVIRONMENT) as env:
        groups = stacks.processes(name, env)
        await asyncio.sleep(_SETTLE_SECONDS)
        meter = Meter(groups)
        await asyncio.sleep(IDLE_SECONDS)
        percent = {part: 100 * seconds / IDLE_SECONDS for part, seconds in meter.read().items()}
        memory = {part: resident_mb(pids) for part, pids in groups.items()}
        ours = {
            "KIE_AI_API_ENDPOINT": env["SIMULATOR_URL"],
            "PUBLIC_BASE_URL": env["API_URL"],
        }
        starts = {part: await _start_seconds(os.environ | _ENVIRONMENT | env | ours, part) for part in stacks.SERVICES}
    rows = [(part, memory[part], percent[part], starts.get(part)) for part in groups]
    columns = ("process", "resident MB", "% of a core, idle", "s from start to ready")
    goals = [
        goal
        for part in stacks.SERVICES
        for goal in (
            Goal(f"{part}: resident MB", memory[part], at_most=_MOST_MB),
            Goal(f"{part}: % of a core, idle", percent[part], at_most=_MOST_PERCENT),
        )
    ]
    tables = [Table(f"idle for {IDLE_SECONDS:.0f} s", columns, rows, "resident MB")]
    if size := await asyncio.to_thread(_image_mb):
        tables.append(Table("the image, uncompressed, its base included", ("image", "MB"), [("reelgate", size)]))
    return Outcome(tables, goals)
