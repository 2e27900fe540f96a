"""Databases from a template, a vhost for each worker, factories and hand-written fakes."""

import asyncio
import gc
import inspect
import os
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
import structlog
from yarl import URL

from reelgate_api.accepting import repository as accepting
from reelgate_api.accepting.repository import NewJob
from reelgate_common import attempts, bus, jobs, migrations, settlement, topology
from reelgate_common.auth import hash_secret
from reelgate_common.connection import connect
from reelgate_common.db import Database
from reelgate_common.domain.job import FailureCode, Job, JobStatus, SendOutcome
from reelgate_common.domain.request import VideoRequest
from reelgate_common.ids import new_id
from reelgate_common.jobs import Change
from reelgate_common.kie.answers import NotYet, Send
from reelgate_common.kie.upgrades import Upgrade
from reelgate_common.outbox import Relay
from reelgate_common.settings import JobSettings, PostgresSettings, RabbitSettings

# What tests of whole gateways share; its assertions shall tell as much as a test's own.
pytest.register_assert_rewrite("gateway")

SERVER = os.environ.get("DATABASE_URL") or "postgresql://postgres@127.0.0.1:5432/postgres"
BROKER = os.environ.get("AMQP_URL") or "amqp://guest:guest@127.0.0.1:5672/"
# Plain lines: tracebacks drawn with every local variable take seconds.
structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])

TOKEN = "the token in the callback URL"
VIDEO = "https://media.example/video.mp4"


# Time ------------------------------------------------------------------------------------------------


async def _eventually(condition, *, seconds=15.0):
    """Await the first true value of a condition, which may be a coroutine function."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < end, "the condition never came true"
        await asyncio.sleep(0.02)


@pytest.fixture
def eventually():
    return _eventually


# PostgreSQL ------------------------------------------------------------------------------------------


async def _on_server(statement):
    connection = await asyncpg.connect(SERVER)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _url(name):
    return str(URL(SERVER).with_path(f"/{name}"))


@asynccontextmanager
async def _temporary(statement, name):
    await _on_server(statement)
    try:
        yield _url(name)
    finally:
        await _on_server(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def template():
    """Name of a database with the newest schema, to copy from."""
    name = f"reelgate_template_{uuid4().hex[:12]}"
    async with _temporary(f'CREATE DATABASE "{name}"', name) as url:
        async with Database.open(PostgresSettings(database_url=url)) as db:
            await migrations.migrate(db)
        yield name


@pytest.fixture
def new_database(template):
    """Open a database of one's own, migrated or empty; its URL."""

    def create(*, empty=False):
        name = f"reelgate_test_{uuid4().hex[:12]}"
        source = "" if empty else f' TEMPLATE "{template}"'
        return _temporary(f'CREATE DATABASE "{name}"{source}', name)

    return create


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def worker_database(template):
    """One database for all tests of this worker: dropping one waits for a checkpoint."""
    name = f"reelgate_worker_{uuid4().hex[:12]}"
    async with _temporary(f'CREATE DATABASE "{name}" TEMPLATE "{template}"', name) as url:
        yield url


async def _empty(url):
    """Make it as new. Triggers and foreign keys are off meanwhile, which needs a superuser."""
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_migrations'"
        )
        deletes = ";".join(f'DELETE FROM "{row["tablename"]}"' for row in tables)
        await connection.execute(
            f"SET session_replication_role = replica; {deletes}; INSERT INTO breaker DEFAULT VALUES;"
            " INSERT INTO vendor_account DEFAULT VALUES"
        )
    finally:
        await connection.close()


@pytest.fixture
def empty():
    """Make a database as new, between the examples of one test."""
    return _empty


@pytest_asyncio.fixture
async def database_url(worker_database):
    """A migrated database without a row."""
    await _empty(worker_database)
    return worker_database


@pytest_asyncio.fixture
async def db(database_url):
    async with Database.open(PostgresSettings(database_url=database_url, database_pool_size=20)) as opened:
        yield opened


# RabbitMQ --------------------------------------------------------------------------------------------


