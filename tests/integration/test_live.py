"""Event streams and long polls, over real sockets, woken by a real broker."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import uvicorn
from prometheus_client import REGISTRY
from stream import Stream

from reelgate_api.app import create_app
from reelgate_api.live import credentials, handlers
from reelgate_api.live.hub import Hub
from reelgate_api.settings import Settings
from reelgate_common import auth, jobs, keys, settlement
from reelgate_common.domain.job import FailureCode, JobStatus
from reelgate_common.settings import JobSettings

NEVER = 3600  # seconds between sweeps: then only the broker tells
OFTEN = 0.05
POLICY = JobSettings()
DOCUMENT = (Path(__file__).parents[2] / "docs" / "live.md").read_text(encoding="utf-8")


@dataclass
class Api:
    """A server of the app, and ways to ask it."""

    port: int
    hub: Hub
    server: uvicorn.Server
    http: httpx.AsyncClient
    opened: AsyncExitStack

    async def stream(self, path, **keywords):
        stream = await Stream.open(self.port, path, **keywords)
        self.opened.push_async_callback(stream.close)
        return stream

    async def follow(self, job, **keywords):
        return await self.stream(f"/api/video/jobs/{job.id}/events", **keywords)

    async def follow_wallet(self, wallet="wallet", **keywords):
        return await self.stream(f"/api/wallets/{wallet}/events", **keywords)


@asynccontextmanager
async def _serving(app, eventually):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, lifespan="off", http="httptools", access_log=False, log_config=None, ws="none", backlog=2048
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # the signals belong to pytest
    running = asyncio.create_task(server.serve(sockets=[listener]))
    await eventually(lambda: server.started or running.done())
    try:
        yield server, listener.getsockname()[1]
    finally:
        server.should_exit = True
        await running


@pytest.fixture
def open_api(database_url, broker, eventually):
    """An api process as far as streams can tell: its own pool, hub and queue."""

    @asynccontextmanager
    async def open_one(*, broker_is_there=True, **overrides):
        values = {
            "database_url": database_url,
            "amqp_url": broker.amqp_url if broker_is_there else "amqp://127.0.0.1:9/",
            "kie_ai_api_key": "kie-key",
            "kie_ai_api_endpoint": "http://127.0.0.1:9",
            "public_base_url": "http://localhost:3000",
            "auth_mode": "open",
            "live_sweep_seconds": NEVER,
        }
        app = create_app(Settings(**values | overrides))
        async with AsyncExitStack() as stack:
            state = await stack.enter_async_context(app.router.lifespan_context(app))
            hub = state["parts"].hub
            if broker_is_there:
                await asyncio.wait_for(hub.hears.wait(), 10)
                await asyncio.wait_for(state["parts"].bus.publisher.ready.wait(), 10)

            async def with_state(scope, receive, send):
                await app({**scope, "state": dict(state)}, receive, send)

            server, port = await stack.enter_async_context(_serving(with_state, eventually))
            base = f"http://127.0.0.1:{port}"
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=base, timeout=60, trust_env=False))
            stack.callback(hub.stop)  # as the signal does, before the server waits for its connections
            opened = await stack.enter_async_context(AsyncExitStack())
            yield Api(port, hub, server, http, opened)

    return open_one


@pytest.fixture
async def api(open_api):
    async with open_api() as opened:
        yield opened


@pytest.fixture
async def sweeping(open_api):
    """Without a broker."""
    async with open_api(broker_is_there=False, live_sweep_seconds=OFTEN) as opened:
        yield opened


@pytest.fixture
def happens(cast):
    """Something happens to a job: with a broker's event (delivered, failed and refunded) or without (noted)."""

    class Happens:
        async def noted(self, job, *, times=1, step="noted"):
            for _ in range(times):
                await cast(jobs.note, job.id, step=step, by="tests")

        async def delivered(self, job):
            keywords = {"video_url": "https://media.example/video.mp4", "attempt_id": job.attempt_id}
            await cast(settlement.deliver, job.id, by="tests", policy=POLICY, **keywords)

        async def failed(self, job, code=FailureCode.REFUSED):
            await cast(settlement.fail, job.id, code, message="no", by="tests", policy=POLICY)

        async def refunded(self, job):
            await cast(settlement.refund, job.id, by="tests")

    return Happens()


def open_streams():
    return REGISTRY.get_sample_value("reelgate_live_streams")


