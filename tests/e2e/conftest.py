"""Whole stacks as a user starts them, each with servers of its own, and a way to look at them from outside."""

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import uuid
from pathlib import Path

import asyncpg
import httpx
import pytest

ROOT = Path(__file__).parents[2]
IMAGE = "https://example.com/image.png"
FINAL = ("completed", "failed", "canceled")

# What each scenario of the simulator must come to, whatever happens on the way.
DELIVERS = (
    "ok",
    "lost-callback",
    "dup-callback",
    "forged-callback",
    "early-callback",
    "submit-reset",
    "submit-502-html",
    "no-task-id",
    "slow",
    "lag",
    "throttle",
    "url-json",
    "task_id",
)
REFUNDS = ("policy", "flag2", "flag3", "fail-500", "empty", "refuse-422", "submit-drop")


class Stack:
    """A running stack, seen through its doors: HTTP, SQL and the simulator's own record."""

    def __init__(self, name: str, settings: dict[str, str]) -> None:
        private = {"DATABASE_URL", "AMQP_URL", "TEST_VHOSTS", "KIE_AI_API_ENDPOINT"}
        inherited = {key: value for key, value in os.environ.items() if key not in private}
        self.environ = inherited | settings | {"STACK": name}
        self.home = ROOT / ".local" / name

    def up(self) -> None:
        self._command("up")

    def down(self) -> None:
        self._command("down")

    def _command(self, verb: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "reelgate_local", verb],
            env=self.environ,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    @property
    def env(self) -> dict[str, str]:
        lines = (self.home / "stack.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def pid(self, service: str) -> int:
        return int(self.env[f"PID_{service.upper()}"])

    def server(self, program: str) -> int:
        """The process of one of the stack's own servers."""
        recorded = json.loads((self.home / "running.json").read_text())["processes"]
        return next(pid for pid in map(int, recorded) if _runs(pid, program))

    async def some_are(self, status: str) -> None:
        """Wait until work is under way."""

        async def found() -> bool:
            return bool(await self.sql("SELECT FROM video_jobs WHERE status = $1 LIMIT 1", status))

        await self.until(found)

    def client(self, key: str = "API_KEY") -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self.env[key]}"}
        limits = httpx.Limits(max_connections=50)
        return httpx.AsyncClient(base_url=self.env["API_URL"], headers=headers, timeout=30, limits=limits)

    async def create(self, client: httpx.AsyncClient, prompt: str, wallet: str, **fields) -> str:
        """Accept a job, trying again with the same key while the api is being restarted."""
        body = {"wallet_address": wallet, "prompt": prompt, "image_urls": [IMAGE]} | fields
        key = {"Idempotency-Key": uuid.uuid4().hex}
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    answer = await client.post("/api/video/generate", json=body, headers=key)
                    if answer.status_code != 503:
                        assert answer.status_code == 202, answer.text
                        return answer.json()["job_id"]
                await asyncio.sleep(0.2)

    async def sql(self, query: str, *args) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.env["DATABASE_URL"])
        try:
            return await connection.fetch(query, *args)
        finally:
            await connection.close()

    async def simulator(self, path: str, **config) -> dict:
        async with httpx.AsyncClient(base_url=self.env["SIMULATOR_URL"], timeout=10) as client:
            answer = await client.post(path, json=config) if config else await client.get(path)
            answer.raise_for_status()
            return answer.json()

    async def until(self, condition, *, seconds: float = 60) -> None:
        """Wait for something that happens in other processes."""
        async with asyncio.timeout(seconds):
            while not await condition():  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    async def job(self, job_id: str) -> asyncpg.Record:
        [row] = await self.sql("SELECT * FROM video_jobs WHERE id = $1", uuid.UUID(job_id))
        return row

    async def status(self, job_id: str) -> str:
        return (await self.job(job_id))["status"]

    async def reached(self, job_id: str, *statuses: str, seconds: float = 60) -> None:
        async def there() -> bool:
            return await self.status(job_id) in statuses

        await self.until(there, seconds=seconds)

    async def at_rest(self, *, seconds: float = 100) -> None:
        """Every job is over, every refund written, every message gone."""

        async def rests() -> bool:
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                [row] = await self.sql(
                    """
                    SELECT (SELECT count(*) FROM video_jobs WHERE completed_at IS NULL)
                         + (SELECT count(*) FROM video_jobs
                             WHERE status IN ('failed', 'canceled') AND refunded_at IS NULL)
                         + (SELECT count(*) FROM outbox) AS open
                    """
                )
                return row["open"] == 0
            return False

        await self.until(rests, seconds=seconds)

    async def audit(self) -> None:
        """The promises, checked against the vendor's record, the ledger and the broker."""
        stats = await self.simulator("/sim/stats")
        assert {p: n for p, n in stats["accepted_by_prompt"].items() if n > 1} == {}
        assert self._reelgate("ledger", "verify") == "every rule holds"
        assert self._reelgate("dead-letters", "list", "--json") == "[]"

    def _reelgate(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "reelgate_cli", *words],
            env=self.environ | self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()


def _runs(pid: int, program: str) -> bool:
    """Whether a process, or one below it in its group, is this program."""
    table = subprocess.run(["ps", "-eo", "pgid=,args="], capture_output=True, text=True, check=True).stdout
    return any(line.split()[0] == str(pid) and program in line for line in table.splitlines())


@contextlib.contextmanager
def running(name: str, **settings: str):
    stack = Stack(f"e2e-{name}-{os.getpid()}", settings)
    stack.up()
    try:
        yield stack
    finally:
        stack.down()


@pytest.fixture(scope="session")
def run_stack():
    """Start a stack with these settings for the length of a block."""
    return running


@pytest.fixture
def dice(request) -> random.Random:
    """Chance that can be repeated: a failing run shows its seed."""
    seed = int(os.environ.get("E2E_SEED", random.randrange(2**32)))
    print(f"E2E_SEED={seed}")  # noqa: T201 -- pytest shows it when the test fails
    return random.Random(seed)


@pytest.fixture
def mixed_jobs():
    """Send many jobs of every kind at once; returns the scenario of each job id."""

    async def send(stack: Stack, count: int, scenarios=DELIVERS + REFUNDS) -> dict[str, str]:
        run = uuid.uuid4().hex[:8]

        async def one(client: httpx.AsyncClient, i: int) -> tuple[str, str]:
            scenario = scenarios[i % len(scenarios)]
            return await stack.create(client, f"{run} {i} sim:{scenario}", f"wallet-{i % 7}"), scenario

        async with stack.client() as client:
            return dict(await asyncio.gather(*(one(client, i) for i in range(count))))

    return send


@pytest.fixture
def ended_right():
    """Check that each job came to what its scenario must come to; `spared` lists reasons a kill excuses."""

    async def check(stack: Stack, jobs: dict[str, str], *, spared: tuple[str, ...] = ()) -> None:
        ids = [uuid.UUID(job_id) for job_id in jobs]
        rows = await stack.sql("SELECT id, status, failure_code FROM video_jobs WHERE id = ANY($1)", ids)
        ends = {str(row["id"]): (row["status"], row["failure_code"]) for row in rows}
        wrong = {
            (scenario, *ends[job_id])
            for job_id, scenario in jobs.items()
            if ends[job_id][0] != ("completed" if scenario in DELIVERS else "failed") and ends[job_id][1] not in spared
        }
        assert wrong == set()

    return check
