"""Webhooks from an enemy, over HTTP against the real edge: an answer always, a wrong verdict never.

Kie.ai is a server that counts who asks it about what; database and broker are real.
"""

import asyncio
import contextlib
import json
import socket
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import parse_qs, quote

import asyncpg
import httpx
import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from reelgate_api.app import create_app as create_api
from reelgate_api.settings import Settings as ApiSettings
from reelgate_callback.app import create_app
from reelgate_callback.settings import Settings
from reelgate_common import jobs, topology
from reelgate_common.domain.job import JobStatus
from reelgate_common.ids import new_id
from reelgate_common.kie.client import KieClient
from reelgate_common.kie.signature import sign
from reelgate_common.verification import Verifier, may_ask
from reelgate_reconciler.handlers import Reconciler
from reelgate_reconciler.repository import take_due_checks
from reelgate_reconciler.settings import Settings as ReconcilerSettings

PATH = "/api/video/kie-ai-callback"
EVIL = "https://evil.example/v.mp4"
HMAC_KEY = "webhook-hmac-s3cret"
INTERVAL = 3600  # seconds; tests that need it over say so
KIE_GIVES_UP = 15  # seconds the vendor waits for an answer
QUERY_KEY = "kie-key-s3cret"

NOT_JSON = {"error": "The body is not a JSON object"}
NO_TASK = {"error": "Missing taskId"}
UNKNOWN = {"error": "Job not found"}
COME_BACK = {"error": "Temporarily unavailable"}