def reads():
    return REGISTRY.get_sample_value("reelgate_live_reads_total")


def names(events):
    return [event.name for event in events]


# A job's stream -------------------------------------------------------------------------------------


async def test_a_stream_begins_with_the_job_as_it_stands(api, make_job):
    job = await make_job(JobStatus.PROCESSING)

    stream = await api.follow(job)
    first = await stream.next()

    assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert stream.headers["cache-control"] == "no-store"
    assert (first.name, first.id, first.seq, first.data["status"]) == (
        "job",
        str(job.version),
        job.version,
        "processing",
    )
    assert first.data["job"] == (await api.http.get(f"/api/video/jobs/{job.id}")).json()["job"]
    assert 1000 <= int(stream.retry) <= 5000


async def test_a_stream_is_told_of_the_video_and_ends(api, make_job, happens):
    job = await make_job(JobStatus.PROCESSING)
    stream = await api.follow(job)
    await stream.next()

    await happens.delivered(job)
    told, end = await stream.until("end")

    assert (told.name, told.id, told.data["status"]) == ("completed", str(job.version + 1), "completed")
    assert told.data["job"]["video_url"] == "https://media.example/video.mp4"
    assert (end.id, end.data) == (None, {})
    assert await stream.end()


async def test_a_failed_jobs_stream_ends_with_its_refund(api, make_job, happens):
    job = await make_job(JobStatus.PROCESSING)
    stream = await api.follow(job)
    await stream.next()

    await happens.failed(job)
    await happens.refunded(job)
    events = await stream.until("end")

    assert names(events) == ["failed", "refunded", "end"]
    assert events[1].data["job"]["refunded"] is True


async def test_a_failed_job_that_is_not_refunded_yet_keeps_its_stream(sweeping, make_job, happens):
    job = await make_job(JobStatus.FAILED)
    stream = await sweeping.follow(job)
    assert (await stream.next()).data["job"]["refunded"] is False

    await happens.refunded(job)

    assert names(await stream.until("end")) == ["refunded", "end"]


async def test_what_was_missed_is_told_first_and_then_what_happens(api, make_job, happens, stored):
    job = await make_job(JobStatus.PROCESSING)
    stream = await api.follow(job, last_id="1")
    missed = [await stream.next() for _ in range(job.version - 1)]

    await happens.delivered(job)
    live = await stream.until("end")

    assert names(missed + live) == [*(await stored.events(job.id))[1:], "end"]
    assert [event.id for event in missed] == [str(seq) for seq in range(2, job.version + 1)]


async def test_the_timeline_and_the_stream_tell_the_same(api, make_job):
    job = await make_job(JobStatus.PROCESSING)
    entries = (await api.http.get(f"/api/video/jobs/{job.id}/timeline")).json()["events"]

    stream = await api.follow(job, last_id="0")
    told = [await stream.next() for _ in entries]

    assert [{name: event.data[name] for name in entries[0]} for event in told] == entries


async def test_who_comes_back_after_the_end_is_told_not_to(api, make_job):
    job = await make_job(JobStatus.COMPLETED)
    stream = await api.follow(job)
    assert names(await stream.until("end")) == ["job", "end"]

    again = await api.follow(job, last_id=stream.last_id)

    assert again.status == 204


async def test_who_missed_the_end_is_told_it(api, make_job):
    job = await make_job(JobStatus.COMPLETED)

    stream = await api.follow(job, last_id=str(job.version - 1))

    assert names(await stream.until("end")) == ["completed", "end"]


async def test_a_number_the_job_does_not_have_counts_as_none(api, make_job):
    job = await make_job(JobStatus.PROCESSING)

    stream = await api.follow(job, last_id="999999999999")

    assert ((await stream.next()).name, stream.last_id) == ("job", str(job.version))


@pytest.mark.parametrize("last_id", ["x", "-1", "1.5", "9" * 17, "१"])
@pytest.mark.parametrize("path", ["/api/video/jobs/{}/events", "/api/wallets/wallet/events"])
async def test_what_is_no_id_is_refused(api, make_job, path, last_id):
    job = await make_job()

    answer = await api.http.get(path.format(job.id), headers={"Last-Event-ID": last_id.encode()})

    assert (answer.status_code, answer.json()["field"]) == (400, "Last-Event-ID")


