"""A running gateway as its users and its operator see it: HTTP, SQL, the command line, the simulator's record."""

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import uuid

import asyncpg
import httpx

IMAGE = "https://example.com/image.png"

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

# Another call of one job is allowed only after one that Kie.ai surely did not take, or that was given up by policy.
SENT_AGAIN = """
    SELECT later.job_id, earlier.n, earlier.outcome
      FROM job_attempts later JOIN job_attempts earlier ON earlier.job_id = later.job_id AND earlier.n < later.n
     WHERE earlier.outcome IS NULL
        OR (earlier.outcome NOT IN ('throttled', 'blocked', 'not_sent') AND earlier.superseded_at IS NULL)
"""

STILL_OPEN = """
    SELECT 'job' AS what, id::text, status AS state, updated_at::text AS since
      FROM video_jobs
     WHERE completed_at IS NULL OR (status IN ('failed', 'canceled') AND refunded_at IS NULL)
     UNION ALL
    SELECT 'message', id::text, routing_key || ', attempts ' || attempts, available_at::text FROM outbox
"""


class Gateway:
    """What a test may know of a gateway; `env` holds the lines of its stack.env."""

    env: dict[str, str]

    def client(self, key: str = "API_KEY") -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self.env[key]}"}
        limits = httpx.Limits(max_connections=50)
        return httpx.AsyncClient(base_url=self.env["API_URL"], headers=headers, timeout=30, limits=limits)

    async def create(self, client: httpx.AsyncClient, prompt: str, wallet: str, **fields) -> str:
        """Accept a job, trying again with the same key while the api or its database is away."""
        body = {"wallet_address": wallet, "prompt": prompt, "image_urls": [IMAGE]} | fields
        key = {"Idempotency-Key": uuid.uuid4().hex}
        async with asyncio.timeout(90):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    answer = await client.post("/api/video/generate", json=body, headers=key)
                    if answer.status_code != 503:
                        assert answer.status_code == 202, answer.text
                        return answer.json()["job_id"]
                await asyncio.sleep(0.2)

    async def jobs(self, count: int, word: str = "ok") -> list[str]:
        """Send so many jobs of one kind at once; their ids."""
        async with self.client() as client:
            prompts = [f"{uuid.uuid4().hex} sim:{word}" for _ in range(count)]
            return await asyncio.gather(*(self.create(client, prompt, "plain") for prompt in prompts))

    async def mixed_jobs(self, count: int, scenarios=DELIVERS + REFUNDS) -> dict[str, str]:
        """Send many jobs of every kind at once; the scenario of each job id."""
        run = uuid.uuid4().hex[:8]

        async def one(client: httpx.AsyncClient, i: int) -> tuple[str, str]:
            scenario = scenarios[i % len(scenarios)]
            return await self.create(client, f"{run} {i} sim:{scenario}", f"wallet-{i % 7}"), scenario

        async with self.client() as client:
            return dict(await asyncio.gather(*(one(client, i) for i in range(count))))

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

    async def timeline(self, job_id: str) -> list[str]:
        rows = await self.sql("SELECT event FROM job_events WHERE job_id = $1 ORDER BY seq", uuid.UUID(job_id))
        return [row["event"] for row in rows]

    async def reached(self, job_id: str, *statuses: str, seconds: float = 60) -> None:
        async def there() -> bool:
            return await self.status(job_id) in statuses

        await self.until(there, seconds=seconds)

    async def all_reached(self, job_ids: list[str], status: str) -> None:
        await asyncio.gather(*(self.reached(job_id, status, seconds=90) for job_id in job_ids))

    async def all_over(self, job_ids: list[str]) -> None:
        """Each has its video; or nobody can know whether its send arrived, since the fault hit just then."""
        await asyncio.gather(*(self.reached(job_id, "completed", "failed", seconds=90) for job_id in job_ids))
        ends = {(await self.job(job_id))["failure_code"] for job_id in job_ids}
        assert ends <= {None, "submit_unknown"}

    async def some_are(self, status: str) -> None:
        """Wait until work is under way."""

        async def found() -> bool:
            return bool(await self.sql("SELECT FROM video_jobs WHERE status = $1 LIMIT 1", status))

        await self.until(found)

    async def at_rest(self, *, seconds: float = 100) -> None:
        """Every job is over, every refund written, every message gone."""
        still: list[dict] = []

        async def rests() -> bool:
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                still[:] = [dict(row) for row in await self.sql(STILL_OPEN)]
                return not still
            return False

        try:
            await self.until(rests, seconds=seconds)
        except TimeoutError:
            raise AssertionError(f"still open: {still}") from None

    async def audit(self) -> None:
        """The promises, checked against the vendor's record, the ledger and the broker."""
        stats = await self.simulator("/sim/stats")
        billed_again = {prompt: n for prompt, n in stats["accepted_by_prompt"].items() if n > 1}
        sent_again = [dict(row) for row in await self.sql(SENT_AGAIN)]
        assert (billed_again, sent_again) == ({}, [])
        books, parked = await asyncio.gather(
            asyncio.to_thread(self.command, "ledger", "verify"),
            asyncio.to_thread(self.command, "dead-letters", "list", "--json"),
        )
        assert (books, parked) == ("every rule holds", "[]")

    async def ended_right(self, jobs: dict[str, str], *, spared: tuple[str, ...] = ()) -> None:
        """Check that each job came to what its scenario must come to; a fault may excuse the reasons `spared`."""
        ids = [uuid.UUID(job_id) for job_id in jobs]
        rows = await self.sql("SELECT id, status, failure_code FROM video_jobs WHERE id = ANY($1)", ids)
        ends = {str(row["id"]): (row["status"], row["failure_code"]) for row in rows}
        wrong = {
            (scenario, *ends[job_id])
            for job_id, scenario in jobs.items()
            if ends[job_id][0] != ("completed" if scenario in DELIVERS else "failed") and ends[job_id][1] not in spared
        }
        assert wrong == set()

    def command(self, *words: str) -> str:
        """What `reelgate` says to these words."""
        done = subprocess.run(
            [sys.executable, "-m", "reelgate_cli", *words],
            env=os.environ | self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()


def dice(variable: str) -> random.Random:
    """Chance that can be repeated: a failing test shows its seed, and `variable` gives it again."""
    seed = int(os.environ.get(variable) or random.randrange(2**32))
    print(f"{variable}={seed}")  # noqa: T201 -- pytest shows it when the test fails
    return random.Random(seed)