@asynccontextmanager
async def _own_vhost(worker_id):
    """Settings of a vhost nobody else uses: this worker's, or the only one, held by a lock."""
    if os.environ.get("TEST_VHOSTS"):
        number = int(worker_id.removeprefix("gw")) if worker_id != "master" else 0
        yield RabbitSettings(amqp_url=str(URL(BROKER).with_path(f"/test-{number}")))
        return
    connection = await asyncpg.connect(SERVER)
    try:
        await connection.execute("SELECT pg_advisory_lock(hashtext('reelgate tests: the one vhost'))")
        yield RabbitSettings(amqp_url=BROKER)
    finally:
        await connection.close()


@pytest.fixture
def worker_id(request):
    return getattr(request.config, "workerinput", {}).get("workerid", "master")


@pytest_asyncio.fixture
async def broker(worker_id):
    """Settings of a broker with the topology declared and every queue empty."""
    async with _own_vhost(worker_id) as settings:
        async with connect(settings, "tests") as connection:
            await bus.declare(connection)
            async with connection.channel() as channel:
                for name in [n for q in topology.QUEUES for n in (q.name, q.retry_name)] + [topology.PARKED]:
                    await (await channel.get_queue(name, ensure=False)).purge()
        yield settings


@pytest_asyncio.fixture
async def channel(broker):
    """A channel to look into the broker with."""
    async with connect(broker, "tests") as connection, connection.channel() as opened:
        yield opened


# Fakes -----------------------------------------------------------------------------------------------


@dataclass
class FakeVendor:
    """Kie.ai as scripted: `outcomes` are given in turn, then every send is accepted."""

    outcomes: list[Send] = field(default_factory=list)
    upgrades: list[Upgrade] = field(default_factory=list)  # given in turn, then each is being made
    tasks: dict[str, object] = field(default_factory=dict)  # task id -> TaskInfo
    sent: list[object] = field(default_factory=list)  # a job's id, an Extension, (kind, task id) of an upgrade
    callback_urls: list[str] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)
    asked: list[object] = field(default_factory=list)  # a task id, (kind, task id) of an upgrade
    # Awaited inside a call when set: what happens while the vendor thinks.
    while_sending: object = None
    while_asked: object = None

    async def generate(self, job: Job, *, callback_url: str, send_before: float) -> Send:
        return await self._send(job.id, callback_url)

    async def _send(self, what, callback_url):
        self.sent.append(what)
        self.callback_urls.append(callback_url)
        self.sent_at.append(time.monotonic())
        if self.while_sending:
            await self.while_sending()
        return self.outcomes.pop(0) if self.outcomes else self.accepted()

    async def extend(self, extension, *, callback_url: str, send_before: float) -> Send:
        return await self._send(extension, callback_url)

    async def upgrade_1080p(self, task_id: str, *, send_before: float | None = None):
        return await self._upgrade("1080p", task_id, None, send_before)

    async def upgrade_4k(self, task_id: str, *, callback_url=None, send_before: float | None = None):
        return await self._upgrade("4k", task_id, callback_url, send_before)

    async def _upgrade(self, kind, task_id, callback_url, send_before):
        if send_before is None:
            self.asked.append((kind, task_id))
        else:
            self.sent.append((kind, task_id))
            self.callback_urls.append(callback_url)
        return self.upgrades.pop(0) if self.upgrades else Upgrade(outcome=SendOutcome.ACCEPTED)

    async def record_info(self, task_id: str):
        self.asked.append(task_id)
        if self.while_asked:
            await self.while_asked()
        return self.tasks.get(task_id, NotYet(why="code 422: Record not found"))

    @staticmethod
    def accepted() -> Send:
        return Send(outcome=SendOutcome.ACCEPTED, code=200, message="success", task_id=uuid4().hex)


@pytest.fixture
def swept():
    """Have the collector find what aiormq left behind now, not in some other test."""
    yield
    gc.collect()


@pytest.fixture
def vendor():
    return FakeVendor()


class FakePublisher:
    """A broker that takes everything, or fails as told."""

    def __init__(self):
        self.ready = asyncio.Event()
        self.ready.set()
        self.published = []
        self.failures = {}  # routing key -> exception

    async def publish(self, *, routing_key, message_id, body, headers):
        if routing_key in self.failures:
            raise self.failures[routing_key]
        self.published.append(routing_key)