async def test_other_peoples_jobs_and_wallets_are_not_found(open_api, make_job, cast):
    job = await make_job(wallet_address="mine")
    async with open_api(auth_mode="required") as api:
        _, key = await cast(keys.create_key, "tests", scopes=[auth.JOBS], wallets=["theirs"])
        headers = {"Authorization": f"Bearer {key}"}
        paths = [f"/api/video/jobs/{job.id}/events", f"/api/video/jobs/{job.id}?wait=60", "/api/wallets/mine/events"]

        assert [(await api.http.get(path, headers=headers)).status_code for path in paths] == [404, 404, 404]
        assert [(await api.http.get(path)).status_code for path in paths] == [401, 401, 401]
        assert open_streams() == 0


async def test_a_revoked_keys_streams_end(open_api, make_job, cast, stored, monkeypatch):
    monkeypatch.setattr(credentials, "_ROUND_SECONDS", 0.05)
    monkeypatch.setattr(handlers, "_BEAT_SECONDS", 0.05)
    job = await make_job()
    made = [await cast(keys.create_key, "tests", scopes=[auth.JOBS], wallets=None) for _ in range(2)]
    async with open_api(auth_mode="required") as api:
        ending, staying = [
            await stream(headers={"Authorization": f"Bearer {key}"})
            for (_, key), stream in zip(made, (lambda **k: api.follow(job, **k), api.follow_wallet), strict=True)
        ]
        await ending.beat()

        await stored.run("UPDATE api_keys SET revoked_at = now() WHERE id = $1", made[0][0].id)

        assert await ending.end()
        await staying.beat()
        await stored.run("UPDATE api_keys SET wallets = '{other}' WHERE id = $1", made[1][0].id)
        assert await staying.end()


async def test_a_silent_stream_gives_signs_of_life(api, make_job, monkeypatch):
    monkeypatch.setattr(handlers, "_BEAT_SECONDS", 0.02)
    stream = await api.follow(await make_job())

    await stream.beat()
    await stream.beat()

    assert set(stream.comments) == {": keep-alive"}


async def test_a_page_of_another_origin_may_come_back_with_what_it_saw(open_api):
    asks = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization,last-event-id",
    }
    async with open_api(cors_allow_origins=["https://app.example"]) as api:
        assert (await api.http.options("/api/wallets/wallet/events", headers=asks)).status_code == 200


# The broker wakes, the database tells ----------------------------------------------------------------


async def test_without_the_broker_streams_are_told_all_the_same(sweeping, make_job, happens):
    job = await make_job(JobStatus.PROCESSING)
    of_job, of_wallet = await sweeping.follow(job), await sweeping.follow_wallet()
    await of_job.next()
    await of_wallet.next()

    await happens.noted(job)
    await happens.delivered(job)

    assert names(await of_job.until("end")) == ["noted", "completed", "end"]
    assert names(await of_wallet.until("completed")) == ["noted", "completed"]


async def test_what_has_no_event_is_told_with_what_has_one(api, make_job, happens):
    job = await make_job(JobStatus.PROCESSING)
    stream = await api.follow(job)
    await stream.next()

    await happens.noted(job, times=3)
    await happens.delivered(job)

    assert [event.seq for event in (await stream.until("end"))[:-1]] == [job.version + n for n in range(1, 5)]


async def test_every_process_hears_of_it(open_api, make_job, happens):
    job = await make_job(JobStatus.PROCESSING)
    async with open_api() as one, open_api() as other:
        streams = [await api.follow(job) for api in (one, other)]
        for stream in streams:
            await stream.next()

        await happens.delivered(job)

        assert [names(await stream.until("end")) for stream in streams] == [["completed", "end"]] * 2


async def test_streams_go_on_after_the_database_was_away(sweeping, make_job, happens, stored):
    job = await make_job(JobStatus.PROCESSING)
    stream = await sweeping.follow(job)
    await stream.next()

    await stored.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await happens.delivered(job)

    assert names(await stream.until("end")) == ["completed", "end"]


async def test_a_thousand_streams_of_one_job_cost_one_query(api, make_job, happens, eventually):
    job = await make_job(JobStatus.PROCESSING)
    before = reads()
    streams = []
    for _ in range(20):
        streams += await asyncio.gather(*(api.follow(job) for _ in range(50)))
    await asyncio.gather(*(stream.next(60) for stream in streams))
    await eventually(lambda: reads() == before + 1)  # the first one made sure that it had missed nothing
    assert open_streams() == 1000

    await happens.delivered(job)
    told = await asyncio.gather(*(stream.until("end") for stream in streams))

    assert [names(events) for events in told] == [["completed", "end"]] * 1000
    assert reads() <= before + 2
    await eventually(lambda: open_streams() == 0)


