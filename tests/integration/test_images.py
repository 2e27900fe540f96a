"""A local image becomes a URL: through the API, at the simulator's file host."""

import asyncio
import contextlib
import io
import math
import socket
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest
import uvicorn
from api_client import calling
from PIL import Image as Pillow
from prometheus_client import REGISTRY
from scripted_wire import ScriptedWire, reply
from structlog.testing import capture_logs

from reelgate_api.app import create_app
from reelgate_api.images import routes
from reelgate_api.settings import Settings
from reelgate_common import auth, keys
from reelgate_common.kie.answers import Generating, NotYet, Succeeded
from reelgate_common.kie.client import KieClient
from reelgate_simulator.config import Config
from reelgate_simulator.server import server_for

IMAGES, GENERATE = "/api/video/images", "/api/video/generate"
FIX = "send multipart/form-data with one part: the image, as a file named `file`"
SECRET = "kie-s3cret"


def picture(kind="PNG", size=(5, 3)):
    out = io.BytesIO()
    Pillow.radial_gradient("L").resize(size).convert("RGB").save(out, kind)
    return out.getvalue()


PNG = picture()


def form(content=PNG, *, field="file", name="cat.png", declared="image/png"):
    return {"files": {field: (name, content, declared)}}


def padded(size):
    """A PNG of exactly so many bytes."""
    return PNG + bytes(size - len(PNG))


def assert_problem(answer, status, code):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["code"], body["error"]) == (status, code, body["detail"])
    return body


