"""The client of Kie.ai against the simulator over real HTTP: what works here works against the vendor."""

import asyncio
import contextlib
import json
import math
import socket
import time
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest

from reelgate_common.domain.job import Job, JobStatus
from reelgate_common.kie.answers import Empty, Failed, Generating, NotYet, Succeeded
from reelgate_common.kie.client import KieClient
from reelgate_common.kie.requests import Extension
from reelgate_common.settings import KieSettings
from reelgate_simulator.config import Config
from reelgate_simulator.server import server_for

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
CALLBACK = "http://127.0.0.1:1/cb?token=t0ken"
IMAGE = "https://images.example/cat.png"
TEXT, FRAMES, REFERENCE = "TEXT_2_VIDEO", "FIRST_AND_LAST_FRAMES_2_VIDEO", "REFERENCE_2_VIDEO"


@pytest.fixture
async def simulator():
    """Control of a running simulator; its address is `base_url`."""
    # asyncio turns Nagle's delay off only for sockets that name their protocol.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = Config(public_url=base, video_seconds=0.02, api_key="key", callback_retries=0, submit_timeout_seconds=0.1)
    server = server_for(config, host="127.0.0.1", port=0)
    server.capture_signals = contextlib.nullcontext  # the signals belong to pytest
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    async with httpx.AsyncClient(base_url=base, trust_env=False) as http:
        await until(lambda: asyncio.sleep(0, server.started), bool)
        yield http
    server.should_exit = True
    await serving


@pytest.fixture
async def client(simulator):
    settings = KieSettings(
        kie_ai_api_key="key", kie_ai_api_endpoint=str(simulator.base_url), kie_send_timeout_seconds=20
    )
    async with KieClient.open(settings) as opened:
        yield opened


@pytest.fixture
def make_job(make_request):
    def make(**overrides):
        asked = make_request(**overrides)
        values = dict.fromkeys(Job.__dataclass_fields__) | {
            name: getattr(asked, name) for name in asked.__dataclass_fields__.keys() & Job.__dataclass_fields__.keys()
        }
        values |= {"id": uuid4(), "status": JobStatus.SUBMITTING, "created_at": datetime.now(UTC)}
        return Job(**values | {"image_urls": list(asked.image_urls)})

    return make


@pytest.fixture
def generate(client, make_job):
    async def send(prompt="A cat", **overrides):
        job = make_job(prompt=prompt, **overrides)
        return await client.generate(job, callback_url=CALLBACK, send_before=math.inf)

    return send


@pytest.fixture
def finished(client, generate):
    """The task id of a finished video."""

    async def finish(prompt="A cat", **overrides):
        sent = await generate(prompt, **overrides)
        assert sent.outcome == "accepted", sent
        await until(lambda: client.record_info(sent.task_id), lambda info: not isinstance(info, Generating | NotYet))
        return sent.task_id

    return finish


async def until(ask, is_there):
    """Ask again until the answer is the one waited for."""
    end = time.monotonic() + 30
    while not is_there(answer := await ask()):
        assert time.monotonic() < end, answer
        await asyncio.sleep(0.02)
    return answer


async def configure(simulator, **knobs):
    (await simulator.post("/sim/config", json=knobs)).raise_for_status()


async def stats(simulator):
    return (await simulator.get("/sim/stats")).json()


async def echoed(simulator, task_id):
    """What the vendor understood, as record-info echoes it."""
    answer = await simulator.get(
        "/api/v1/veo/record-info", params={"taskId": task_id}, headers={"Authorization": "Bearer key"}
    )
    return json.loads(answer.json()["data"]["paramJson"])