# A connect to the broker that is cancelled half-way leaves its socket to the garbage collector (aiormq).
pytestmark = [
    pytest.mark.usefixtures("swept"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def claim(task_id, *, code=200, **extra):
    """What Kie.ai would say at the end, with a video of the enemy's."""
    data = {"taskId": task_id, "successFlag": 1, "info": {"resultUrls": [EVIL]}, "resultUrls": [EVIL]}
    return {"code": code, "msg": "success", "data": data} | extra


def record(flag=0, *, prompt="A cat on a skateboard", url="https://media.example/true.mp4", **params):
    """An answer of record-info."""
    params = json.dumps({"prompt": prompt} | params)
    data = {"successFlag": flag, "paramJson": params, "response": {"resultUrls": [url]} if flag == 1 else None}
    return {"code": 200, "msg": "success", "data": data}


def signed(task_id, *, key=HMAC_KEY, at=0):
    """Headers as Kie.ai sends them: the signature covers the task id and the time, not the body."""
    timestamp = str(int(time.time()) + at)
    return {"X-Webhook-Timestamp": timestamp, "X-Webhook-Signature": sign(key, task_id, timestamp)}


def counted(metric, **labels):
    return REGISTRY.get_sample_value(metric, labels) or 0


@dataclass
class Kie:
    """Kie.ai's record-info: says what it is told, to whoever asks, and keeps count."""

    truth: dict[str, dict] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def __call__(self, scope, receive, send):
        [task_id] = parse_qs(scope["query_string"].decode())["taskId"]
        self.asked.append(task_id)
        await JSONResponse(self.truth.get(task_id, {"code": 422, "msg": "record is null"}))(scope, receive, send)


@dataclass
class Edge:
    """A server and a client of it."""

    server: uvicorn.Server
    http: httpx.AsyncClient
    port: int

    async def post(self, body, **keywords):
        sent = {"json": body} if isinstance(body, dict) else {"content": body}
        return await self.http.post(PATH, **sent, **keywords)

    @asynccontextmanager
    async def connected(self, *headers, body=b""):
        """A connection of its own, on which a request was begun."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            head = "\r\n".join((f"POST {PATH} HTTP/1.1", "Host: edge", *headers))
            writer.write(head.encode() + b"\r\n\r\n" + body)
            await writer.drain()
            yield reader, writer
        finally:
            writer.close()


@asynccontextmanager
async def serving(app: ASGIApp, eventually, *, lifespan="on"):
    # As `service.run` does, but the signals belong to pytest.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = uvicorn.Config(app, lifespan=lifespan, http="httptools", access_log=False, log_config=None, ws="none")
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext
    running = asyncio.create_task(server.serve(sockets=[listener]))
    await eventually(lambda: server.started or running.done())
    try:
        limits = httpx.Limits(max_connections=50)
        base = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=base, limits=limits, timeout=60, trust_env=False) as http:
            yield Edge(server, http, port)
    finally:
        server.should_exit = True
        await running


@pytest.fixture
async def kie(eventually):
    made = Kie()
    async with serving(made, eventually, lifespan="off") as edge:
        made.url = str(edge.http.base_url).rstrip("/")
        yield made


@pytest.fixture
def values(database_url, broker, kie):
    """Settings of every service here. Patient with the database: a loaded machine is not a fault."""
    return {
        "database_url": database_url,
        "amqp_url": broker.amqp_url,
        "kie_ai_api_key": QUERY_KEY,
        "kie_ai_api_endpoint": kie.url,
        "kie_webhook_hmac_key": HMAC_KEY,
        "hint_interval_seconds": INTERVAL,
        "database_acquire_seconds": 60,
        "public_base_url": "http://localhost:3000",
    }


@pytest.fixture
def open_edge(values, eventually):
    def open_one(**overrides):
        return serving(create_app(Settings(**values | overrides)), eventually)

    return open_one


@pytest.fixture
async def edge(open_edge):
    async with open_edge() as opened:
        yield opened


@pytest.fixture
def verified(stored, eventually):
    """Wait until the service has dealt with every webhook it stored, whether it asked Kie.ai or not."""
    acked = partial(counted, "reelgate_messages_total", queue=topology.CALLBACK_RECEIVED.name, end="acked")
    before = acked()

    async def wait():
        async def all_acked():
            return acked() - before >= await stored.count("callbacks")

        await eventually(all_acked, seconds=60)

    return wait


@pytest.fixture
async def sent(make_job, kie):
    """A job Kie.ai is working on."""
    kie.truth["task-1"] = record(0)
    return await make_job(JobStatus.PROCESSING, task_id="task-1")


@pytest.fixture
async def lost(make_job):
    """A job whose send was never answered."""
    return await make_job(JobStatus.UNKNOWN)


@pytest.fixture
def query(token):
    """What the callback URL of a job's attempt carries."""
    return lambda job: {"attempt": str(job.attempt_id), "token": token}


@pytest.fixture
def untouched(stored):
    """A job is as it was, but for when it is asked about; so is the money."""

    async def check(job):
        now = await stored.job(job.id)
        assert (now.status, now.version, now.task_id) == (job.status, job.version, job.task_id)
        assert (now.video_url, now.failure_code) == (None, None)
        assert await stored.ledger(job.id) == {"charge": -4}
        assert await stored.books_balance()

    return check


# Tokens and signatures ------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{}, {"token": "guess"}, {"token": ""}, {"attempt": "%"}, {"attempt": "0" * 9999}])
@pytest.mark.parametrize("code", [200, 501])
async def test_whoever_knows_a_task_can_only_have_it_asked_about(
    edge, sent, query, kie, verified, untouched, given, code
):
    answer = await edge.post(claim("task-1", code=code), params=query(sent) | given)
    await verified()

    assert (answer.status_code, answer.json()) == (200, {"success": True, "jobId": str(sent.id)})
    assert kie.asked == ["task-1"]
    await untouched(sent)


async def test_even_with_a_stolen_token_only_record_info_decides(edge, sent, query, kie, verified, stored):
    kie.truth["task-1"] = record(1, url="https://media.example/true.mp4")

    await edge.post(claim("task-1", code=501), params=query(sent))
    await verified()

    job = await stored.job(sent.id)
    assert (job.status, job.video_url) == ("completed", "https://media.example/true.mp4")


async def test_a_token_is_worth_nothing_for_a_task_of_another_job(edge, sent, lost, query, verified, stored, untouched):
    answer = await edge.post(claim("task-1"), params=query(lost))
    await verified()

    assert answer.json()["jobId"] == str(sent.id)
    assert await stored.value("SELECT token_ok FROM callbacks") is False
    assert (await stored.attempts(lost.id))[0]["hinted_task_id"] is None
    await untouched(sent)
    await untouched(lost)


async def test_a_task_nobody_knows_is_not_bound_by_a_token(edge, lost, query, kie, verified, untouched):
    answer = await edge.post(claim("task-9"), params=query(lost))
    await verified()

    assert answer.status_code == 200
    assert kie.asked == ["task-9"]
    await untouched(lost)


@pytest.mark.parametrize(
    "foreign",
    [
        record(1, prompt="A dog"),
        record(1, callBackUrl=f"https://gateway.example{PATH}?attempt={new_id()}&token=x"),
        record(1, callBackUrl="https://another.example/hook"),
        record(3, prompt="A dog"),
        {"code": 200, "data": {"successFlag": 1, "response": {"resultUrls": [EVIL]}}},
    ],
    ids=["another prompt", "another attempt", "another host", "failed", "no prompt"],
)
async def test_a_finished_task_of_somebody_else_is_not_bound(
    edge, lost, query, kie, verified, stored, untouched, foreign
):
    kie.truth["task-9"] = foreign

    await edge.post(claim("task-9"), params=query(lost))
    await verified()

    [attempt] = await stored.attempts(lost.id)
    assert (attempt["task_id"], attempt["hinted_task_id"]) == (None, None)
    await untouched(lost)


@pytest.mark.parametrize(
    ("found", "headers"),
    [
        ("good", None),  # made when it is sent: it is good for some minutes only
        ("missing", {}),
        ("missing", {"X-Webhook-Signature": "x"}),
        ("bad", signed("task-1", key="another key")),
        ("bad", signed("task-2")),
        ("bad", signed("task-1") | {"X-Webhook-Timestamp": "0"}),
        ("bad", {"X-Webhook-Timestamp": "\xff", "X-Webhook-Signature": "\xff"}),
        ("old", signed("task-1", at=-3600)),
        ("old", signed("task-1", at=3600)),
        ("old", {"X-Webhook-Timestamp": "9" * 500, "X-Webhook-Signature": sign(HMAC_KEY, "task-1", "9" * 500)}),
        ("old", {"X-Webhook-Timestamp": "now", "X-Webhook-Signature": sign(HMAC_KEY, "task-1", "now")}),
    ],
)
async def test_a_signature_is_counted_and_decides_nothing(edge, sent, kie, verified, untouched, stored, found, headers):
    """A good one neither: its body may be swapped, since only the task id and the time are signed."""
    name = f"signature_{found}"
    before = counted("reelgate_callbacks_total", result=name)
    said = signed("task-1") if headers is None else headers
    raw = [(key.encode(), value.encode("latin-1")) for key, value in said.items()]

    answer = await edge.post(claim("task-1", code=501), headers=raw)
    await verified()

    assert counted("reelgate_callbacks_total", result=name) == before + 1
    assert answer.status_code == 200
    assert kie.asked == ["task-1"]
    assert await stored.value("SELECT signature FROM callbacks") == found
    await untouched(sent)


async def test_a_good_signature_binds_no_task(edge, lost, query, stored):
    answers = [
        await edge.post(claim("task-9"), headers=signed("task-9")),
        await edge.post(claim("task-9"), headers=signed("task-9"), params=query(lost) | {"token": "guess"}),
    ]

    assert [(answer.status_code, answer.json()) for answer in answers] == [(404, UNKNOWN)] * 2
    assert await stored.count("callbacks") == 0


async def test_a_replay_is_one_webhook(edge, sent, query, kie, verified, stored, untouched):
    headers = signed("task-1")

    answers = [await edge.post(claim("task-1"), params=query(sent), headers=headers) for _ in range(20)]
    await verified()

    assert {answer.status_code for answer in answers} == {200}
    assert await stored.count("callbacks") == 1
    assert kie.asked == ["task-1"]
    await untouched(sent)


# Bodies ---------------------------------------------------------------------------------------------


def task_of(text: str) -> bytes:
    return b'{"code": 200, "data": {"taskId": ' + text.encode() + b"}}"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, NOT_JSON),
        (b"null", 400, NOT_JSON),
        (b'"task-1"', 400, NOT_JSON),
        (b'[{"data": {"taskId": "task-1"}}]', 400, NOT_JSON),
        (b"data.taskId=task-1", 400, NOT_JSON),
        (b'{"data": {"taskId": "task-1"', 400, NOT_JSON),
        (b'{"data": {"taskId": "task-\xff1"}}', 400, NOT_JSON),
        (b"\x00", 400, NOT_JSON),
        (b"[" * 65_000, 400, NOT_JSON),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400, NOT_JSON),
        (b'{"n": ' + b"9" * 60_000 + b', "data": {"taskId": "task-1"}}', 400, NOT_JSON),
        (b"[" * 100_000, 413, None),
        (b"{}", 400, NO_TASK),
        (b'{"data": ["task-1"]}', 400, NO_TASK),
        (task_of("1"), 400, NO_TASK),
        (task_of("NaN"), 400, NO_TASK),
        (task_of("true"), 400, NO_TASK),
        (task_of("null"), 400, NO_TASK),
        (task_of('["task-1"]'), 400, NO_TASK),
        (task_of('{"taskId": "task-1"}'), 400, NO_TASK),
        (task_of('""'), 400, NO_TASK),
        (task_of('"  "'), 400, NO_TASK),
        (task_of('"task-1\\u0000"'), 400, NO_TASK),
        (task_of('"\\ud800"'), 400, NO_TASK),
        (task_of('"task-1\\n"'), 400, NO_TASK),
        (task_of('"' + "t" * 129 + '"'), 400, NO_TASK),
        (task_of('"' + "t" * 60_000 + '"'), 400, NO_TASK),
        (task_of('"%"'), 404, UNKNOWN),
        (task_of('"_______"'), 404, UNKNOWN),
        (task_of('"task-1%"'), 404, UNKNOWN),
        (task_of('"TASK-1"'), 404, UNKNOWN),
        (task_of("\"task-1' OR 'a'='a\""), 404, UNKNOWN),
        (task_of('"' + "t" * 128 + '"'), 404, UNKNOWN),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else None,
)
async def test_a_strange_body_gets_a_constant_answer_and_leaves_nothing(
    edge, sent, query, kie, stored, untouched, body, status, said
):
    for params in (query(sent), {}):
        answer = await edge.post(body, params=params)

        assert answer.status_code == status
        assert said is None or answer.json() == said

    assert await stored.count("callbacks") == 0
    assert kie.asked == []
    await untouched(sent)


