"""What is measured: a whole local stack, or private servers with single processes on them."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx
from results import ROOT

from reelgate_local import commandline, ports, servers
from reelgate_local.layout import Stack
from reelgate_local.record import Record
from reelgate_local.settings import Addresses, for_services

HERE = Path(__file__).parent
_START_SECONDS = 180  # a machine that others use too may take its time
CREDITS = 1_000_000_000
SERVICES = ("api", "submitter", "callback", "reconciler")
# The vendor's window lifted and a vendor without delays: what is left is ours. Else as an operator has it, where
# the local stack's own scale would have jobs polled and given up while they wait in a long queue.
LIFTED = {
    "KIE_SENDS_PER_WINDOW": "20000",  # in 10 s; each is a row, made when the first is taken
    "KIE_QUERIES_PER_SECOND": "400",  # each is a row that is looked through: above the jobs, no more
    "SIM_VIDEO_SECONDS": "0.05",
    "SIGNUP_CREDITS": str(CREDITS),
    "SUBMIT_LEASE_SECONDS": "90",
    "SUBMIT_UNKNOWN_DEADLINE": "3600",
    "FIRST_POLL_SECONDS": "60",
    "LOG_LEVEL": "WARNING",
    "LOG_FORMAT": "json",
}


@contextlib.contextmanager
def stack(name: str, environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """A local stack for the length of the block; yields what its stack.env says."""
    env = os.environ | environment | {"STACK": name}
    command = [sys.executable, "-m", "reelgate_local"]

    def run(word: str) -> None:
        subprocess.run([*command, word], env=env, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)

    run("down")  # what an earlier run left that was killed
    try:
        run("up")
        lines = (ROOT / ".local" / name / "stack.env").read_text().splitlines()
        yield dict(line.split("=", 1) for line in lines if "=" in line)
    finally:
        run("down")


def processes(name: str, env: dict[str, str]) -> dict[str, list[int]]:
    """The processes of a stack by what they are; servers that are not its own are left out."""
    found = {
        part: [int(env[f"PID_{part.upper()}"])] for part in (*SERVICES, "simulator") if env.get(f"PID_{part.upper()}")
    }
    record = Record.read(Stack(name).record)
    for pid in record.processes if record else ():
        program = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
        if part := {"postgres": "PostgreSQL", "beam.smp": "RabbitMQ"}.get(program):
            found[part] = [pid]
    return found


def servers_of(name: str, env: dict[str, str]) -> list[int]:
    """The processes of a stack's own database and broker."""
    found = processes(name, env)
    return found.get("PostgreSQL", []) + found.get("RabbitMQ", [])


@contextlib.contextmanager
def held(pids: Sequence[int]) -> Iterator[None]:
    """Hold processes still, so that the cores measure the others."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@dataclass(frozen=True)
class Servers:
    """A database with our schema and a broker with our topology, and nobody at work on them."""

    env: dict[str, str]
    postgres: list[int]
    rabbit: list[int]


@contextlib.asynccontextmanager
async def private_servers(name: str, *, vendor: str) -> AsyncIterator[Servers]:
    """Servers for the length of the block, and the environment of a process of ours on them."""
    home = Stack(name).home
    database, broker = servers.database(os.environ, home), servers.broker(os.environ, home)
    ours = [server for server in (database, broker) if server]
    await servers.start_all(ours)
    try:
        env = for_services(
            os.environ | LIFTED | {"AUTH_MODE": "open"},
            Addresses(
                api="http://127.0.0.1",
                callback="http://127.0.0.1",
                simulator=vendor,
                database=database.url if database else os.environ[servers.DATABASE],
                broker=broker.url if broker else os.environ[servers.BROKER],
            ),
        )
        await commandline.migrate(env, ROOT, home / "migrate.log")
        yield Servers(env, database.pids if database else [], broker.pids[:1] if broker else [])
    finally:
        await servers.destroy_all(ours)
        shutil.rmtree(home, ignore_errors=True)


async def analyzed(db: asyncpg.Connection) -> None:
    """Bring the planner's statistics up to date, as autovacuum does for every database within its first minutes."""
    await db.execute("ANALYZE")


@dataclass(frozen=True)
class Running:
    """A process that answers under this address."""

    pid: int
    url: str
    seconds: float  # from its start until it was ready


@contextlib.asynccontextmanager
async def serving(command: Sequence[str], env: dict[str, str], *, path: str = "/readyz") -> AsyncIterator[Running]:
    """A process that listens on HTTP_PORT, from ready to ended."""
    port = ports.choose()
    url = f"http://127.0.0.1:{port}"
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(*command, env=env | {"HTTP_PORT": str(port)}, cwd=ROOT)
    try:
        async with asyncio.timeout(_START_SECONDS), httpx.AsyncClient(trust_env=False) as client:
            while not await _answers(client, url + path):
                if process.returncode is not None:
                    raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
                await asyncio.sleep(0.01)
        yield Running(process.pid, url, time.perf_counter() - started)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == 200
    except httpx.TransportError:
        return False


def service(name: str) -> list[str]:
    """The command of one of our processes."""
    return [sys.executable, "-m", f"reelgate_{name}"]


@contextlib.asynccontextmanager
async def vendor() -> AsyncIterator[Running]:
    """The fast stub of Kie.ai: vendor.py."""
    async with serving([sys.executable, str(HERE / "vendor.py")], dict(os.environ), path="/") as running:
        yield running


@contextlib.asynccontextmanager
async def database(env: dict[str, str]) -> AsyncIterator[asyncpg.Connection]:
    """A connection for looking and filling."""
    db = await asyncpg.connect(env["DATABASE_URL"])
    try:
        yield db
    finally:
        await db.close()