@pytest.mark.parametrize(
    ("kind", "model", "images", "duration"),
    [
        (TEXT, "veo3", 0, 4),
        (TEXT, "veo3_lite", 0, 6),
        (FRAMES, "veo3", 1, 8),
        (FRAMES, "veo3_fast", 2, 4),
        (REFERENCE, "veo3_fast", 1, 8),
        (REFERENCE, "veo3_lite", 3, 8),
    ],
)
@pytest.mark.parametrize(("ratio", "resolution"), [("16:9", "720p"), ("9:16", "1080p"), ("Auto", "4k")])
async def test_every_kind_of_video_is_understood_as_it_was_meant(
    simulator, generate, kind, model, images, duration, ratio, resolution
):
    sent = await generate(
        generation_type=kind,
        model=model,
        image_urls=(IMAGE,) * images,
        duration=duration,
        aspect_ratio=ratio,
        resolution=resolution,
        watermark="me",
        seeds=12345,
        enable_translation=False,
    )

    assert sent.outcome == "accepted"
    assert await echoed(simulator, sent.task_id) == {
        "prompt": "A cat",
        "generationType": kind,
        "model": model,
        "duration": duration,
        "aspectRatio": ratio,
        "resolution": resolution,
        "waterMark": "me",
        "seeds": 12345,
        "enableTranslation": False,
        "enableFallback": False,
        "callBackUrl": CALLBACK,
    } | ({"imageUrls": [IMAGE] * images} if images else {})


@pytest.mark.parametrize(
    ("word", "outcome"),
    [
        *[(f"sim:refuse-{code}", "refused") for code in (400, 422, 451, 501, 505)],
        *[(f"sim:refuse-{code}", "blocked") for code in (401, 402, 404, 433, 455)],
        ("sim:refuse-402-as-500", "blocked"),
        ("sim:refuse-500", "unknown"),
        ("sim:http-403-1010", "blocked"),
        ("sim:http-408", "unknown"),
        ("sim:throttle", "throttled"),
        ("sim:throttle-430", "throttled"),
        ("sim:submit-500", "unknown"),
        ("sim:submit-502-html", "unknown"),
        ("sim:submit-garbage", "unknown"),
        ("sim:submit-timeout", "unknown"),
        ("sim:submit-reset", "unknown"),
        ("sim:submit-drop", "unknown"),
        ("sim:no-task-id", "unknown"),
        ("sim:early-callback", "accepted"),
    ],
)
async def test_every_answer_to_a_send_and_to_an_extension_is_told_apart(client, generate, finished, word, outcome):
    source = await finished()

    sent = await generate(word)
    extended = await client.extend(
        Extension(task_id=source, prompt=f"on {word}"), callback_url=CALLBACK, send_before=math.inf
    )

    assert sent.outcome == outcome
    assert extended.outcome == ("refused" if word == "sim:refuse-404" else outcome)


@pytest.mark.parametrize("form", ["body-429", "body-430", "http-429"])
async def test_a_full_window_is_a_throttle_in_every_form(simulator, generate, form):
    await configure(simulator, sends_per_window=1, send_window_seconds=600, throttle_form=form)

    assert [(await generate()).outcome for _ in range(2)] == ["accepted", "throttled"]


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("sim:ok", Succeeded),
        ("sim:origin", Succeeded),
        ("sim:record-old", Succeeded),
        ("sim:record-dates", Succeeded),
        ("sim:fallback", Succeeded),
        ("sim:record-422", Succeeded),
        ("sim:record-null", Succeeded),
        ("sim:record-500", Succeeded),
        ("sim:record-html", Succeeded),
        ("sim:lag", Succeeded),
        ("sim:invisible", Succeeded),
        ("sim:empty-first", Empty),
        ("sim:empty", Empty),
        *[(f"sim:{word}", Failed) for word in ("policy", "image-fetch", "flag2", "flag3", "fail-500", "fail-501")],
        *[(f"sim:fail-{word}", Failed) for word in ("422", "402", "timeout", "language", "image", "audio")],
        *[(f"sim:record-{code}", Failed) for code in (400, 451, 501)],
    ],
)
async def test_every_end_of_a_task_is_told_apart(client, generate, word, kind):
    sent = await generate(word)

    info = await until(lambda: client.record_info(sent.task_id), lambda info: not isinstance(info, Generating | NotYet))

    assert isinstance(info, kind)