@pytest.mark.parametrize(
    "body",
    [
        b'{"code": NaN, "msg": Infinity, "data": {"taskId": "task-1"}}',
        b'{"code": 1e999, "msg": -1e999, "data": {"taskId": "task-1"}}',
        b'{"code": [200], "msg": {"a": 1}, "data": {"taskId": "task-1", "info": 7, "successFlag": {}}}',
        b'{"code": "200", "data": {"taskId": "task-1", "successFlag": "1", "resultUrls": "https://evil.example/v"}}',
        b'{"code": ' + b"9" * 4000 + b', "data": {"taskId": "task-1", "errorCode": -1}}',
        b'{"data": {"taskId": "task-1", "info": {"resultUrls": ["\\u0000", "\\ud800", 1, null, [[]], "file:///x"]}}}',
        b'{"data": {"taskId": "task-1", "taskId": "task-1"}, "taskId": "another", "task_id": ["x"]}',
        b'{"task_id": "task-1", "data": 7, "callbackType": "task_completed"}',
        b'{"data": {"taskId": "task-1", "deep": ' + b"[" * 500 + b"]" * 500 + b"}}",
        '{"data": {"taskId": "task-1"}}'.encode("utf-16"),
        b'\xef\xbb\xbf{"data": {"taskId": "task-1"}}',
        b'{"data": {"taskId": " task-1 "}}' + b" " * 60_000,
    ],
    ids=lambda value: repr(value[:40]),
)
async def test_whatever_else_a_webhook_says_it_is_only_a_hint(edge, sent, verified, kie, untouched, body):
    answer = await edge.post(body, headers={"Content-Type": "multipart/form-data", "Content-Encoding": "gzip"})
    await verified()

    # Some are read and some are not; which, the parser decides. None is more than a hint.
    expected = {200: {"success": True, "jobId": str(sent.id)}, 400: NOT_JSON}
    assert answer.json() == expected[answer.status_code]
    assert kie.asked == ["task-1"] * (answer.status_code == 200)
    await untouched(sent)