async def test_a_thousand_streams_of_many_jobs_are_all_told(open_api, make_job, happens, fund):
    made = [await make_job(JobStatus.PROCESSING, wallet_address=f"wallet-{n % 10}") for n in range(50)]
    async with open_api(live_sweep_seconds=OFTEN) as api:
        streams = []
        for _ in range(20):
            streams += await asyncio.gather(*(api.follow(job) for job in made))
        await asyncio.gather(*(stream.next(60) for stream in streams))

        for job in made:
            await happens.noted(job)
            await happens.delivered(job)
        told = await asyncio.gather(*(stream.until("end") for stream in streams))

        assert [names(events) for events in told] == [["noted", "completed", "end"]] * 1000


# Bounds ----------------------------------------------------------------------------------------------


async def test_one_stream_too_many_is_503_until_another_ends(open_api, make_job, eventually):
    job = await make_job()
    async with open_api(max_streams=2) as api:
        first = await api.follow(job)
        await api.follow_wallet()

        refused = await api.http.get(f"/api/video/jobs/{job.id}/events")
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert int(refused.headers["retry-after"]) > 0

        await first.close()
        await eventually(lambda: open_streams() == 1)
        assert (await api.follow(job)).status == 200


async def test_who_leaves_leaves_nothing_behind(api, make_job, eventually):
    job = await make_job()
    streams = [await api.follow(job), await api.follow_wallet()]
    for stream in streams:
        await stream.next()
    assert (len(api.hub._jobs), len(api.hub._wallets)) == (1, 1)

    for stream in streams:
        await stream.close()

    await eventually(lambda: open_streams() == 0)
    assert (api.hub._jobs, api.hub._wallets) == ({}, {})
    await eventually(lambda: not api.server.server_state.connections)


async def test_who_reads_slowly_holds_up_nobody_and_misses_nothing(sweeping, make_job, happens, eventually):
    job = await make_job(JobStatus.PROCESSING, metadata={"much": "x" * 16_000})
    slow = await sweeping.follow(job, buffer=4096)
    quick = await sweeping.follow(job)
    await quick.next()

    def waiting():
        return [
            c.transport.get_write_buffer_size() for c in sweeping.server.server_state.connections if c.flow.write_paused
        ]

    last = job.version
    while not waiting():  # until the kernel takes no more for the slow one
        await happens.noted(job, times=20)
        last += 20
        assert [(await quick.next()).seq for _ in range(20)] == list(range(last - 19, last + 1))
    await happens.noted(job, times=100)
    await happens.delivered(job)
    assert (await quick.until("end"))[-2].seq == last + 101

    assert max(waiting()) < 200_000  # of the 100 events after it stopped reading, which are 1.6 MB
    assert [event.seq for event in (await slow.until("end"))[:-1]] == list(range(job.version, last + 102))


# Stopping --------------------------------------------------------------------------------------------


