"""OpenAI's own client, as it comes from the package registry, against a whole stack."""

import asyncio
import io
import json
import uuid

import httpx
import openai
import pytest
from fault_proxy import FaultProxy, Toward
from PIL import Image
from yarl import URL

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")


@pytest.fixture(scope="module")
def stack(run_stack):
    with run_stack("openai", KIE_SENDS_PER_WINDOW="1000") as stack:
        yield stack


@pytest.fixture
def wallet():
    return uuid.uuid4().hex


@pytest.fixture
def key(stack, wallet):
    """A key bound to one wallet, which then need not be named."""
    return json.loads(stack.command("keys", "create", "openai", "--wallet", wallet, "--json"))["key"]


@pytest.fixture
async def client(stack, key):
    async with openai.AsyncOpenAI(base_url=f"{stack.env['API_URL']}/v1", api_key=key) as made:
        yield made


async def charges(stack, wallet):
    rows = await stack.sql("SELECT transaction_type, amount FROM credit_transactions WHERE wallet_address = $1", wallet)
    return sorted(row["amount"] for row in rows if row["transaction_type"] != "signup")


async def test_a_video_is_made_polled_downloaded_listed_and_deleted(stack, client, wallet, tmp_path):
    video = await client.videos.create_and_poll(prompt="A cat on a skateboard", seconds="8", size="720x1280")
    content = await client.videos.download_content(video.id, variant="video")
    content.write_to_file(tmp_path / "video.mp4")
    part = await client.videos.download_content(video.id, extra_headers={"Range": "bytes=4-7"})
    listed = [other.id async for other in client.videos.list(limit=1)]
    deleted = await client.videos.delete(video.id)

    assert (video.status, video.progress, video.error) == ("completed", 100, None)
    assert (tmp_path / "video.mp4").read_bytes()[4:8] == b"ftyp" == part.content
    assert part.response.status_code == 206
    assert (listed, deleted.deleted) == ([video.id], True)
    assert [other.id async for other in client.videos.list()] == []
    assert await charges(stack, wallet) == [-4]


def test_the_client_without_async_works_as_well(stack, key):
    with openai.OpenAI(base_url=f"{stack.env['API_URL']}/v1", api_key=key) as client:
        video = client.videos.create_and_poll(prompt="A dog", model="veo3_lite", poll_interval_ms=200)
        content = client.videos.download_content(video.id)

    assert (video.status, video.model, content.read()[4:8]) == ("completed", "veo3_lite", b"ftyp")


async def test_an_image_from_the_disk_is_the_first_frame(stack, client):
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "PNG")

    video = await client.videos.create_and_poll(prompt="It moves", seconds="4", input_reference=file.getvalue())

    assert (video.status, video.seconds) == ("completed", "4")
    assert (await stack.job(video.id))["generation_type"] == "FIRST_AND_LAST_FRAMES_2_VIDEO"


async def test_a_refused_video_fails_with_its_reason_and_is_refunded(stack, client, wallet):
    video = await client.videos.create_and_poll(prompt="Something sim:policy")
    await stack.at_rest()

    assert (video.status, video.error.code) == ("failed", "generation_failed")
    assert "violating content policies" in video.error.message
    assert await charges(stack, wallet) == [-4, 4]
    with pytest.raises(openai.NotFoundError, match="violating content policies"):
        await client.videos.download_content(video.id)


async def test_lost_answers_make_one_job_and_one_charge(stack, key, wallet):
    """The line breaks twice, each time when the answer comes; the client tries a third time by itself."""
    async with (
        FaultProxy.open("127.0.0.1", URL(stack.env["API_URL"]).port) as proxy,
        openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{proxy.port}/v1", api_key=key, max_retries=2) as client,
    ):
        answer = b"HTTP/1.1 200"
        traps = [proxy.trap(answer, Toward.CLIENT)]
        creating = asyncio.create_task(client.videos.with_raw_response.create(prompt="Once"))
        for _ in range(2):
            await asyncio.wait_for(traps[-1].sprung.wait(), 30)
            proxy.cut()
            await proxy.heal()
            if len(traps) == 1:
                traps.append(proxy.trap(answer, Toward.CLIENT))
        raw = await creating
        video = raw.parse()
        await stack.reached(video.id, "completed")

    assert (raw.retries_taken, raw.headers["idempotent-replayed"]) == (2, "true")
    assert await charges(stack, wallet) == [-4]
    assert len(await stack.sql("SELECT FROM video_jobs WHERE wallet_address = $1", wallet)) == 1


async def test_each_error_is_the_class_that_the_client_has_for_it(client):
    async def wrong(kind, call):
        with pytest.raises(kind) as caught:
            await call
        return caught.value

    async with openai.AsyncOpenAI(base_url=client.base_url, api_key="rg_live_wrong") as stranger:
        await wrong(openai.AuthenticationError, stranger.videos.list())
        await wrong(openai.AuthenticationError, stranger.videos.create(prompt="A cat"))
    bad = await wrong(openai.BadRequestError, client.videos.create(prompt="A cat", model="sora-2"))
    other = {"wallet_address": "someone-else"}
    await wrong(openai.PermissionDeniedError, client.videos.create(prompt="A cat", extra_body=other))
    await wrong(openai.NotFoundError, client.videos.retrieve(str(uuid.uuid4())))
    running = await client.videos.create(prompt="A long one sim:slow")
    await wrong(openai.ConflictError, client.videos.delete(running.id))
    await wrong(openai.ConflictError, client.videos.download_content(running.id))

    assert (bad.param, bad.code) == ("model", "invalid_input")
    assert "veo3_fast" in bad.message


async def test_the_guides_endpoints_and_these_show_the_same_job(stack, client, key):
    video = await client.videos.create_and_poll(prompt="Seen from both sides")
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {key}"}) as guide:
        job = (await guide.get(f"{stack.env['API_URL']}/api/video/jobs/{video.id}")).json()["job"]

    assert (job["id"], job["status"], job["prompt"]) == (video.id, "completed", video.prompt)


async def test_the_books_are_right_in_the_end(stack):
    await stack.at_rest()
    await stack.audit()