NAMES = ["taskId", "task_id", "data", "code", "msg", "successFlag", "info", "resultUrls", "response", "errorCode"]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["task-1", "task-1", "task-9", EVIL, "%", "\x00", "\ud800", 0, 1, 2, 3, 200, 501])
)
ANY_JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(), inner)
)
TASKS = st.sampled_from(["task-1", "task-9"]) | LEAVES
WEBHOOKS = st.fixed_dictionaries(
    {"data": st.fixed_dictionaries({"taskId": TASKS}, optional={"info": ANY_JSON, "successFlag": LEAVES})},
    optional={"code": LEAVES, "msg": ANY_JSON, "taskId": LEAVES},
)
BODIES = st.binary() | (ANY_JSON | WEBHOOKS | WEBHOOKS).map(lambda value: json.dumps(value).encode())


@pytest.fixture
def attack(edge, sent, lost, query, stored, untouched):
    """One webhook of the enemy's: any body with any query; and everything that must hold after it."""
    queries = {"none": {}, "own": query(sent), "other": query(lost), "forged": query(sent) | {"token": "x"}}

    async def hint():
        return (await stored.attempts(lost.id))[0]["hinted_task_id"]

    async def one(body, whose):
        before = await hint()
        answer = await edge.post(body, params=queries[whose])

        expected = {
            200: [{"success": True, "jobId": str(job.id)} for job in (sent, lost)],
            400: [NOT_JSON, NO_TASK],
            404: [UNKNOWN],
        }
        assert answer.json() in expected[answer.status_code]
        assert whose == "other" or await hint() in {before, None}
        await untouched(sent)
        await untouched(lost)

    return one