@pytest.fixture
def publisher():
    return FakePublisher()


@pytest.fixture
def relay(db, publisher):
    return Relay(db, publisher)


# Factories -------------------------------------------------------------------------------------------


@pytest.fixture
def token():
    """What every attempt's callback URL carries here."""
    return TOKEN


@pytest.fixture
def video():
    return VIDEO


@pytest.fixture
def make_request():
    def make(**overrides):
        values = {
            "wallet_address": "wallet",
            "prompt": "A cat on a skateboard",
            "image_urls": ("https://images.example/cat.png",),
            "aspect_ratio": "16:9",
            "model": "veo3_fast",
            "generation_type": "REFERENCE_2_VIDEO",
            "resolution": "720p",
            "duration": 8,
        }
        return VideoRequest(**values | overrides)

    return make


@pytest.fixture
def make_new(make_request):
    """A job about to be accepted."""

    def make(*, cost=4, key=None, owner="owner", request_hash=b"hash", traceparent=None, **overrides):
        return NewJob(
            id=new_id(),
            request=make_request(**overrides),
            cost=cost,
            owner=owner,
            key=key,
            request_hash=request_hash,
            traceparent=traceparent,
        )

    return make


@pytest.fixture
def fund(db):
    """Open a wallet, or add to it, with a grant in the ledger."""

    async def grant(wallet="wallet", amount=100):
        async with db.transaction() as tx:
            await tx.execute(
                """
                INSERT INTO credits (wallet_address, credits) VALUES ($1, $2)
                ON CONFLICT (wallet_address) DO UPDATE SET credits = credits.credits + $2
                """,
                wallet,
                amount,
            )
            await tx.execute(
                """
                INSERT INTO credit_transactions (id, wallet_address, transaction_type, amount)
                VALUES ($1, $2, 'grant', $3)
                """,
                new_id(),
                wallet,
                amount,
            )

    return grant


class Mover:
    """Takes an accepted job to a wanted state, by the functions the services use."""

    def __init__(self, tx, job_id, task_id, failure_code):
        self.tx, self.job_id, self.task_id, self.failure_code = tx, job_id, task_id, failure_code
        self.policy = JobSettings()
        self.attempt = None

    async def to(self, status):
        match status:
            case JobStatus.SUBMITTING:
                await self._claim()
            case JobStatus.UNKNOWN:
                await self._lose()
            case JobStatus.PROCESSING:
                await self._send()
            case JobStatus.COMPLETED:
                await self._send()
                await settlement.deliver(
                    self.tx, self.job_id, video_url=VIDEO, attempt_id=self.attempt.id, by="tests", policy=self.policy
                )
            case JobStatus.FAILED:
                await self._send()
                await settlement.fail(
                    self.tx, self.job_id, self.failure_code, message="no video", by="tests", policy=self.policy
                )
            case JobStatus.CANCELED:
                await settlement.cancel(self.tx, self.job_id, by="tests")

    async def _claim(self):
        self.attempt = await attempts.add(self.tx, new_id(), self.job_id, token_hash=hash_secret(TOKEN))
        change = Change(attempt_id=self.attempt.id, deadline=timedelta(seconds=90))
        await jobs.transition(self.tx, self.job_id, JobStatus.SUBMITTING, step="claimed", by="tests", change=change)

    async def _lose(self):
        await self._claim()
        await attempts.record_outcome(self.tx, self.attempt.id, SendOutcome.UNKNOWN, code=None, message="lost")
        change = Change(deadline=timedelta(hours=1))
        await jobs.transition(self.tx, self.job_id, JobStatus.UNKNOWN, step="unknown", by="tests", change=change)

    async def _send(self):
        await self._claim()
        await attempts.accept(self.tx, self.attempt, self.task_id, by="tests", reason=None, policy=self.policy)


@pytest.fixture
def make_job(db, fund, make_new, stored):
    """Accept a job as the API does, and take it to a state; the job as it stands then."""

    async def make(
        status=JobStatus.PENDING, *, task_id=None, failure_code=FailureCode.GENERATION_FAILED, **overrides
    ) -> Job:
        new = make_new(**overrides)
        await fund(new.request.wallet_address)
        async with db.connection() as connection:
            [result] = await accepting.accept(connection, [new], expires_in=timedelta(days=1))
        assert result.made
        async with db.transaction() as tx:
            await Mover(tx, new.id, task_id or uuid4().hex, failure_code).to(status)
        return await stored.job(new.id)

    return make