async def test_a_running_and_an_unknown_and_a_forgotten_task_are_told_apart(client, simulator, generate):
    sent = await generate("sim:stuck")

    assert isinstance(await client.record_info(sent.task_id), Generating)
    assert isinstance(await client.record_info("0" * 32), NotYet)
    await configure(simulator, retention_seconds=0)
    assert isinstance(await client.record_info(sent.task_id), NotYet)


async def test_an_extension_is_billed_by_its_model_and_brings_the_whole_clip(client, finished):
    source = await finished(aspect_ratio="9:16")
    before = (await client.balance()).credits

    sent = await client.extend(
        Extension(task_id=source, prompt="on", model="veo3", seeds=99_999), callback_url=CALLBACK, send_before=math.inf
    )

    info = await until(lambda: client.record_info(sent.task_id), lambda info: isinstance(info, Succeeded))
    assert info.video_url.endswith(f"{sent.task_id}-full.mp4")
    assert (await client.balance()).credits == before - 250


@pytest.mark.parametrize("task_id", ["0" * 32, "veo_task_1", ""])
async def test_an_extension_of_an_unknown_video_is_refused(client, task_id):
    extension = Extension(task_id=task_id, prompt="on")

    assert (await client.extend(extension, callback_url=CALLBACK, send_before=math.inf)).outcome == "refused"


async def test_an_extension_of_a_video_upgraded_to_1080p_is_refused(client, finished):
    source = await finished()
    await client.upgrade_1080p(source)

    sent = await client.extend(Extension(task_id=source, prompt="on"), callback_url=CALLBACK, send_before=math.inf)

    assert sent.outcome == "refused"


@pytest.mark.parametrize(("kind", "price"), [("1080p", 5), ("4k", 120)])
async def test_an_upgrade_is_begun_then_awaited_then_there_and_billed_once(client, simulator, finished, kind, price):
    task_id = await finished()
    before = (await client.balance()).credits
    await configure(simulator, upgrade_seconds=60)
    upgrade = client.upgrade_1080p if kind == "1080p" else client.upgrade_4k

    begun, waiting = await upgrade(task_id), await upgrade(task_id)

    assert [(step.outcome, step.video_url) for step in (begun, waiting)] == [("accepted", None)] * 2
    assert (await client.balance()).credits == before - price
    assert (await stats(simulator))["upgrades"] == {kind: 1}


@pytest.mark.parametrize("kind", ["1080p", "4k"])
async def test_a_finished_upgrade_can_be_fetched(client, simulator, finished, kind):
    task_id = await finished()
    upgrade = client.upgrade_1080p if kind == "1080p" else client.upgrade_4k

    done = await until(lambda: upgrade(task_id), lambda upgrade: upgrade.video_url)

    assert done.outcome == "accepted"
    assert (await simulator.get(done.video_url)).status_code == 200


async def test_early_500s_of_an_upgrade_are_unknown_until_it_is_there(client, finished):
    task_id = await finished("sim:upgrade-500")

    steps = [await client.upgrade_1080p(task_id) for _ in range(4)]

    assert [step.outcome for step in steps] == ["accepted", "unknown", "unknown", "unknown"]
    done = await until(lambda: client.upgrade_1080p(task_id), lambda upgrade: upgrade.video_url)
    assert done.outcome == "accepted"


async def test_a_4k_that_is_unavailable_is_refused_in_the_end(client, finished):
    task_id = await finished("sim:4k-unavailable")
    before = (await client.balance()).credits

    last = await until(lambda: client.upgrade_4k(task_id), lambda upgrade: upgrade.outcome != "accepted")

    assert last.outcome == "refused"
    assert (await client.balance()).credits == before


async def test_a_4k_task_of_its_own_is_known_to_record_info(client, finished):
    task_id = await finished("sim:4k-new-task")

    begun = await client.upgrade_4k(task_id)

    assert begun.task_id != task_id
    await until(lambda: client.record_info(begun.task_id), lambda info: isinstance(info, Succeeded))


async def test_an_upgrade_of_an_unknown_video_is_refused_and_of_an_unfinished_one_unknown(client, generate):
    stuck = (await generate("sim:stuck")).task_id

    for upgrade in (client.upgrade_1080p, client.upgrade_4k):
        assert (await upgrade("0" * 32)).outcome == "refused"
        assert (await upgrade(stuck)).outcome == "unknown"