@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(body=BODIES, whose=st.sampled_from(["none", "own", "other", "forged"]))
async def test_no_body_at_all_decides_anything(attack, body, whose):
    await attack(body, whose)


# Size and time --------------------------------------------------------------------------------------


async def test_ten_megabytes_are_refused_before_one_of_them_is_read(edge):
    async with edge.connected("Content-Length: 10485760") as (reader, _):
        assert (await reader.read()).startswith(b"HTTP/1.1 413")


async def test_without_a_length_no_more_is_read_than_is_allowed(edge):
    """The end of the body never comes: the answer does not wait for it."""
    chunks = (b"400\r\n" + b"x" * 1024 + b"\r\n") * 65
    async with edge.connected("Transfer-Encoding: chunked", body=chunks) as (reader, _):
        assert (await reader.read()).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("length", ["-1", "x", "1, 2", "99999999999999999999999", "9" * 5000])
async def test_a_length_that_is_none_is_refused(edge, length):
    async with edge.connected(f"Content-Length: {length}", "Connection: close", body=b"{}") as (reader, _):
        assert (await reader.read()).split(b" ", 2)[1] in {b"400", b"413"}


async def test_clients_that_stop_half_way_keep_nobody_waiting_and_leave_nothing(edge, sent, stored, eventually):
    """Even when what came of the body could be read: it is not what they meant to say."""
    half = json.dumps(claim("task-1", half=True)).encode()
    async with contextlib.AsyncExitStack() as stalled:
        for _ in range(30):
            await stalled.enter_async_context(edge.connected(f"Content-Length: {len(half) + 1}", body=half))
        await eventually(lambda: len(edge.server.server_state.tasks) == 30)

        answers = await asyncio.gather(*(edge.post(claim("task-1")) for _ in range(10)))
    await eventually(lambda: not edge.server.server_state.tasks)

    assert {answer.status_code for answer in answers} == {200}
    assert await stored.count("callbacks") == 1