@pytest.fixture
def make_further(make_job):
    """A job about a finished video, taken to a state: `make_further("extend")`, also "upgrade_1080p", "upgrade_4k"."""

    async def make(operation, status=JobStatus.PENDING, *, source=None, **overrides) -> Job:
        source = source or await make_job(JobStatus.COMPLETED)
        asked = {"operation": operation, "source_job_id": str(source.id), "source_task_id": source.task_id}
        if operation.startswith("upgrade"):
            asked |= {"resolution": operation.removeprefix("upgrade_")}
        return await make_job(status, **{"task_id": source.task_id, "image_urls": ()} | asked | overrides)

    return make


@pytest.fixture
def cast(db):
    """A function of the library, run in a transaction of its own."""

    async def run(function, *arguments, **keywords):
        async with db.transaction() as tx:
            return await function(tx, *arguments, **keywords)

    return run


class Stored:
    """What the database holds, and a way to let time pass for it."""

    def __init__(self, db):
        self._db = db

    async def value(self, query, *arguments):
        async with self._db.connection() as connection:
            return await connection.fetchval(query, *arguments)

    async def rows(self, query, *arguments):
        async with self._db.connection() as connection:
            return [dict(row) for row in await connection.fetch(query, *arguments)]

    async def run(self, statement, *arguments):
        async with self._db.connection() as connection:
            await connection.execute(statement, *arguments)

    async def job(self, job_id) -> Job:
        [row] = await self.rows("SELECT * FROM video_jobs WHERE id = $1", job_id)
        return jobs.as_job(row)

    async def status(self, job_id) -> JobStatus:
        return (await self.job(job_id)).status

    async def attempts(self, job_id):
        return await self.rows("SELECT * FROM job_attempts WHERE job_id = $1 ORDER BY n", job_id)

    async def events(self, job_id) -> list[str]:
        return [
            row["event"] for row in await self.rows("SELECT * FROM job_events WHERE job_id = $1 ORDER BY seq", job_id)
        ]

    async def outbox(self, job_id) -> list[str]:
        return [
            row["routing_key"] for row in await self.rows("SELECT * FROM outbox WHERE job_id = $1 ORDER BY id", job_id)
        ]

    async def balance(self, wallet="wallet") -> int:
        return await self.value("SELECT credits FROM credits WHERE wallet_address = $1", wallet)

    async def ledger(self, job_id) -> dict[str, int]:
        rows = await self.rows("SELECT * FROM credit_transactions WHERE job_id = $1", job_id)
        return {row["transaction_type"]: row["amount"] for row in rows}

    async def waiting(self, lock=None) -> int:
        """How many here wait for a lock, of one kind if told. Other workers' databases on the server do not count."""
        return await self.value(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND wait_event_type = 'Lock' AND wait_event = coalesce($1, wait_event)",
            lock,
        )

    async def count(self, table) -> int:
        return await self.value(f"SELECT count(*) FROM {table}")

    async def books_balance(self) -> bool:
        """Whether every balance is the sum of its ledger."""
        return await self.value(
            """
            SELECT coalesce(bool_and(credits = (SELECT coalesce(sum(amount), 0) FROM credit_transactions t
                                                 WHERE t.wallet_address = c.wallet_address)), true)
              FROM credits c
            """
        )

    async def seconds_until(self, job_id, column) -> float | None:
        """How long until a moment of a job, by the database's clock."""
        return await self.value(
            f"SELECT extract(epoch FROM {column} - now())::float8 FROM video_jobs WHERE id = $1", job_id
        )

    async def age(self, job_id, column, seconds=1) -> None:
        """Let a moment of a job lie in the past."""
        await self.run(
            f"UPDATE video_jobs SET {column} = now() - $2 * interval '1 s' WHERE id = $1",
            job_id,
            float(seconds),
        )


@pytest.fixture
def stored(db):
    return Stored(db)
