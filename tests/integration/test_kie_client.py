"""The client of Kie.ai against a real socket that misbehaves: what is known of a send afterwards."""

import asyncio
import gzip
import json
import socket
import time
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import structlog

from reelgate_common.domain.job import Job, JobStatus
from reelgate_common.kie.answers import NotYet, Succeeded
from reelgate_common.kie.client import KieClient
from reelgate_common.kie.requests import Extension
from reelgate_common.settings import KieSettings

KEY = "kie-s3cret-key"
CALLBACK = "https://gateway.example/cb?attempt=1&token=t0ken"
TASK = {"code": 200, "msg": "success", "data": {"taskId": "0819326cc7fddfd620baf6e1f0db7e2b"}}


def answer(body, *, status="200 OK", length=None, kind="application/json"):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(raw) if length is None else length}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + raw


class Server:
    """A vendor of bytes: keeps requests, and does with each connection what `behave` says."""

    def __init__(self):
        self.requests = []
        self.behave = self.say(answer(TASK))

    def say(self, raw):
        async def behave(writer):
            writer.write(raw)
            await writer.drain()

        return behave

    async def reset(self, writer):
        writer.transport.abort()

    async def silence(self, writer):
        await asyncio.Event().wait()

    async def endless(self, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while True:
            writer.write(b" " * 65536)
            await writer.drain()

    async def dribble(self, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    async def serve(self, reader, writer):
        first = await reader.readexactly(1)
        if first not in b"GP":  # a TLS handshake
            return
        head = first + await reader.readuntil(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0)
        self.requests.append((head.decode(), await reader.readexactly(length)))
        await self.behave(writer)


@pytest.fixture
async def server():
    """One loopback server; its address is in `url`."""
    made = Server()
    serving = set()

    async def serve(reader, writer):
        task = asyncio.create_task(made.serve(reader, writer))
        serving.add(task)
        await asyncio.wait({task})
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        made.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield made
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


@pytest.fixture
def full_port():
    """A port that takes no more connections, and does not say so."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


@pytest.fixture
def open_client():
    @asynccontextmanager
    async def open_one(url, **overrides):
        values = {"kie_ai_api_key": KEY, "kie_ai_api_endpoint": url, "kie_send_timeout_seconds": 5}
        async with KieClient.open(KieSettings(**values | overrides)) as client:
            yield client

    return open_one


@pytest.fixture
async def client(open_client, server):
    async with open_client(server.url) as opened:
        yield opened


@pytest.fixture
def job(make_request):
    asked = make_request(watermark="me")
    values = dict.fromkeys(Job.__dataclass_fields__) | {
        name: getattr(asked, name) for name in asked.__dataclass_fields__.keys() & Job.__dataclass_fields__.keys()
    }
    now = datetime.now(UTC)
    values |= {"id": uuid4(), "status": JobStatus.SUBMITTING, "created_at": now, "image_urls": list(asked.image_urls)}
    return Job(**values)


async def send(client, job, *, within=60.0):
    return await client.generate(job, callback_url=CALLBACK, send_before=time.monotonic() + within)


async def test_an_accepted_job_brings_its_task_id(client, job):
    sent = await send(client, job)

    assert (sent.outcome, sent.task_id) == ("accepted", TASK["data"]["taskId"])


async def test_the_vendor_is_sent_what_was_asked_for(client, job, server):
    await send(client, job)

    [(head, body)] = server.requests
    assert head.startswith("POST /api/v1/veo/generate HTTP/1.1\r\n")
    assert f"authorization: bearer {KEY}" in head.lower()
    assert "user-agent: mozilla" in head.lower()
    assert "accept-encoding: gzip, deflate\r\n" in head.lower()
    assert json.loads(body) == {
        "prompt": job.prompt,
        "imageUrls": job.image_urls,
        "model": "veo3_fast",
        "generationType": "REFERENCE_2_VIDEO",
        "aspect_ratio": "16:9",
        "resolution": "720p",
        "duration": 8,
        "watermark": "me",
        "enableTranslation": True,
        "callBackUrl": CALLBACK,
    }


async def test_a_compressed_answer_is_read(client, job, server):
    packed = answer(gzip.compress(json.dumps(TASK).encode()))
    server.behave = server.say(packed.replace(b"Connection", b"Content-Encoding: gzip\r\nConnection"))

    assert (await send(client, job)).task_id == TASK["data"]["taskId"]


async def test_seeds_and_translation_are_sent_as_asked_for(client, job, server):
    await send(client, replace(job, seeds=12345, enable_translation=False))

    body = json.loads(server.requests[0][1])
    assert (body["seeds"], body["enableTranslation"]) == (12345, False)


@pytest.mark.parametrize(("model", "word"), [("veo3_fast", "fast"), ("veo3", "quality"), ("veo3_lite", "lite")])
async def test_an_extension_is_sent_in_the_words_of_its_own_endpoint(client, server, model, word):
    extension = Extension(task_id="task", prompt="and then", model=model, seeds=10_000, watermark="me")
    sent = await client.extend(extension, callback_url=CALLBACK, send_before=time.monotonic() + 60)

    assert (sent.outcome, sent.task_id) == ("accepted", TASK["data"]["taskId"])
    [(head, body)] = server.requests
    assert head.startswith("POST /api/v1/veo/extend HTTP/1.1\r\n")
    assert json.loads(body) == {
        "taskId": "task",
        "prompt": "and then",
        "model": word,
        "seeds": 10_000,
        "watermark": "me",
        "callBackUrl": CALLBACK,
    }


async def test_what_was_not_asked_for_is_not_sent(client, server):
    await client.extend(Extension(task_id="t", prompt="p"), callback_url=CALLBACK, send_before=time.monotonic() + 60)
    await client.upgrade_4k("t")

    bodies = [json.loads(body) for _, body in server.requests]
    assert bodies == [
        {"taskId": "t", "prompt": "p", "model": "fast", "callBackUrl": CALLBACK},
        {"taskId": "t", "index": 0},
    ]


# Every call but generate, which has its own tests above, and record-info below.
OTHERS = {
    "extend": lambda client, end: client.extend(
        Extension(task_id="t", prompt="p"), callback_url=CALLBACK, send_before=end
    ),
    "get-1080p-video": lambda client, end: client.upgrade_1080p("a&b", send_before=end),
    "get-4k-video": lambda client, end: client.upgrade_4k("t", callback_url=CALLBACK, send_before=end),
    "credit": lambda client, _: client.balance(),
    "download-url": lambda client, _: client.download_link("https://tempfile.aiquickdraw.com/p/a.mp4"),
    "file-stream-upload": lambda client, _: client.upload(b"\r\n", path="p", name="n.png", media_type="image/png"),
    "file-base64-upload": lambda client, _: client.upload_base64(b"x", path="p", name="n", media_type="image/png"),
    "file-url-upload": lambda client, _: client.upload_from("https://x/y.png", path="p", name="n"),
}
PAID = ["extend", "get-1080p-video", "get-4k-video"]
each_other = pytest.mark.parametrize("call", OTHERS)


async def make(client, call, *, within=60.0):
    return await OTHERS[call](client, time.monotonic() + within)


@each_other
async def test_every_call_goes_to_its_own_path_with_the_key(client, server, call):
    await make(client, call)

    [(head, _)] = server.requests
    assert head.split()[1].partition("?")[0].rpartition("/")[2] == call
    assert f"authorization: bearer {KEY}" in head.lower()


@each_other
@pytest.mark.parametrize("behaviour", ["silence", "dribble", "reset", "endless"])
async def test_a_break_after_the_request_was_written_is_unknown_for_every_call(open_client, server, call, behaviour):
    server.behave = getattr(server, behaviour)
    short = dict.fromkeys(("kie_send_timeout_seconds", "kie_query_timeout_seconds", "kie_upload_timeout_seconds"), 0.4)

    async with open_client(server.url, **short) as client:
        answer = await make(client, call)

    assert answer.outcome == "unknown"
    assert len(server.requests) == 1


@each_other
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"garbage that is no HTTP\r\n\r\n",
        answer(b"<html>502</html>", status="502 Bad Gateway", kind="text/html"),
        answer(b'{"code":200,"data":{"taskId":"a', length=500),
        answer(b"{}"),
        answer({"code": 200, "msg": "success", "data": None}),
    ],
    ids=["nothing", "no-http", "html", "cut-body", "empty-object", "no-data"],
)
async def test_an_unreadable_answer_is_unknown_for_every_call_and_nothing_is_repeated(client, server, call, raw):
    server.behave = server.say(raw)

    assert (await make(client, call)).outcome == "unknown"
    assert len(server.requests) == 1


@each_other
async def test_a_vendor_that_is_away_was_sent_nothing(open_client, unused_tcp_port, call):
    async with open_client(f"http://127.0.0.1:{unused_tcp_port}") as client:
        assert (await make(client, call)).outcome == "not_sent"


async def test_a_vendor_that_goes_away_with_a_kept_connection_may_have_read_what_was_written(open_client):
    """To ask once more, as aiohttp would for a GET, fails; the request was written all the same."""
    requests, listening = [], None

    async def serve(reader, writer):
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer({"code": 429, "msg": "said so"}).replace(b"Connection: close\r\n", b""))
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        listening.close()
        writer.transport.abort()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with open_client(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}") as client:
        outcomes = [(await make(client, "get-1080p-video")).outcome for _ in range(2)]

    assert outcomes == ["throttled", "unknown"]
    assert len(requests) == 2


@pytest.mark.parametrize("call", PAID)
async def test_past_its_time_nothing_that_costs_is_sent(client, server, call):
    assert (await make(client, call, within=-0.001)).outcome == "not_sent"
    assert server.requests == []


@each_other
async def test_a_throttle_and_a_bad_key_are_told_apart_for_every_call(client, server, call):
    outcomes = []
    for code in (429, 401):
        server.behave = server.say(answer({"code": code, "msg": "said so", "data": None}))
        outcomes.append((await make(client, call)).outcome)

    assert outcomes == ["throttled", "blocked"]


@each_other
async def test_secrets_a_vendor_quotes_are_blanked(client, server, call):
    told = f"No: Authorization was Bearer {KEY}, key {KEY}, callBackUrl {CALLBACK}"
    server.behave = server.say(answer({"code": 422, "msg": told, "data": None}))

    message = (await make(client, call)).message

    assert message.startswith("No: Authorization was")
    assert KEY not in message
    assert "t0ken" not in message


async def test_secrets_are_blanked_in_what_a_send_says_too(client, server, job):
    server.behave = server.say(answer({"code": 422, "msg": f"{KEY} {CALLBACK}", "data": None}))

    sent = await send(client, job)

    assert sent.outcome == "refused"
    assert KEY not in sent.message
    assert "t0ken" not in sent.message


@pytest.mark.parametrize("call", ["get-1080p-video", "get-4k-video"])
async def test_an_upgrade_on_a_host_the_operator_does_not_take_is_not_given(open_client, server, call):
    data = {"taskId": "t", "resultUrl": "https://evil.example/a.mp4", "resultUrls": ["https://evil.example/a.mp4"]}
    server.behave = server.say(answer({"code": 200, "msg": "success", "data": data}))

    async with open_client(server.url, result_url_hosts="tempfile.aiquickdraw.com") as client:
        assert (await make(client, call)).video_url is None


async def test_files_go_to_their_own_host_with_every_byte(open_client, server):
    content = bytes(range(256)) + b"\r\n--boundary--\r\n"

    async with open_client("http://127.0.0.1:1", kie_file_endpoint=server.url) as client:
        await client.upload(content, path="images", name='c"at.png', media_type="image/png")

    [(head, body)] = server.requests
    assert head.startswith("POST /api/file-stream-upload HTTP/1.1\r\n")
    assert content in body
    assert b'name="uploadPath"\r\n\r\nimages\r\n' in body
    assert b'filename="c%22at.png"\r\nContent-Type: image/png\r\n' in body


@pytest.mark.parametrize(
    ("endpoint", "given", "expected"),
    [
        ("https://api.kie.ai", None, "https://kieai.redpandaai.co"),
        ("https://api.kie.ai/", None, "https://kieai.redpandaai.co"),
        ("http://127.0.0.1:8090", None, "http://127.0.0.1:8090"),
        ("http://127.0.0.1:8090", "https://files.example/", "https://files.example"),
    ],
)
def test_files_for_a_stand_in_never_go_to_the_vendor_by_default(endpoint, given, expected):
    values = {"kie_ai_api_key": KEY, "kie_ai_api_endpoint": endpoint} | ({"kie_file_endpoint": given} if given else {})

    assert KieSettings(**values).file_endpoint == expected


async def test_a_refused_connection_was_not_sent(open_client, job, unused_tcp_port):
    async with open_client(f"http://127.0.0.1:{unused_tcp_port}") as client:
        assert (await send(client, job)).outcome == "not_sent"


async def test_a_name_that_does_not_resolve_was_not_sent(open_client, job):
    async with open_client("http://no-such-host.invalid") as client:
        assert (await send(client, job)).outcome == "not_sent"


async def test_a_failed_tls_handshake_was_not_sent(open_client, server, job):
    async with open_client(server.url.replace("http:", "https:")) as client:
        assert (await send(client, job)).outcome == "not_sent"

    assert server.requests == []


async def test_a_connection_that_is_never_made_was_not_sent(open_client, full_port, job):
    async with open_client(f"http://127.0.0.1:{full_port}", kie_send_timeout_seconds=0.3) as client:
        assert (await send(client, job)).outcome == "not_sent"


@pytest.mark.parametrize("behaviour", ["silence", "dribble", "reset", "endless"])
async def test_after_the_request_was_written_every_break_is_unknown(open_client, server, job, behaviour):
    server.behave = getattr(server, behaviour)

    async with open_client(server.url, kie_send_timeout_seconds=0.4) as client:
        sent = await send(client, job)

    assert sent.outcome == "unknown"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"garbage that is no HTTP\r\n\r\n",
        answer(b'{"code":200,"data":{"taskId":"a', length=500),
        answer(b"not gzip").replace(b"Connection", b"Content-Encoding: gzip\r\nConnection"),
        answer(b"<html>502</html>", status="502 Bad Gateway", kind="text/html"),
        answer(b"{}", status="302 Found").replace(b"Connection", b"Location: https://evil.example/\r\nConnection"),
        answer(b"", status="204 No Content"),
    ],
    ids=["nothing", "half-a-head", "no-http", "cut-body", "bad-gzip", "html", "redirect", "no-content"],
)
async def test_an_unreadable_answer_is_unknown_and_the_request_is_not_repeated(client, server, job, raw):
    server.behave = server.say(raw)

    sent = await send(client, job)

    assert sent.outcome == "unknown"
    assert len(server.requests) == 1


async def test_a_huge_answer_is_not_read_to_its_end(client, server, job):
    server.behave = server.endless

    sent = await send(client, job)

    assert (sent.outcome, sent.task_id) == ("unknown", None)
    assert sent.message == "AnswerTooLong after the request was written"


async def test_past_its_time_nothing_is_sent(client, server, job):
    sent = await send(client, job, within=-0.001)

    assert sent.outcome == "not_sent"
    assert server.requests == []


async def test_a_client_goes_on_after_a_send_that_was_too_late(client, job):
    await send(client, job, within=-1)

    assert (await send(client, job)).outcome == "accepted"


@pytest.mark.parametrize("behaviour", ["reset", "silence", "endless"])
async def test_the_api_key_and_the_callback_token_show_nowhere(open_client, server, job, behaviour):
    server.behave = getattr(server, behaviour)

    with structlog.testing.capture_logs() as logs:
        async with open_client(server.url, kie_send_timeout_seconds=0.3, kie_query_timeout_seconds=0.3) as client:
            seen = f"{await send(client, job)} {await client.record_info('task')} {client._settings!r} {logs}"

    assert KEY not in seen
    assert "t0ken" not in seen


async def test_a_task_is_asked_about_by_its_id(client, server):
    data = {"successFlag": 1, "response": {"resultUrls": ["https://x/y.mp4"]}}
    server.behave = server.say(answer({"code": 200, "msg": "success", "data": data}))

    info = await client.record_info("a&b=c/../%")

    assert isinstance(info, Succeeded)
    assert server.requests[0][0].startswith("GET /api/v1/veo/record-info?taskId=a%26b%3Dc%2F..%2F%25 HTTP/1.1\r\n")


@pytest.mark.parametrize("behaviour", ["reset", "silence", "dribble", "endless"])
async def test_a_vendor_that_breaks_off_says_nothing_about_a_task(open_client, server, behaviour):
    server.behave = getattr(server, behaviour)

    async with open_client(server.url, kie_query_timeout_seconds=0.3) as client:
        assert isinstance(await client.record_info("task"), NotYet)


@pytest.mark.parametrize("raw", [b"", b"garbage\r\n\r\n", answer(b"<html>"), answer(b"{}", status="500 Oops")])
async def test_garbage_says_nothing_about_a_task(client, server, raw):
    server.behave = server.say(raw)

    assert isinstance(await client.record_info("task"), NotYet)


async def test_a_vendor_that_is_away_says_nothing_about_a_task(open_client, unused_tcp_port):
    async with open_client(f"http://127.0.0.1:{unused_tcp_port}") as client:
        assert isinstance(await client.record_info("task"), NotYet)