# Floods ---------------------------------------------------------------------------------------------


@pytest.fixture
async def poll(db, relay, values, stored):
    """A pass of the reconciler that finds the job due."""
    chosen = ReconcilerSettings(**values)
    async with KieClient.open(chosen) as client:
        reconciler = Reconciler(db, None, relay, Verifier(db, client, chosen, "reconciler"), chosen)

        async def once(job):
            await stored.age(job.id, "next_check_at")
            await reconciler.check_due()

        yield once


@pytest.fixture
async def ask(values, eventually):
    """A caller who asks by hand."""
    async with serving(create_api(ApiSettings(**values, auth_mode="open")), eventually) as api:

        async def once(task_id):
            return await api.http.post("/api/video/manual-callback", json={"taskId": task_id})

        yield once


@pytest.fixture
def everybody(edge, poll, ask, verified):
    """Webhooks, polls and callers about one task, all at once; the answers to the webhooks and to the callers."""

    async def at_once(job, webhooks):
        said = [edge.post(claim(job.task_id, n=n), params=query) for n, query in webhooks]
        asked = [ask(job.task_id) for _ in range(5)]
        answers = await asyncio.gather(*asked, *said, *(poll(job) for _ in range(10)))
        await verified()
        return answers[5 : 5 + len(said)], answers[:5]

    return at_once


async def test_however_many_ask_about_a_job_kie_is_asked_once_in_an_interval(
    everybody, sent, query, kie, stored, untouched
):
    queries = [{}, query(sent), query(sent) | {"token": "guess"}]
    said, asked = await everybody(sent, [(n, queries[n % 3]) for n in range(300)])
    within_one = list(kie.asked)
    await stored.age(sent.id, "last_checked_at", seconds=INTERVAL + 60)
    await everybody(sent, [(n, queries[n % 3]) for n in range(300, 330)])

    assert {answer.status_code for answer in said} == {200}
    assert {answer.text for answer in said} == {f'{{"success":true,"jobId":"{sent.id}"}}'}
    assert {answer.status_code for answer in asked} == {200}
    assert within_one == ["task-1"]
    assert kie.asked == ["task-1"] * 2
    await untouched(sent)


async def test_different_tasks_for_one_attempt_are_one_question_too(edge, lost, query, kie, verified, untouched):
    """Who has the token of a call that was never answered can name any task."""
    bodies = (claim(f"task-{n}") for n in range(60))

    answers = await asyncio.gather(*(edge.post(body, params=query(lost)) for body in bodies))
    await verified()

    assert {answer.status_code for answer in answers} == {200}
    assert len(kie.asked) == 1
    await untouched(lost)


async def test_a_question_too_soon_is_put_off_and_not_forgotten(edge, sent, poll, kie, verified, stored, video):
    """The first hint came before the video; the second, the true one, within the interval."""
    await edge.post(claim("task-1"))
    await verified()
    kie.truth["task-1"] = record(1, url=video)
    await stored.run("UPDATE video_jobs SET next_check_at = now() + interval '1 year'")
    await edge.post(claim("task-1", true=True))
    await verified()

    assert await stored.status(sent.id) == "processing"
    assert await stored.seconds_until(sent.id, "next_check_at") <= INTERVAL
    await stored.age(sent.id, "last_checked_at", seconds=INTERVAL + 60)
    await poll(sent)
    assert (await stored.job(sent.id)).video_url == video


async def test_the_interval_counts_from_the_question_and_not_from_the_wait_for_the_lock(db, sent, stored, eventually):
    """Whoever waits for the job's row asks when the wait is over."""

    async def take():
        async with db.transaction() as tx:
            await jobs.lock_job(tx, sent.id)
            return await may_ask(tx, sent.id, interval_seconds=5)

    async with db.transaction() as holder:
        await holder.execute("SELECT FROM video_jobs WHERE id = $1 FOR UPDATE", sent.id)
        taking = asyncio.create_task(take())
        await eventually(stored.waiting)
        released = await holder.fetchval("SELECT clock_timestamp()")

    assert await taking
    assert await stored.value("SELECT last_checked_at FROM video_jobs") >= released


