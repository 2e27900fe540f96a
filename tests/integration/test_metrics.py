"""What `/metrics` tells: of requests, of what waits, of how long things take, of every worker."""

import asyncio
import contextlib
import math
import os
import re
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aio_pika
import httpx
import pytest
from api_client import api_settings, opened
from fault_proxy import FaultProxy
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families
from yarl import URL

from reelgate_common import settlement, topology
from reelgate_common.bus import Bus, Depth
from reelgate_common.db import Database
from reelgate_common.domain.errors import Unavailable
from reelgate_common.domain.job import FailureCode, JobStatus
from reelgate_common.kie.answers import Failed, Succeeded
from reelgate_common.settings import PostgresSettings, RabbitSettings
from reelgate_common.verification import Verifier
from reelgate_reconciler.measures import Measures
from reelgate_reconciler.settings import Settings

NEEDED = {"database_url": "x", "amqp_url": "x", "kie_ai_api_key": "x"}
MINUTE = timedelta(minutes=1)


def sample(name, **labels):
    return REGISTRY.get_sample_value(f"reelgate_{name}", labels) or 0


@pytest.fixture
def growth():
    """How much samples grew since they were first asked for."""
    before = {}

    def of(name, **labels):
        known = (name, *sorted(labels.items()))
        now = sample(name, **labels)
        return now - before.setdefault(known, now)

    return of


# Requests -------------------------------------------------------------------------------------------


@pytest.fixture
async def api(database_url, broker):
    async with opened(api_settings(database_url, broker)) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("GET", "/api/video/jobs/not-an-id", "/api/video/jobs/{id}", 400),
        ("GET", "/v1/videos/video_x", "/v1/videos/{id}", 404),
        ("POST", "/api/video/generate", "/api/video/generate", 400),
        ("DELETE", "/api/video/generate", "/api/video/generate", 405),
        ("GET", "/no/such/thing", "none", 404),
        ("GET", "/healthz", "other", 200),
    ],
)
async def test_a_request_is_counted_and_timed_by_its_route_not_by_its_path(api, growth, method, path, route, status):
    counted = {"method": method, "route": route}
    growth("http_requests_total", status=str(status), **counted)
    growth("http_request_seconds_count", **counted)

    await api.request(method, path)

    assert growth("http_requests_total", status=str(status), **counted) == 1
    assert growth("http_request_seconds_count", **counted) == 1


async def test_what_is_refused_before_its_route_is_known_counts_too(api, growth):
    refused = {"method": "POST", "route": "none", "status": "413"}
    growth("http_requests_total", **refused)

    await api.post("/api/video/generate", content=b"x" * 1_000_000)

    assert growth("http_requests_total", **refused) == 1


async def test_a_method_nobody_knows_makes_no_new_series(api, growth):
    other = {"method": "other", "route": "none", "status": "404"}
    growth("http_requests_total", **other)

    await api.request("BREW", "/coffee")

    assert growth("http_requests_total", **other) == 1


async def test_the_pool_tells_who_uses_it_and_who_waits(database_url, eventually):
    size, used, waiting = before = [sample(name) for name in ("pool_size", "pool_used", "pool_waiting")]

    async def queue():
        async with db.connection():
            pass

    async with Database.open(PostgresSettings(database_url=database_url, database_pool_size=1)) as db:
        async with db.connection():
            late = asyncio.create_task(queue())
            assert await eventually(lambda: sample("pool_waiting") == waiting + 1)
            assert (sample("pool_size"), sample("pool_used")) == (size + 1, used + 1)
        await late

    assert [sample(name) for name in ("pool_size", "pool_used", "pool_waiting")] == before


# What waits -----------------------------------------------------------------------------------------


@pytest.fixture
async def measures(db, broker):
    async with Bus.open(broker, "test") as bus:
        yield Measures(db, bus, Settings(**NEEDED | {"kie_sends_per_window": 7}))


async def test_what_is_not_over_is_counted_by_state_with_the_age_of_the_oldest(measures, make_job, stored):
    old = await make_job()
    await make_job()
    await make_job(JobStatus.UNKNOWN)
    await make_job(JobStatus.COMPLETED)
    await stored.run("UPDATE video_jobs SET created_at = created_at - interval '1 hour' WHERE id = $1", old.id)

    await measures.run_once()

    assert {state: sample("jobs", state=state) for state in ("pending", "submitting", "processing", "unknown")} == {
        "pending": 2,
        "submitting": 0,
        "processing": 0,
        "unknown": 1,
    }
    assert 3600 <= sample("oldest_job_seconds", state="pending") < 3660
    assert sample("oldest_job_seconds", state="processing") == 0
    assert (sample("send_window_used"), sample("send_window_allowed")) == (0, 7)