@asynccontextmanager
async def _process(settings):
    program = [sys.executable, "-m", "reelgate_api"]
    environment = {"PATH": os.environ["PATH"]} | settings
    process = await asyncio.create_subprocess_exec(*program, env=environment, stdout=asyncio.subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_stop_ends_streams_at_once(database_url, broker, make_job, eventually, unused_tcp_port, workers):
    job = await make_job()
    settings = {
        "DATABASE_URL": database_url,
        "AMQP_URL": broker.amqp_url.get_secret_value(),
        "KIE_AI_API_KEY": "kie-key",
        "PUBLIC_BASE_URL": "http://localhost:3000",
        "AUTH_MODE": "open",
        "HTTP_PORT": str(unused_tcp_port),
        "API_WORKERS": str(workers),
    }

    async def follow():
        with contextlib.suppress(OSError):  # it does not listen yet
            return await Stream.open(unused_tcp_port, f"/api/video/jobs/{job.id}/events")

    async with _process(settings) as process:
        streams = [await eventually(follow, seconds=40) for _ in range(10)]
        for stream in streams:
            await stream.next()

        process.send_signal(signal.SIGTERM)

        # The server waits 20 s for whom it may not interrupt, and cuts them off then.
        assert [await stream.end() for stream in streams] == [True] * 10
        assert await asyncio.wait_for(process.wait(), 15) == 0
        for stream in streams:
            await stream.close()


async def test_a_process_that_stops_takes_no_more_streams_and_lets_nobody_wait(api, make_job, eventually):
    job = await make_job()
    waiting = asyncio.create_task(api.http.get(f"/api/video/jobs/{job.id}?wait=60"))
    await eventually(lambda: open_streams() == 1)

    api.hub.stop()

    assert (await waiting).status_code == 200
    assert (await api.http.get(f"/api/video/jobs/{job.id}?wait=60")).status_code == 200
    assert (await api.http.get(f"/api/video/jobs/{job.id}/events")).status_code == 503


# A wallet's stream -----------------------------------------------------------------------------------


async def test_a_wallets_stream_tells_of_all_its_jobs_and_of_no_others(sweeping, make_job, happens, fund):
    mine = [await make_job(JobStatus.PROCESSING), await make_job()]
    other = await make_job(JobStatus.PROCESSING, wallet_address="other")
    stream = await sweeping.follow_wallet()
    assert (await stream.next()).name == "ready"

    await happens.delivered(other)
    await happens.noted(mine[1])
    new = await make_job()
    await happens.delivered(mine[0])
    told = [await stream.next() for _ in range(3)]

    assert {(event.data["job"]["id"], event.name) for event in told} == {
        (str(mine[1].id), "noted"),
        (str(new.id), "accepted"),
        (str(mine[0].id), "completed"),
    }


async def test_a_wallets_stream_is_woken_by_the_broker(api, make_job, happens):
    known = await make_job(JobStatus.PROCESSING)
    stream = await api.follow_wallet()
    await stream.next()
    new = await make_job(JobStatus.PROCESSING)

    await happens.delivered(new)
    of_new = await stream.until("completed")
    await happens.delivered(known)

    assert [event.seq for event in of_new] == list(range(1, new.version + 2))
    assert (await stream.next()).data["job"]["id"] == str(known.id)


async def test_a_late_video_is_told_to_the_wallet(api, make_job, happens):
    job = await make_job(JobStatus.FAILED, failure_code=FailureCode.SUBMIT_UNKNOWN)
    await happens.refunded(job)
    stream = await api.follow_wallet()
    await stream.next()

    await happens.delivered(job)

    assert names(await stream.until("recovered"))[-1] == "recovered"


async def test_a_wallets_stream_goes_on_where_it_was(sweeping, make_job, happens):
    job = await make_job(JobStatus.PROCESSING)
    first = await sweeping.follow_wallet()
    await first.next()
    await first.close()
    await happens.noted(job)
    await happens.delivered(job)

    again = await sweeping.follow_wallet(last_id=first.last_id)

    assert [event.name for event in await again.until("completed")][-2:] == ["noted", "completed"]


async def test_what_became_visible_late_is_not_lost(sweeping, db, make_job, happens):
    """A transaction that began first and ended last: its entry is older than what was told already."""
    late, early = await make_job(), await make_job()
    stream = await sweeping.follow_wallet()
    async with db.transaction() as tx:
        await jobs.note(tx, late.id, step="late", by="tests")
        await happens.noted(early, step="early")
        await stream.until("early")
        await happens.noted(early, step="later")
        await stream.until("later")
        await stream.close()

    again = await sweeping.follow_wallet(last_id=stream.last_id)

    assert "late" in names(await again.until("later"))


async def test_more_at_once_than_is_kept_is_told_once_and_in_order(sweeping, db, make_job, happens):
    job = await make_job()
    stream = await sweeping.follow_wallet()
    await stream.next()

    told = []
    for last in ("first", "second"):
        async with db.transaction() as tx:
            for _ in range(300):
                await jobs.note(tx, job.id, step="noted", by="tests")
        await happens.noted(job, step=last)
        told += [event.seq for event in await stream.until(last) if event.seq > job.version]

    assert told == list(range(job.version + 1, job.version + 603))


async def test_a_moment_to_come_counts_as_now(sweeping, make_job, happens):
    job = await make_job()
    tomorrow = int((datetime.now(UTC) + timedelta(days=1)).timestamp() * 1e6)

    stream = await sweeping.follow_wallet(last_id=str(tomorrow))

    assert int((await stream.next()).id) < tomorrow
    await happens.noted(job)
    assert names(await stream.until("noted"))[-1] == "noted"


# Long polls ------------------------------------------------------------------------------------------


async def test_a_long_poll_is_answered_by_the_change_and_not_before(api, make_job, happens, eventually):
    job = await make_job(JobStatus.PROCESSING)
    url, before = f"/api/video/jobs/{job.id}", reads()
    etag = (await api.http.get(url)).headers["etag"]
    polls = [
        asyncio.create_task(api.http.get(url, params={"wait": 60}, headers=headers))
        for headers in ({}, {"If-None-Match": etag})
    ]
    await eventually(lambda: (open_streams(), reads()) == (2, before + 1))
    assert not any(poll.done() for poll in polls)

    await happens.delivered(job)
    answers = await asyncio.gather(*polls)

    assert [answer.json()["job"]["status"] for answer in answers] == ["completed"] * 2
    assert {answer.headers["etag"] for answer in answers} == {f'"{job.version + 1}"'}
    assert open_streams() == 0
    assert reads() <= before + 2


async def test_a_long_poll_is_answered_at_once_when_the_job_changed_before(api, make_job):
    job = await make_job(JobStatus.PROCESSING)

    answer = await api.http.get(f"/api/video/jobs/{job.id}?wait=60", headers={"If-None-Match": f'"{job.version - 1}"'})

    assert (answer.status_code, answer.json()["job"]["version"]) == (200, job.version)


@pytest.mark.parametrize(("headers", "status"), [({}, 200), ({"If-None-Match": '"3"'}, 304)])
async def test_a_long_poll_is_answered_when_its_time_is_over(api, make_job, headers, status):
    job = await make_job(JobStatus.PROCESSING)
    assert job.version == 3

    answer = await api.http.get(f"/api/video/jobs/{job.id}?wait=1", headers=headers)

    assert (answer.status_code, answer.headers["etag"]) == (status, '"3"')
    assert open_streams() == 0


async def test_nobody_waits_for_a_job_that_is_settled(api, make_job):
    job = await make_job(JobStatus.COMPLETED)
    url, etag = f"/api/video/jobs/{job.id}?wait=60", f'"{job.version}"'

    assert (await api.http.get(url)).status_code == 200
    assert (await api.http.get(url, headers={"If-None-Match": etag})).status_code == 304


async def test_where_there_is_no_place_a_long_poll_is_a_poll(open_api, make_job):
    job = await make_job()
    async with open_api(max_streams=0) as api:
        answer = await api.http.get(f"/api/video/jobs/{job.id}?wait=60")

        assert (answer.status_code, answer.headers["retry-after"]) == (200, "2")


@pytest.mark.parametrize("wait", ["61", "-1", "x", ""])
async def test_a_wait_beyond_its_bounds_is_refused(api, make_job, wait):
    job = await make_job()

    answer = await api.http.get(f"/api/video/jobs/{job.id}", params={"wait": wait})

    assert (answer.status_code, answer.json()["field"]) == (400, "wait")


# The clients of docs/live.md -------------------------------------------------------------------------


async def run_python(url, tell):
    names = {}
    exec(re.search(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)[1], names)

    def follow():
        for name, event in names["follow"](url, {}):
            tell(f"{name} {event['job']['status']}")

    await asyncio.to_thread(follow)


async def run_javascript(url, tell):
    code = re.search(r"```js\n(.*?)```", DOCUMENT, re.DOTALL)[1].split("await follow(`")[0]
    code += f'await follow("{url}", {{}}, (name, event) => console.log(name, event.job.status));'
    node = await asyncio.create_subprocess_exec(
        "node", "--input-type=module", "-e", code, stdout=asyncio.subprocess.PIPE
    )
    async for line in node.stdout:
        tell(line.decode().strip())
    assert await node.wait() == 0


@pytest.mark.parametrize("run", [run_python, run_javascript])
async def test_the_documented_clients_follow_a_job_to_its_end(api, make_job, happens, eventually, run):
    if run is run_javascript and shutil.which("node") is None:
        pytest.skip("the documented JavaScript client needs node, and none is installed")
    job, told = await make_job(JobStatus.PROCESSING), []
    following = asyncio.create_task(run(f"{api.http.base_url}/api/video/jobs/{job.id}/events", told.append))
    await eventually(lambda: told)
    [gone] = api.server.server_state.connections
    gone.transport.abort()
    await eventually(lambda: open_streams() == 0)

    await happens.noted(job)
    await happens.delivered(job)
    await asyncio.wait_for(following, 30)

    assert told == ["job processing", "noted completed", "completed completed"]
