"""The callback edge over HTTP, and each service opened and closed whole."""

import asyncio
import gc
import time
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
from prometheus_client import REGISTRY
from serving import serving
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from reelgate_callback.app import create_app as create_callback
from reelgate_callback.settings import Settings as CallbackSettings
from reelgate_common.bus import Bus, Consumer
from reelgate_common.domain.errors import Unavailable
from reelgate_common.domain.job import JobStatus
from reelgate_common.service import background
from reelgate_reconciler import loops
from reelgate_reconciler.app import create_app as create_reconciler
from reelgate_reconciler.settings import Settings as ReconcilerSettings
from reelgate_submitter.app import create_app as create_submitter
from reelgate_submitter.settings import Settings as SubmitterSettings

PATH = "/api/video/kie-ai-callback"

# A connect to the broker that is cancelled half-way leaves its socket to the garbage collector (aiormq).
pytestmark = [
    pytest.mark.usefixtures("swept"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def open_service(database_url, broker, unused_tcp_port):
    """A service with its lifespan open, and a client of it; nobody answers at Kie.ai's address."""

    @asynccontextmanager
    async def open_one(create_app, settings, **overrides):
        values = {
            "database_url": database_url,
            "amqp_url": broker.amqp_url,
            "kie_ai_api_key": "kie-key",
            "kie_ai_api_endpoint": f"http://127.0.0.1:{unused_tcp_port}",
            "public_base_url": "http://localhost:3000",
        }
        app = create_app(settings(**values | overrides))
        async with app.router.lifespan_context(app) as state:

            async def with_state(scope, receive, send):
                await app({**scope, "state": dict(state)}, receive, send)

            transport = httpx.ASGITransport(with_state, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                yield client

    yield open_one
    gc.collect()


@pytest.fixture
async def callback(open_service):
    async with open_service(create_callback, CallbackSettings) as client:
        yield client


def about(task_id):
    return {"code": 200, "msg": "success", "data": {"taskId": task_id, "info": {}}}


async def test_a_webhook_is_answered_200_with_the_jobs_id(callback, make_job, token):
    job = await make_job(JobStatus.PROCESSING, task_id="task-1")

    answer = await callback.post(PATH, params={"attempt": str(job.attempt_id), "token": token}, json=about("task-1"))

    assert (answer.status_code, answer.json()) == (200, {"success": True, "jobId": str(job.id)})


@pytest.mark.parametrize(
    ("content", "status", "error"),
    [
        (b"", 400, "The body is not a JSON object"),
        (b"[]", 400, "The body is not a JSON object"),
        (b"{}", 400, "Missing taskId"),
        (b'{"data": {"taskId": "%"}}', 404, "Job not found"),
        (b'{"data": {"taskId": "task-9"}}', 404, "Job not found"),
    ],
)
async def test_a_bad_webhook_is_refused_and_not_stored(callback, make_job, stored, content, status, error):
    await make_job(JobStatus.PROCESSING, task_id="task-1")

    answer = await callback.post(PATH, content=content)

    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert await stored.count("callbacks") == 0


async def test_a_webhook_over_64_kib_is_413(callback):
    answer = await callback.post(PATH, json=about("task-1") | {"x": "y" * 70_000})

    assert answer.status_code == 413


async def test_whoever_looks_sees_that_the_callback_url_is_reachable(callback):
    assert (await callback.get(PATH)).json()["message"] == "Kie AI callback endpoint is accessible"


async def test_a_webhook_is_verified_by_the_services_own_consumer(callback, make_job, token, eventually, stored):
    """Nobody answers at Kie.ai's address, so the question is put off and the job left as it is."""
    job = await make_job(JobStatus.PROCESSING, task_id="task-1")
    await callback.post(PATH, json=about("task-1"))

    async def was_asked():
        return await stored.value("SELECT last_checked_at FROM video_jobs WHERE id = $1", job.id)

    assert await eventually(was_asked)
    assert await stored.status(job.id) == "processing"


@pytest.mark.parametrize(
    ("create_app", "settings"),
    [
        (create_callback, CallbackSettings),
        (create_submitter, SubmitterSettings),
        (create_reconciler, ReconcilerSettings),
    ],
    ids=["callback", "submitter", "reconciler"],
)
async def test_a_service_gets_ready_and_stops(open_service, eventually, create_app, settings):
    async with open_service(create_app, settings) as client:

        async def is_ready():
            return (await client.get("/readyz")).status_code == 200

        assert await eventually(is_ready)
        assert (await client.get("/healthz")).json() == {"status": "ok"}


async def test_the_reconcilers_own_loops_refund_what_was_lost(open_service, make_job, eventually, stored):
    """The message that would have told it is gone: the sweep finds the job by itself."""
    await make_job(JobStatus.FAILED)
    await stored.run("DELETE FROM outbox")

    async def given_back():
        return await stored.balance() == 100

    async with open_service(create_reconciler, ReconcilerSettings, sweep_seconds=0.05):
        assert await eventually(given_back)


async def test_the_submitter_leaves_a_job_in_pending_while_the_vendor_is_away(
    open_service, make_job, eventually, stored
):
    job = await make_job()

    async def was_tried():
        return "not_sent" in await stored.events(job.id)

    async with open_service(create_submitter, SubmitterSettings):
        assert await eventually(was_tried)

    assert await stored.status(job.id) in {"pending", "submitting"}


async def test_a_stop_waits_for_the_answer_to_a_send_as_long_as_one_may_take(
    open_service, make_job, stored, monkeypatch
):
    """Other handlers get less time: here none, so that nobody has to wait for the difference."""
    monkeypatch.setitem(Bus.consuming.__wrapped__.__kwdefaults__, "drain_seconds", 0.0)
    job = await make_job()
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def answer(_):
        asked.set()
        await go_on.wait()
        return JSONResponse({"code": 200, "msg": "success", "data": {"taskId": "task-1"}})

    async def stop(self, running, *, stop=Consumer.stop):
        go_on.set()
        await stop(self, running)

    monkeypatch.setattr(Consumer, "stop", stop)
    async with serving(Starlette(routes=[Route("/{path:path}", answer, methods=["POST"])])) as vendor:
        async with open_service(create_submitter, SubmitterSettings, kie_ai_api_endpoint=vendor):
            await asyncio.wait_for(asked.wait(), 20)

        assert await stored.status(job.id) == "processing"


@pytest.mark.parametrize("error", [ValueError("broken"), Unavailable("away")])
async def test_a_pass_that_fails_does_not_end_the_loop(eventually, error):
    passes = []

    async def run_once():
        passes.append(1)
        raise error

    running = asyncio.create_task(loops.every(0.001, "tests", run_once))
    await eventually(lambda: len(passes) >= 3)
    running.cancel()
    await asyncio.wait({running})

    assert running.cancelled()


async def test_a_pass_that_never_comes_to_its_end_is_missed_from_its_beginning_on(eventually):
    def last_pass():
        return REGISTRY.get_sample_value("reelgate_last_pass_timestamp_seconds", {"task": "hanging"})

    running = asyncio.create_task(loops.every(1, "hanging", asyncio.Event().wait))
    await eventually(last_pass)
    running.cancel()
    await asyncio.wait({running})

    assert time.time() - last_pass() < 60


async def test_a_stop_ends_a_task_that_swallowed_the_first_cancellation():
    async def swallow_one():
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    async with asyncio.timeout(20), background(swallow_one()):
        await asyncio.sleep(0)


async def test_a_reconciler_stops_whatever_it_is_just_doing(open_service):
    for step in range(20):
        async with (
            asyncio.timeout(20),
            open_service(create_reconciler, ReconcilerSettings, sweep_seconds=0.01, mend_seconds=0.01),
        ):
            await asyncio.sleep(step / 400)