class Explaining:
    """A transaction that asks how a statement would be done instead of doing it."""

    def __init__(self, tx):
        self._tx = tx

    async def fetch(self, statement, *arguments):
        self.plan = "\n".join(row[0] for row in await self._tx.fetch(f"EXPLAIN {statement}", *arguments))
        return []


async def test_what_is_due_is_found_by_its_index_whatever_else_is_asked_of_it(db):
    async with db.transaction() as tx:
        await tx.execute("SET LOCAL enable_seqscan = off")
        await tx.execute("SET LOCAL enable_sort = off")
        explaining = Explaining(tx)
        await take_due_checks(explaining, limit=10, late_check_days=14, interval_seconds=5)

    assert "Index Scan using video_jobs_check" in explaining.plan


async def test_a_strangers_flood_does_not_crowd_out_the_vendors_own_webhook(edge, sent, query, verified, stored):
    for n in range(60):
        await edge.post(claim("task-1", n=n))
    await edge.post(claim("task-1"), params=query(sent))
    await verified()

    kept = await stored.rows("SELECT token_ok, count(*) FROM callbacks GROUP BY token_ok ORDER BY token_ok")
    assert [tuple(row.values()) for row in kept] == [(False, 50), (True, 1)]


# The database, and secrets --------------------------------------------------------------------------


@pytest.fixture
async def locked(database_url):
    """Nobody can write a webhook down until the block ends."""

    @asynccontextmanager
    async def block():
        connection = await asyncpg.connect(database_url)
        try:
            async with connection.transaction():
                await connection.execute("LOCK TABLE callbacks IN ACCESS EXCLUSIVE MODE")
                yield
        finally:
            await connection.close()

    return block


@pytest.fixture
def impatient(open_edge):
    """An edge with two connections, both soon in use, and little patience with the database."""
    return partial(open_edge, database_pool_size=2, database_acquire_seconds=0.3, database_command_seconds=1)


async def test_with_the_pool_exhausted_kie_is_told_to_come_back_before_it_gives_up(
    impatient, sent, query, locked, stored
):
    async with impatient() as edge:
        async with locked():
            answers = await asyncio.gather(
                *(edge.post(claim("task-1", n=n), params=query(sent), timeout=KIE_GIVES_UP) for n in range(12))
            )
            alive = await edge.http.get("/healthz")
        after = await edge.post(claim("task-1"), params=query(sent))

    assert [(answer.status_code, answer.json()) for answer in answers] == [(503, COME_BACK)] * 12
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
    assert alive.status_code == 200
    assert after.status_code == 200
    assert await stored.count("callbacks") == 1


async def test_no_secret_is_written_to_a_log(impatient, sent, lost, query, locked, token, kie, capsys, caplog):
    """Not by any answer: good, refused, unknown, too large, away."""
    caplog.set_level("DEBUG")
    statuses = set()
    async with impatient() as edge:
        for headers in (signed("task-1"), signed("task-1", key="wrong"), signed("task-1", at=-3600), {}):
            for body in (claim("task-1"), claim("task-8", msg=token), b"{", b"{}", b" " * 70_000):
                for job in (sent, lost):
                    statuses.add((await edge.post(body, params=query(job), headers=headers)).status_code)
        async with locked():
            statuses.add((await edge.post(claim("task-1", n=1), params=query(sent))).status_code)

    said = "".join(capsys.readouterr()) + caplog.text
    assert statuses == {200, 400, 404, 413, 503}
    assert "callback_received" in said
    assert "callback_signature" in said
    for secret in (token, quote(token), HMAC_KEY, QUERY_KEY, signed("task-1")["X-Webhook-Signature"]):
        assert secret not in said
