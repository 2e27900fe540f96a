"""What a long history costs: the way of a job and each periodic pass, with empty tables and with full ones.

The finished jobs are written by the server itself, in the form that the services leave them in. Then some jobs are
made due, all at once, and one reconciler asks a vendor about them that answers at once.
"""

import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pipeline
import stacks
from load import ROUNDS
from machine import Meter
from results import Goal, Outcome, Table
from yarl import URL

from reelgate_common import logs
from reelgate_common.audit import RunningAudit
from reelgate_common.service import open_core
from reelgate_common.verification import Verifier
from reelgate_reconciler.handlers import Reconciler
from reelgate_reconciler.measures import Measures
from reelgate_reconciler.settings import Settings

FINISHED = int(os.environ.get("BENCH_FINISHED", "10000000" if os.environ.get("BENCH_FULL") else "100000"))
DUE = max(FINISHED // 100, 5_000)  # more than the passes that are timed ask about
_WALLETS = 10_000
_BATCH = 100_000
_SLICE = 200  # wallets that the audit looks at in a pass though nothing is new
_PASSES = 50
_POLL_SECONDS = 10.0
NAME = "bench-history"

# Ids as UUIDv7 has them: a job's are made in order, 400 to 20 days ago. Of these jobs the database keeps what a
# completed one leaves: its row, timeline, attempt (under the same id), charge and place among the videos.
_MADE = """
    CREATE TEMP TABLE made ON COMMIT DROP AS
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(hash, 1, 3) || '8'
            || substr(hash, 4, 15))::uuid AS id,
           'history-' || n % {wallets} AS wallet, 'history-task-' || n AS task, at
      FROM (SELECT n, md5(n::text) AS hash, {at} AS at
              FROM generate_series({first}::bigint, {last}::bigint) AS n) AS numbered
"""
_LONG_AGO = "now() - interval '400 days' + n * (interval '380 days' / {finished})"
_FINISHED = """
    INSERT INTO video_jobs (id, status, version, wallet_address, prompt, image_urls, aspect_ratio, model,
                            generation_type, resolution, duration, cost, turn, created_at, updated_at, started_at,
                            completed_at, expires_at, attempt_id, task_id, video_url)
    SELECT id, 'completed', 4, wallet, 'A character waving hello, number ' || task,
           '["https://example.com/image.png"]', '16:9', 'veo3_fast', 'REFERENCE_2_VIDEO', '720p', 8, 4, 1, at,
           at + interval '3 min', at, at + interval '3 min', at + interval '1 d', id, task,
           'https://media.example.com/' || task || '.mp4'
      FROM made;
    INSERT INTO job_attempts (id, job_id, n, token_hash, started_at, outcome, outcome_at, vendor_code, vendor_message,
                              task_id, verdict)
    SELECT id, id, 1, sha256(task::bytea), at, 'accepted', at, 200, 'success', task, 'delivered' FROM made;
    INSERT INTO job_events (job_id, seq, at, event, status, service, attempt)
    SELECT id, seq, at, event, status, service, 1
      FROM made, (VALUES (1, 'accepted', 'pending', 'api'), (2, 'claimed', 'submitting', 'submitter'),
                         (3, 'submitted', 'processing', 'submitter'), (4, 'completed', 'completed', 'callback'))
                 AS step (seq, event, status, service);
    INSERT INTO videos (job_id, state, completed_at, due_at) SELECT id, 'failed', at, NULL FROM made;
"""
_DUE = """
    INSERT INTO video_jobs (id, status, version, wallet_address, prompt, image_urls, aspect_ratio, model,
                            generation_type, resolution, duration, cost, turn, created_at, started_at, expires_at,
                            deadline_at, next_check_at, attempt_id, task_id)
    SELECT id, 'processing', 3, wallet, 'A character waving hello', '["https://example.com/image.png"]', '16:9',
           'veo3_fast', 'REFERENCE_2_VIDEO', '720p', 8, 4, 1, at, at, at + interval '1 d', now() + interval '1 d',
           now(), id, task
      FROM made;
    INSERT INTO job_attempts (id, job_id, n, token_hash, started_at, outcome, outcome_at, vendor_code, task_id)
    SELECT id, id, 1, sha256(task::bytea), at, 'accepted', at, 200, task FROM made;
    INSERT INTO job_events (job_id, seq, at, event, status, service, attempt)
    SELECT id, seq, at, event, status, service, 1
      FROM made, (VALUES (1, 'accepted', 'pending', 'api'), (2, 'claimed', 'submitting', 'submitter'),
                         (3, 'submitted', 'processing', 'submitter')) AS step (seq, event, status, service);
"""
_CHARGES = """
    INSERT INTO credit_transactions (id, wallet_address, job_id, transaction_type, amount, description, created_at)
    SELECT id, wallet, id, 'charge', -4, 'Video generation', at FROM made;
"""
_OPEN_WALLETS = """
    INSERT INTO credits (wallet_address) SELECT 'history-' || n FROM generate_series(0, {wallets} - 1) AS n;
    INSERT INTO credit_transactions (id, wallet_address, transaction_type, amount, created_at)
    SELECT ('018b0000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'history-' || n, 'grant', 1000000,
           now() - interval '401 days'
      FROM generate_series(0, {wallets} - 1) AS n;
"""
# The balance is the ledger's sum, as the audit wants it.
_SETTLE_WALLETS = """
    UPDATE credits SET credits = found.total
      FROM (SELECT wallet_address, sum(amount) AS total FROM credit_transactions
             WHERE wallet_address LIKE 'history-%' GROUP BY wallet_address) AS found
     WHERE credits.wallet_address = found.wallet_address
"""


class Filler:
    """Writes rows as the superuser, whom the session lets pass by triggers and foreign keys: hours become minutes."""

    def __init__(self, env: dict[str, str]) -> None:
        """Nothing is written yet."""
        self._url = str(URL(env["DATABASE_URL"]).with_user("postgres"))

    async def wallets(self) -> None:
        """The wallets of all jobs to come: the audit looks at some in each pass, whether or not they have a history."""
        async with self._connected() as db:
            await db.execute(_OPEN_WALLETS.format(wallets=_WALLETS) + _SETTLE_WALLETS)

    async def finished(self, count: int) -> None:
        """So many completed jobs, batch by batch, and statistics as autovacuum would keep them."""
        async with self._connected() as db:
            for first in range(0, count, _BATCH):
                at = _LONG_AGO.format(finished=count)
                await self._batch(db, first, min(first + _BATCH, count), at, _FINISHED)
            await db.execute(_SETTLE_WALLETS)
            await db.execute("VACUUM ANALYZE")
            await db.execute("CHECKPOINT")

    async def due(self, first: int, count: int) -> None:
        """So many jobs that are to be asked about now."""
        async with self._connected() as db:
            at = f"now() - interval '10 minutes' + (n - {first}) * interval '1 ms'"
            await self._batch(db, first, first + count, at, _DUE)
            await db.execute(_SETTLE_WALLETS)
            await db.execute("ANALYZE")

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[asyncpg.Connection]:
        db = await asyncpg.connect(self._url, server_settings={"session_replication_role": "replica"})
        try:
            yield db
        finally:
            await db.close()

    async def _batch(self, db: asyncpg.Connection, first: int, end: int, at: str, rows: str) -> None:
        async with db.transaction():
            await db.execute(_MADE.format(wallets=_WALLETS, at=at, first=first, last=end - 1))
            await db.execute(rows + _CHARGES)


async def _passes(env: dict[str, str], vendor: str) -> dict[str, float]:
    """Milliseconds that each periodic pass takes, the lower quartile of many."""
    settings = Settings(
        database_url=env["DATABASE_URL"],
        amqp_url=env["AMQP_URL"],
        kie_ai_api_key="bench",
        kie_ai_api_endpoint=vendor,
        kie_queries_per_second=1000,
        retention_days=1000,
    )
    logs.configure("bench", level="WARNING")
    async with open_core("bench", settings) as core:
        reconciler = Reconciler(core.db, core.bus, core.relay, Verifier(core.db, core.kie, settings, "bench"), settings)
        audit, measures = RunningAudit(core.db), Measures(core.db, core.bus, settings)
        passes: dict[str, Callable[[], Awaitable[object]]] = {
            "check_due": reconciler.check_due,
            "end_overdue": reconciler.end_overdue,
            "sweep_refunds": reconciler.sweep_refunds,
            "republish": reconciler.republish,
            "clean": reconciler.clean,
            "retire": reconciler.retire,
            "audit": audit.run_once,
            "measure": measures.run_once,
        }
        for _ in range(_WALLETS // _SLICE + 2):  # it adds an old ledger up once, a slice of wallets in each pass
            await audit.run_once()
        return {name: await _quick_ms(run) for name, run in passes.items()}


async def _quick_ms(run: Callable[[], Awaitable[object]]) -> float:
    took = []
    for _ in range(_PASSES):
        started = time.perf_counter()
        await run()
        took.append(time.perf_counter() - started)
    return 1000 * statistics.quantiles(took, n=4)[0]  # what others do on the machine only adds


async def _polls(env: dict[str, str], db: asyncpg.Connection, vendor: str) -> tuple[float, float]:
    """Questions a second of one reconciler whose own limits are lifted, and its processor ms for each."""
    lifted = {"RECONCILE_SECONDS": "0.01", "CHECKS_PER_PASS": "100", "KIE_QUERIES_PER_SECOND": "2000"}
    ours = {"KIE_AI_API_ENDPOINT": vendor, "KIE_AI_API_KEY": "bench", "PUBLIC_BASE_URL": env["API_URL"]}
    asked = "SELECT count(*) FROM video_jobs WHERE status = 'processing' AND last_checked_at > $1"
    async with stacks.serving(
        stacks.service("reconciler"), os.environ | stacks.LIFTED | env | ours | lifted
    ) as process:
        since = await db.fetchval("SELECT clock_timestamp()")
        meter, started = Meter({"it": [process.pid]}), time.perf_counter()
        while time.perf_counter() - started < _POLL_SECONDS and await db.fetchval(asked, since) < DUE:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        count, took, spent = await db.fetchval(asked, since), time.perf_counter() - started, meter.read()["it"]
    return count / took, 1000 * spent / count


async def _bursts(env: dict[str, str], db: asyncpg.Connection) -> float:
    """Processor ms of services and servers for one job, the median of some bursts."""
    return statistics.median([(await pipeline.burst(NAME, env, db, pipeline.JOBS)).cpu_ms for _ in range(ROUNDS)])


async def measure() -> Outcome:
    """Without a history first, then with it, then with work that is due besides; each on the same servers."""
    async with stacks.vendor() as vendor:
        with stacks.stack(NAME, stacks.LIFTED) as env:
            reconciler = [int(env["PID_RECONCILER"])]
            async with stacks.database(env) as db:
                filler = Filler(env)
                await filler.wallets()
                await pipeline.burst(NAME, env, db, pipeline.JOBS)  # plans, caches and wallets are there then
                few = await _bursts(env, db)
                with stacks.held(reconciler):
                    quick = await _passes(env, vendor.url)
                await filler.finished(FINISHED)
                with stacks.held(reconciler):
                    slow = await _passes(env, vendor.url)
                many = await _bursts(env, db)
                with stacks.held(reconciler):
                    await filler.due(FINISHED, DUE)
                    busy = await _passes(env, vendor.url)
                    polls, poll_ms = await _polls(env, db, vendor.url)
                size = await db.fetchval("SELECT pg_database_size(current_database())") / 1e9
    costs = [("a job, accepted to final: CPU ms", few, many, many / few, None)]
    costs += [(f"pass {name}: ms", quick[name], slow[name], slow[name] / quick[name], busy[name]) for name in quick]
    columns = ("cost of", "empty tables", "full tables", "full to empty", f"full, {DUE:,} due")
    polled = [
        ("questions a second", polls),
        ("CPU ms of the reconciler for each", poll_ms),
        ("size of the database, GB", size),
        ("kB a finished job", size * 1e6 / FINISHED),
    ]
    worst = max(slow, key=lambda name: slow[name] / quick[name])
    return Outcome(
        [
            Table(f"{FINISHED:,} finished jobs", columns, costs),
            Table(f"one reconciler, {DUE:,} due", ("figure", "value"), polled),
        ],
        [
            Goal("a job: full to empty tables", many / few, at_most=1.1),
            Goal(f"the pass that grows most, {worst}: full to empty tables", slow[worst] / quick[worst], at_most=1.1),
        ],
    )