async def test_an_empty_account_blocks_all_that_costs(client, simulator, generate, finished):
    source = await finished()
    await configure(simulator, credits=4.5)

    calls = [
        await generate(),
        await client.extend(Extension(task_id=source, prompt="on"), callback_url=CALLBACK, send_before=math.inf),
        await client.upgrade_1080p(source),
        await client.upgrade_4k(source),
    ]

    assert [(call.outcome, call.code) for call in calls] == [("blocked", 402)] * 4
    assert (await client.balance()).credits == 4.5


@pytest.mark.parametrize(
    ("knobs", "outcome"),
    [
        ({"api_key": "another"}, "blocked"),
        ({"outage_http_status": 503}, "unknown"),
        ({"outage_http_status": 429}, "throttled"),
    ],
)
async def test_an_outage_is_told_apart_for_every_call(client, simulator, generate, finished, knobs, outcome):
    source = await finished()
    await configure(simulator, **knobs)

    calls = [
        await generate(),
        await client.extend(Extension(task_id=source, prompt="on"), callback_url=CALLBACK, send_before=math.inf),
        await client.upgrade_1080p(source),
        await client.upgrade_4k(source),
        await client.balance(),
        await client.download_link("https://x/y.mp4"),
        await client.upload(PNG, path="p", name="n.png", media_type="image/png"),
        await client.upload_base64(PNG, path="p", name="n.png", media_type="image/png"),
        await client.upload_from("https://x/y.png", path="p", name="n.png"),
    ]

    assert {call.outcome for call in calls} == {outcome}
    assert isinstance(await client.record_info(source), NotYet)


async def test_a_balance_has_a_fraction(client, simulator):
    await configure(simulator, credits=5916.25)

    assert (await client.balance()).credits == 5916.25


async def test_a_download_link_leads_to_the_video_and_foreign_ones_are_refused(client, simulator, finished):
    url = (await client.record_info(await finished())).video_url

    link = await client.download_link(url)

    assert (await simulator.get(link.url)).content == (await simulator.get(url)).content
    assert (await client.download_link("https://example.com/a.mp4")).outcome == "refused"


async def test_a_file_is_handed_over_in_three_ways_and_comes_out_the_same(client, simulator):
    stream = await client.upload(PNG, path="a", name="cät 1.png", media_type="image/png")
    encoded = await client.upload_base64(PNG, path="b/c", name="cat.png", media_type="image/png")
    fetched = await client.upload_from(encoded.url, path="d", name="cat.png")

    for upload in (stream, encoded, fetched):
        assert upload.outcome == "accepted", upload
        stored = await simulator.get(upload.url)
        assert (stored.content, stored.headers["content-type"]) == (PNG, "image/png")
    assert (await stats(simulator))["uploads"] == 3


async def test_a_file_the_host_does_not_take_is_refused(client, simulator):
    await configure(simulator, upload_max_bytes=100)

    for upload in [
        await client.upload(PNG, path="a", name="n", media_type="image/png"),
        await client.upload(b"", path="a", name="n", media_type="image/png"),
        await client.upload(b"x", path="", name="n", media_type="image/png"),
        await client.upload_base64(PNG, path="a", name="n", media_type="image/png"),
        await client.upload_from("http://127.0.0.1:1/none.png", path="a", name="n"),
    ]:
        assert upload.outcome == "refused"


async def test_an_uploaded_image_makes_a_video_until_it_expires(client, simulator, generate):
    image = await client.upload(PNG, path="a", name="n.png", media_type="image/png")

    sent = await generate(image_urls=(image.url,))
    await until(lambda: client.record_info(sent.task_id), lambda info: isinstance(info, Succeeded))

    await configure(simulator, upload_seconds=0)
    late = await generate(image_urls=(image.url,))
    info = await until(lambda: client.record_info(late.task_id), lambda info: not isinstance(info, Generating))
    assert info.message.startswith("Failed to fetch the image")