async def test_refunds_and_messages_that_are_due_have_an_age(measures, make_job, stored):
    await make_job(JobStatus.FAILED)
    await stored.run("UPDATE video_jobs SET completed_at = now() - interval '10 min'")
    await stored.run("UPDATE outbox SET available_at = now() + interval '1 hour'")
    await stored.run(
        "UPDATE outbox SET available_at = now() - interval '5 min' WHERE id = (SELECT min(id) FROM outbox)"
    )

    await measures.run_once()

    assert sample("refunds_due") == 1
    assert 600 <= sample("oldest_refund_due_seconds") < 660
    assert sample("outbox_rows") == 1  # what is to be published later is not late
    assert 300 <= sample("outbox_oldest_seconds") < 360

    await stored.run("DELETE FROM outbox")
    await stored.run("UPDATE video_jobs SET refunded_at = now()")
    await measures.run_once()

    assert [sample(name) for name in ("oldest_refund_due_seconds", "outbox_oldest_seconds")] == [0, 0]


async def test_queues_tell_their_messages_and_consumers(measures, channel):
    await channel.default_exchange.publish(aio_pika.Message(b"{}"), topology.PARKED)
    await channel.default_exchange.publish(aio_pika.Message(b"{}"), topology.JOB_REQUESTED.name)
    queue = await channel.get_queue(topology.JOB_REQUESTED.retry_name, ensure=False)

    async def take(message):
        await message.ack()

    tag = await queue.consume(take)

    await measures.run_once()

    assert sample("parked_messages") == 1
    assert sample("queue_messages", queue=topology.JOB_REQUESTED.name) == 1
    assert sample("queue_consumers", queue=topology.JOB_REQUESTED.retry_name) == 1
    assert sample("queue_consumers", queue=topology.JOB_REQUESTED.name) == 0
    await queue.cancel(tag)


async def test_what_cannot_be_seen_any_more_is_not_shown(database_url, broker, make_job, channel, eventually):
    """Another replica may see it: the last that this one saw would be taken for as true."""
    await make_job()
    url = URL(database_url)
    async with FaultProxy.open(url.host, url.port or 5432) as line, Bus.open(broker, "test") as bus:
        settings = PostgresSettings(database_url=str(url.with_host("127.0.0.1").with_port(line.port)))
        async with Database.open(settings) as db:
            measures = Measures(db, bus, Settings(**NEEDED))
            await measures.run_once()
            assert (sample("jobs", state="pending"), sample("outbox_rows")) == (1, 1)
            line.refuse()
            with pytest.raises(Unavailable):
                await measures.run_once()

    assert REGISTRY.get_sample_value("reelgate_jobs", {"state": "pending"}) is None
    assert math.isnan(sample("outbox_rows"))
    assert sample("queue_messages", queue=topology.JOB_REQUESTED.name) is not None  # the broker is seen as before


async def test_a_broker_that_is_away_or_has_lost_a_queue_is_not_shown_as_it_was(db, monkeypatch):
    async def seen(_, names):
        return told

    monkeypatch.setattr(Bus, "depths", seen)
    measures = Measures(db, Bus(RabbitSettings(amqp_url="amqp://nowhere"), "test"), Settings(**NEEDED))
    queue = topology.JOB_REQUESTED.name
    for told, error in (({queue: Depth(3, 1)}, None), ({}, None), ({queue: Depth(3, 1)}, None), (None, Unavailable)):
        with pytest.raises(error) if error else contextlib.nullcontext():
            await measures.run_once()
        assert REGISTRY.get_sample_value("reelgate_queue_messages", {"queue": queue}) == (3 if told else None)
        assert math.isnan(sample("parked_messages")) == (told is None)


# How long things take -------------------------------------------------------------------------------


@pytest.fixture
def verify(db, vendor):
    async def run(job, info):
        vendor.tasks[job.task_id] = info
        await Verifier(db, vendor, Settings(**NEEDED), "reconciler").verify(job.attempt_id, job.task_id)

    return run


