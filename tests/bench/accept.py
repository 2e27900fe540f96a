"""Accepting: durable 202s a second, beside a bare handler and pgbench that write the same rows."""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import bare
import load
import stacks
from load import ROUNDS, SECONDS, WALLETS, Connection, Figure, Target, drive
from machine import Meter
from results import Goal, Outcome, Table

from reelgate_local import programs

_FLOOR = "floor accept, pgbench"
# On, and never reached. Not that of a wallet's queue, which counts what waits: here nothing is sent, so it only grows.
_LIMITS = {"RATE_LIMIT_PER_KEY": "6000000", "RATE_LIMIT_PER_WALLET": "6000000", "MAX_QUEUED": "1000000"}


@contextlib.asynccontextmanager
async def bare_handler(name: str, env: dict[str, str]) -> AsyncIterator[Target]:
    """Serve bare.py as we serve ours, on the servers of the stack of this name."""
    command = [sys.executable, str(Path(__file__).with_name("bare.py"))]
    async with stacks.serving(command, os.environ | env, path="/openapi.json") as running:
        yield Target(running.url, env["API_KEY"], running.pid, stacks.servers_of(name, env))


def ours(name: str, env: dict[str, str]) -> Target:
    """The api of a stack."""
    return Target(env["API_URL"], env["API_KEY"], int(env["PID_API"]), stacks.servers_of(name, env))


async def _round(at: Target, name: str) -> list[Figure]:
    """With so many callers, each waiting for its answer."""
    figures = []
    for connections, wallets in ((1, WALLETS), (16, WALLETS), (64, WALLETS), (64, 1)):
        what = f"{name} accept, {connections} connections, {'one wallet' if wallets == 1 else f'{wallets} wallets'}"
        act = accepting(wallets)
        figures.append(await drive(what, at, connections=connections, act=act))
    return figures


def accepting(wallets: int, name: str = "bench") -> Callable[[Connection, int], Awaitable[object]]:
    """Ask for a job of one wallet after the other."""
    return lambda connection, n: connection.accept(f"{name}-{n % wallets}")


async def open_wallets(env: dict[str, str]) -> str:
    """Have each wallet seen once, which opens it; the id of the last job."""
    async with Connection.open(env["API_URL"], env["API_KEY"]) as connection:
        return [await connection.accept(f"bench-{n}") for n in range(WALLETS)][-1]


def _floor(env: dict[str, str], servers: list[int]) -> list[Figure]:
    """What the server does by itself, one statement a transaction, told by pgbench."""
    folder = programs.find_postgres()
    if folder is None or not (folder / "pgbench").exists():
        return []
    figures = []
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(bare.floor_script(WALLETS))
        script.flush()
        for clients in (1, 8, 32):
            options = ["--no-vacuum", "--client", str(clients), "--jobs", "2", "--time", str(max(1, round(SECONDS)))]
            command = [folder / "pgbench", *options, "--protocol", "prepared", "--file", script.name]
            meter = Meter({"servers": servers})
            done = subprocess.run([*command, env["DATABASE_URL"]], capture_output=True, text=True, check=True)
            per_second, mean, count = (
                float(re.findall(pattern, done.stdout)[0])
                for pattern in (r"tps = ([\d.]+)", r"latency average = ([\d.]+)", r"actually processed: (\d+)")
            )
            cpu_ms = 1000 * meter.read()["servers"] / count
            figures.append(Figure(f"{_FLOOR}, {clients} clients", per_second, mean, None, None, cpu_ms, int(count)))
    return figures


async def measure() -> Outcome:
    """Ours and the bare handler take turns; the median counts."""
    name = "bench-accept"
    with stacks.stack(name, stacks.LIFTED | _LIMITS) as env:
        await open_wallets(env)
        async with stacks.database(env) as db:
            await stacks.analyzed(db)
        others = [int(env[f"PID_{one}"]) for one in ("SUBMITTER", "CALLBACK", "RECONCILER", "SIMULATOR")]
        with stacks.held(others):
            async with bare_handler(name, env) as bare_one:
                turns = [(ours(name, env), "ours"), (bare_one, "bare")] * ROUNDS
                rounds = [await _round(at, who) for at, who in turns]
            medians = [load.median(same) for which in (rounds[::2], rounds[1::2]) for same in zip(*which, strict=True)]
            figures = medians + await asyncio.to_thread(_floor, env, stacks.servers_of(name, env))
    return Outcome(
        [Table("POST /api/video/generate", load.COLUMNS, [one.row for one in figures], "per second")], _goals(figures)
    )


def _goals(figures: list[Figure]) -> list[Goal]:
    rate = {one.name: one.per_second for one in figures}
    slowest = {one.name: one.p99_ms for one in figures if one.p99_ms}
    many, hot = f"accept, 64 connections, {WALLETS} wallets", "accept, 64 connections, one wallet"
    one = f"accept, 1 connections, {WALLETS} wallets"
    goals = [
        Goal("64 connections: ours to the bare handler, requests/s", rate[f"ours {many}"] / rate[f"bare {many}"], 2.5),
        Goal("the same, p99", slowest[f"ours {many}"] / slowest[f"bare {many}"], at_most=1),
        Goal("1 connection: ours to the bare handler", rate[f"ours {one}"] / rate[f"bare {one}"], 1),
        Goal("one hot wallet to many", rate[f"ours {hot}"] / rate[f"ours {many}"], 0.8),
    ]
    if best := max((found for name, found in rate.items() if name.startswith(_FLOOR)), default=None):
        goals.append(Goal("64 connections: ours to the best floor", rate[f"ours {many}"] / best, 0.6))
    return goals