@asynccontextmanager
async def serving(make_server):
    """Run a uvicorn server made for an address; the address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = make_server(base)
        server.capture_signals = contextlib.nullcontext  # the signals belong to pytest
        running = asyncio.create_task(server.serve(sockets=[listener]))
        async with asyncio.timeout(10):
            while not server.started:  # noqa: ASYNC110 -- uvicorn has no event for it
                await asyncio.sleep(0.01)
        yield base
        server.should_exit = True
        await running


@pytest.fixture
async def simulator():
    """Control of a running simulator; its address is `base_url`."""

    def make(base):
        config = Config(public_url=base, video_seconds=0.02, api_key=SECRET, callback_retries=0)
        return server_for(config, host="127.0.0.1", port=0)

    async with serving(make) as base, httpx.AsyncClient(base_url=base, trust_env=False) as http:
        yield http


@pytest.fixture
def configure(simulator):
    async def run(**knobs):
        (await simulator.post("/sim/config", json=knobs)).raise_for_status()

    return run


@pytest.fixture
def uploads(simulator):
    """How many files the file host has taken."""

    async def count():
        return (await simulator.get("/sim/stats")).json()["uploads"]

    return count


@pytest.fixture
def make_settings(database_url, simulator):
    def make(**overrides):
        values = {
            "database_url": database_url,
            "amqp_url": "amqp://guest:guest@127.0.0.1:9/",  # none: nothing here needs a broker
            "kie_ai_api_key": SECRET,
            "kie_ai_api_endpoint": str(simulator.base_url),
            "public_base_url": "http://localhost:3000",
            "max_image_bytes": 20_000,
        }
        return Settings(**values | overrides)

    return make


@pytest.fixture
def open_api(make_settings, make_key):
    """The app with its lifespan open, called with a good key; `vendor` answers in the place of Kie.ai."""

    @asynccontextmanager
    async def open_one(*, vendor=None, headers=None, **overrides):
        settings = make_settings(**overrides)
        app = create_app(settings)
        async with app.router.lifespan_context(app) as state:
            parts = state["parts"]
            if vendor:
                parts = replace(parts, kie=KieClient(ScriptedWire(vendor), settings))
            headers = await make_key() if headers is None else headers
            async with calling(app, parts, headers=headers) as client:
                yield client

    return open_one


@pytest.fixture
async def api(open_api):
    async with open_api() as client:
        yield client


@pytest.fixture
def make_key(cast):
    """A header that authorizes."""

    async def make(*, scopes=(auth.JOBS,), wallets=None):
        _, key = await cast(keys.create_key, "tests", scopes=scopes, wallets=wallets)
        return {"Authorization": f"Bearer {key}"}

    return make


# What is given and what comes back ------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "extension"), [("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp")])
async def test_an_image_becomes_a_url_that_brings_the_same_bytes(api, simulator, kind, extension):
    content, before = picture(kind, (7, 9)), datetime.now(UTC)

    answer = await api.post(IMAGES, **form(content, name="x.exe", declared="text/html"))

    assert answer.status_code == 201
    body = answer.json()
    assert body.keys() == {"url", "media_type", "size", "width", "height", "expires_at"}
    assert (body["media_type"], body["size"]) == (f"image/{kind.lower()}", len(content))
    assert (body["width"], body["height"]) == (7, 9)
    assert body["url"].endswith(f".{extension}")
    assert (
        timedelta(0) <= datetime.fromisoformat(body["expires_at"]) - timedelta(hours=24) - before < timedelta(hours=1)
    )
    stored = await simulator.get(body["url"])
    assert (stored.content, stored.headers["content-type"]) == (content, body["media_type"])


async def test_the_same_image_of_the_same_caller_keeps_its_url_and_no_other_has_it(api, make_key, configure):
    first, again = [(await api.post(IMAGES, **form(name=name))).json()["url"] for name in ("a.png", "b.png")]
    other = (await api.post(IMAGES, **form(), headers=await make_key())).json()["url"]
    another = (await api.post(IMAGES, **form(picture(size=(5, 4))))).json()["url"]

    assert first == again
    assert len({first, other, another}) == 3


async def test_in_open_mode_anyone_may_upload(open_api):
    async with open_api(auth_mode="open", headers={}) as api:
        assert (await api.post(IMAGES, **form())).status_code == 201


async def test_an_uploaded_image_makes_a_video(open_api, make_settings, simulator, fund, stored, eventually):
    await fund()
    async with open_api() as api, KieClient.open(make_settings()) as kie:
        url = (await api.post(IMAGES, **form())).json()["url"]
        asked = {"wallet_address": "wallet", "prompt": "A cat", "image_urls": [url]}
        accepted = await api.post(GENERATE, json=asked)
        assert accepted.status_code == 202, accepted.text
        job = await stored.job(UUID(accepted.json()["job_id"]))
        sent = await kie.generate(job, callback_url="http://127.0.0.1:1/", send_before=math.inf)

        async def over():
            info = await kie.record_info(sent.task_id)
            return None if isinstance(info, Generating | NotYet) else info

        assert isinstance(await eventually(over), Succeeded)


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("http://127.0.0.1:9", "http://127.0.0.1:9/a.png"),
        ("http://127.0.0.1:80", "http://127.0.0.1/a.png"),
        ("http://files.localhost", "HTTP://FILES.localhost:80/a.png"),
        ("https://10.0.0.7", "https://10.0.0.7:443/a.png?x=1"),
    ],
)
async def test_a_url_on_the_file_host_may_be_private(open_api, fund, host, shown):
    await fund()
    async with open_api(kie_file_endpoint=host) as api:
        answer = await api.post(GENERATE, json={"wallet_address": "wallet", "image_urls": [shown]})

    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:10/a.png",
        "https://127.0.0.1:9/a.png",
        "http://127.0.0.2:9/a.png",
        "http://127.1:9/a.png",
        "http://localhost:9/a.png",
        "http://127.0.0.1/a.png",
        "http://10.0.0.7:9/http://127.0.0.1:9/",
    ],
)
async def test_every_other_private_address_is_still_refused_by_name(open_api, fund, stored, url):
    await fund()
    async with open_api(kie_file_endpoint="http://127.0.0.1:9") as api:
        asked = {"wallet_address": "wallet", "image_urls": ["https://images.example/1.png", url]}
        body = assert_problem(await api.post(GENERATE, json=asked), 400, "invalid_input")

    assert body["field"] == "image_urls[1]"
    assert body["error"] == "image_urls must be public: Kie.ai cannot fetch from a private or local address"
    assert await stored.count("video_jobs") == 0


# What is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<html></html>", picture("GIF"), b" " + PNG],
)
async def test_what_is_no_image_is_400_whatever_it_is_called(api, uploads, content):
    body = assert_problem(await api.post(IMAGES, **form(content)), 400, "invalid_input")

    assert (body["field"], body["error"]) == ("file", "file must be a JPEG, PNG or WebP image: its bytes are not")
    assert await uploads() == 0


@pytest.mark.parametrize("content", [PNG[:-1], PNG[:40], picture("JPEG")[:-2], picture("WEBP")[:-1]])
async def test_half_an_image_is_400(api, uploads, content):
    body = assert_problem(await api.post(IMAGES, **form(content)), 400, "invalid_input")

    assert body["field"] == "file"
    assert body["error"].endswith("cut short or damaged: save or send it again")
    assert await uploads() == 0


BOUNDARY = {"Content-Type": "multipart/form-data; boundary=b"}
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n' + PNG


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"json": {"file": "cat.png"}},
        {"data": {"file": "cat.png"}},
        {"content": PNG, "headers": {"Content-Type": "image/png"}},
        {"files": {"file": (None, PNG)}},
        form(field="image"),
        form(field="File"),
        {"files": [("file", PNG), ("file", PNG)]},
        {"files": [("file", PNG), ("other", PNG)]},
        {"files": {"file": PNG}, "data": {"note": "mine"}},
        {"content": b"", "headers": BOUNDARY},
        {"content": b"--b--\r\n", "headers": BOUNDARY},
        {"content": PART, "headers": BOUNDARY},
        {"content": PART + b"\r\n--c--\r\n", "headers": BOUNDARY},
        {"content": b"garbage" * 99, "headers": BOUNDARY},
        {"content": b"--b\r\n\r\nx\r\n--b--\r\n", "headers": BOUNDARY},
        {"content": b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", "headers": BOUNDARY},
        {"content": b"--b\r\n" + b"a: b\r\n" * 2000 + b"\r\nx\r\n--b--\r\n", "headers": BOUNDARY},
        {"content": PART + b"\r\n--b--\r\n", "headers": {"Content-Type": "multipart/form-data"}},
        {"content": PART + b"\r\n--b--\r\n", "headers": {"Content-Type": "multipart/form-data; boundary="}},
        {"content": PART + b"\r\n--b--\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=" + "b" * 999}},
        {"content": PART + b"\r\n--b--\r\n", "headers": {"Content-Type": "multipart/formdata; boundary=b"}},
    ],
)
async def test_a_form_without_exactly_the_part_file_is_400_saying_how(api, uploads, request_):
    body = assert_problem(await api.post(IMAGES, **request_), 400, "invalid_input")

    assert body["field"] == "file"
    assert body["error"] in {f"file required: {FIX}", f"The form cannot be read: {FIX}"}
    assert await uploads() == 0


@pytest.mark.parametrize("charset", ["undefined", "idna", "punycode", "rot13", "base64", "utf-16", "nonsense", ""])
async def test_a_strange_charset_breaks_nothing(api, charset):
    headers = {"Content-Type": f"multipart/form-data; boundary=b; charset={charset}"}

    answer = await api.post(IMAGES, content=PART + b"\r\n--b--\r\n", headers=headers)

    assert answer.status_code in {201, 400}, answer.text


async def test_a_name_may_be_anything(api):
    for name in ("../../etc/passwd", "a\x00b", "ä" * 200, '"; rm -rf', "a\r\nb"):
        assert (await api.post(IMAGES, **form(name=name))).status_code == 201


@pytest.mark.parametrize(("over", "status"), [(0, 201), (1, 413), (16_000, 413), (17_000, 413), (10**6, 413)])
async def test_the_limit_is_exact(api, uploads, over, status):
    answer = await api.post(IMAGES, **form(padded(20_000 + over)))

    assert answer.status_code == status, answer.text
    assert await uploads() == (1 if status == 201 else 0)


async def test_one_byte_too_many_names_field_and_limit(api):
    body = assert_problem(await api.post(IMAGES, **form(padded(20_001))), 413, "too_large")

    assert (body["field"], body["error"]) == ("file", "file must be at most 20000 bytes")


class Sender:
    """A body sent in pieces, without or with a false length, that knows how much of it was taken."""

    def __init__(self, content, *, piece=1000):
        self.pieces = [content[at : at + piece] for at in range(0, len(content), piece)]
        self.taken = 0

    async def __aiter__(self):
        for piece in self.pieces:
            self.taken += 1
            yield piece


@pytest.mark.parametrize("length", [{}, {"Content-Length": "100"}])
async def test_a_body_that_grows_too_large_is_413_and_read_no_further(api, uploads, length):
    sender = Sender(PART + bytes(10**6))

    answer = await api.post(IMAGES, content=sender, headers=BOUNDARY | length)

    assert_problem(answer, 413, "too_large")
    assert answer.headers["connection"] == "close"
    assert sender.taken <= 20_000 // 1000 + 18
    assert await uploads() == 0


async def test_a_body_announced_too_large_is_413_unread(api):
    sender = Sender(PART)

    answer = await api.post(IMAGES, content=sender, headers=BOUNDARY | {"Content-Length": "1000000"})

    assert_problem(answer, 413, "too_large")
    assert sender.taken == 0


async def test_a_form_of_many_parts_is_given_up_after_a_few(api):
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n\r\n'
    sender = Sender(part * 100)

    answer = await api.post(IMAGES, content=sender, headers=BOUNDARY)

    assert_problem(answer, 400, "invalid_input")
    assert sender.taken < len(sender.pieces) / 2


async def test_an_image_in_pieces_without_a_length_is_taken(api):
    answer = await api.post(IMAGES, content=Sender(PART + b"\r\n--b--\r\n", piece=7), headers=BOUNDARY)

    assert answer.status_code == 201


@pytest.mark.parametrize("path", [GENERATE, "/api/video/manual-callback", f"{IMAGES}/", f"{IMAGES}/x", "/api/x"])
async def test_no_other_path_takes_that_much(open_api, path):
    async with open_api(max_body_bytes=1024, max_image_bytes=10**6) as api:
        assert_problem(await api.post(path, **form(padded(2000))), 413, "too_large")


async def test_a_slow_sender_gives_its_place_back(api, monkeypatch):
    monkeypatch.setattr(routes, "_READ_SECONDS", 0.05)

    async def stuck():
        yield PART
        await asyncio.Event().wait()

    answer = await api.post(IMAGES, content=stuck(), headers=BOUNDARY)

    assert_problem(answer, 408, "timeout")
    assert answer.headers["connection"] == "close"
    assert (await api.post(IMAGES, **form())).status_code == 201


# Who may call ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x", "Basic abc", "Bearer rg_live_" + "0" * 64])
async def test_nothing_is_read_for_a_caller_who_is_not_known(open_api, uploads, header):
    sender = Sender(PART)
    async with open_api(headers={"Authorization": header}) as api:
        answer = await api.post(IMAGES, content=sender, headers=BOUNDARY)

    assert_problem(answer, 401, "unauthorized")
    assert (sender.taken, answer.headers["connection"]) == (0, "close")


async def test_nothing_is_read_for_a_key_without_the_scope(open_api, make_key):
    sender = Sender(PART)
    async with open_api(headers=await make_key(scopes=(auth.READ,))) as api:
        assert_problem(await api.post(IMAGES, content=sender, headers=BOUNDARY), 403, "forbidden")

    assert sender.taken == 0


@pytest.mark.parametrize(("is_known", "status"), [(False, b"401"), (True, b"413")])
async def test_on_the_wire_the_connection_of_an_endless_body_is_ended(make_settings, make_key, is_known, status):
    def make(_):
        app = create_app(make_settings())
        return uvicorn.Server(uvicorn.Config(app, http="httptools", log_config=None, access_log=False))

    key = (await make_key())["Authorization"] if is_known else "none"
    async with serving(make) as base, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(base.rpartition(":")[2]))
        writer.write(
            f"POST {IMAGES} HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\nTransfer-Encoding: chunked\r\n"
            f"Content-Type: multipart/form-data; boundary=b\r\n\r\n".encode()
            + b"%x\r\n%b\r\n" % (len(PART), PART)
            + b"%x\r\n%b\r\n" % (40_000, bytes(40_000))
        )
        answer = await reader.read()  # to the end of the connection, which the body never has
        writer.close()

    assert answer.startswith(b"HTTP/1.1 " + status)


# When the file host is in trouble -------------------------------------------------------------------


def counted(outcome):
    labels = {"call": "file-stream-upload", "kind": outcome}
    return REGISTRY.get_sample_value("reelgate_vendor_answers_total", labels) or 0


@pytest.mark.parametrize(
    ("knobs", "outcome"),
    [
        ({"api_key": "another"}, "blocked"),
        ({"outage_http_status": 403}, "blocked"),
        ({"outage_http_status": 503}, "unknown"),
        ({"outage_http_status": 429}, "throttled"),
    ],
)
async def test_trouble_at_the_host_is_503_logged_and_counted(api, configure, knobs, outcome):
    await configure(**knobs)
    before = counted(outcome)

    with capture_logs() as logs:
        answer = await api.post(IMAGES, **form())

    assert_problem(answer, 503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["error"] == "Temporarily unavailable: try again"
    [line] = [line for line in logs if line["event"] == "image_not_handed_over"]
    assert line["outcome"] == outcome
    assert counted(outcome) == before + 1


async def test_a_host_that_is_away_is_503(open_api, unused_tcp_port):
    async with open_api(kie_file_endpoint=f"http://127.0.0.1:{unused_tcp_port}") as api:
        answer = await api.post(IMAGES, **form())

    assert_problem(answer, 503, "unavailable")
    assert str(unused_tcp_port) not in answer.text


async def test_a_host_that_never_answers_is_503(open_api):
    async def silent(_):
        await asyncio.Event().wait()

    async with open_api(vendor=silent, kie_upload_timeout_seconds=0.05) as api:
        assert_problem(await api.post(IMAGES, **form()), 503, "unavailable")


async def test_a_repeat_after_an_unknown_end_takes_the_same_name(open_api):
    names = []

    def broken(request):
        names.append(request.body.split(b'name="fileName"\r\n\r\n')[1].split(b"\r\n")[0])
        return reply("<html>", status=502)

    async with open_api(vendor=broken) as api:
        for _ in range(2):
            assert_problem(await api.post(IMAGES, **form()), 503, "unavailable")

    assert len(names) == 2
    assert len(set(names)) == 1


async def test_an_image_the_host_refuses_is_400_with_its_sentence(api, configure):
    await configure(upload_max_bytes=10)

    body = assert_problem(await api.post(IMAGES, **form()), 400, "invalid_input")

    assert (body["field"], body["error"]) == ("file", "Kie.ai does not take this image: The file is too large.")


async def test_the_vendors_sentence_brings_no_key_and_no_address_along(open_api):
    sentence = f"Bearer {SECRET} with {SECRET} failed at http://10.0.0.5:9000/bucket?token=t0ken of key {SECRET}"

    async with open_api(vendor=lambda _: reply({"code": 400, "msg": sentence})) as api:
        with capture_logs() as logs:
            answer = await api.post(IMAGES, **form())

    assert_problem(answer, 400, "invalid_input")
    assert "failed at" in answer.text
    assert not any(word in answer.text for word in (SECRET, "10.0.0.5", "t0ken"))
    assert SECRET not in str(logs)


async def test_when_all_places_are_taken_the_next_is_told_to_come_again_unread(open_api):
    arrived, go = asyncio.Semaphore(0), asyncio.Event()

    async def slow(_):
        arrived.release()
        await go.wait()
        return reply({"code": 200, "data": {"downloadUrl": "https://files.example/a.png"}})

    sender = Sender(PART)
    async with open_api(vendor=slow) as api, asyncio.timeout(30):
        held = [asyncio.create_task(api.post(IMAGES, **form())) for _ in range(8)]
        for _ in held:
            await arrived.acquire()
        ninth = await api.post(IMAGES, content=sender, headers=BOUNDARY)
        go.set()
        answers = await asyncio.gather(*held)
        tenth = await api.post(IMAGES, **form())

    assert_problem(ninth, 503, "unavailable")
    assert (sender.taken, "retry-after" in ninth.headers) == (0, True)
    assert {answer.status_code for answer in [*answers, tenth]} == {201}