@pytest.mark.parametrize("end", ["delivered", "failed"])
async def test_a_verdict_tells_how_late_it_is_and_that_no_webhook_had_come(verify, make_job, growth, end):
    job = await make_job(JobStatus.PROCESSING)
    ended_at = datetime.now(UTC) - MINUTE
    echo = {"prompt": job.prompt, "callback_url": None, "ended_at": ended_at}
    info = (
        Succeeded(video_url="https://cdn.example/v.mp4", **echo)
        if end == "delivered"
        else Failed(code=500, message="no", **echo)
    )
    growth("detection_seconds_sum", by="reconciler")
    growth("verdicts_total", webhook="missing")

    await verify(job, info)
    await verify(job, info)  # once more tells nothing new

    assert 60 <= growth("detection_seconds_sum", by="reconciler") < 75
    assert growth("verdicts_total", webhook="missing") == 1


async def test_a_verdict_after_a_webhook_says_so(verify, make_job, stored, growth):
    job = await make_job(JobStatus.PROCESSING)
    await stored.run(
        "INSERT INTO callbacks (id, task_id, job_id, attempt_id, token_ok, body_hash, body)"
        " SELECT id, task_id, job_id, id, true, '', '' FROM job_attempts"
    )
    growth("verdicts_total", webhook="came")

    await verify(job, Succeeded(video_url="https://cdn.example/v.mp4", prompt=job.prompt, callback_url=None))

    assert growth("verdicts_total", webhook="came") == 1


async def test_a_failure_counts_by_its_reason_and_its_refund_by_its_delay(cast, make_job, stored, growth):
    job = await make_job(JobStatus.PROCESSING)
    growth("job_failures_total", code="generation_failed")
    growth("refund_delay_seconds_sum")

    await cast(
        settlement.fail, job.id, FailureCode.GENERATION_FAILED, message="no", by="test", policy=Settings(**NEEDED)
    )
    await stored.run("UPDATE video_jobs SET completed_at = completed_at - interval '2 min'")
    await cast(settlement.refund, job.id, by="test")

    assert growth("job_failures_total", code="generation_failed") == 1
    assert 120 <= growth("refund_delay_seconds_sum") < 150


# Names ----------------------------------------------------------------------------------------------

_LABELS = {
    "by",
    "call",
    "code",
    "end",
    "given",
    "kind",
    "method",
    "of",
    "operation",
    "outcome",
    "queue",
    "reason",
    "result",
}
_LABELS |= {"route", "routing_key", "rule", "state", "status", "step", "task", "version", "webhook"}


def test_no_metric_has_a_label_without_an_end():
    own = [family for family in REGISTRY.collect() if family.name.startswith("reelgate_")]

    assert len(own) > 40
    assert {label for family in own for one in family.samples for label in one.labels} <= _LABELS | {"le"}
    assert all(re.fullmatch(r"[a-z_]+", family.name) and family.documentation.endswith(".") for family in own)


# Workers --------------------------------------------------------------------------------------------


@pytest.fixture
async def two_workers(database_url, broker, unused_tcp_port):
    """An api process with two workers: its base URL and itself."""
    settings = {
        "DATABASE_URL": database_url,
        "AMQP_URL": broker.amqp_url.get_secret_value(),
        "KIE_AI_API_KEY": "kie-key",
        "PUBLIC_BASE_URL": "http://localhost:3000",
        "AUTH_MODE": "open",
        "HTTP_PORT": str(unused_tcp_port),
        "API_WORKERS": "2",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "reelgate_api", env=os.environ | settings)
    try:
        yield f"http://127.0.0.1:{unused_tcp_port}", process
    finally:
        process.terminate()
        await process.wait()


def _workers(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


async def test_whichever_worker_is_asked_tells_of_all_of_them(two_workers, eventually):
    url, process = two_workers
    sent = 0

    async def ask(path):
        async with httpx.AsyncClient() as client:  # a connection of its own: any worker may take it
            return await client.get(url + path)

    async def told(name, **labels):
        text = (await ask("/metrics")).text
        return sum(
            one.value
            for family in text_string_to_metric_families(text)
            for one in family.samples
            if one.name == f"reelgate_{name}" and labels.items() <= one.labels.items()
        )

    async def both_are_up():
        with contextlib.suppress(httpx.TransportError):
            return await told("pool_size") == 20

    async def all_are_counted():
        return await told("http_requests_total", route="none") == sent

    await eventually(both_are_up, seconds=40)
    for _ in range(20):
        await ask("/nowhere")
        sent += 1
    assert await all_are_counted()

    killed = _workers(process.pid)[0]
    os.kill(killed, signal.SIGKILL)

    async def it_was_replaced():
        with contextlib.suppress(httpx.TransportError):
            alive = _workers(process.pid)
            return killed not in alive and len(alive) == 2 and await told("pool_size") == 20

    await eventually(it_was_replaced, seconds=40)
    assert await all_are_counted()  # what a dead worker counted was done all the same
