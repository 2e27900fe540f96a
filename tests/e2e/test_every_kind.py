"""A job of every kind Kie.ai's Veo family knows, through the whole stack."""

import io
import json
import uuid

import httpx
import pytest
from gateway import IMAGE
from PIL import Image

KEY = "the key of the account at the simulator"


@pytest.fixture(scope="module")
def stack(run_stack):
    quick = {"SIM_VIDEO_SECONDS": "1", "FIRST_POLL_SECONDS": "1"}
    with run_stack("kinds", KIE_SENDS_PER_WINDOW="1000", KIE_AI_API_KEY=KEY, **quick) as stack:
        yield stack


@pytest.fixture
async def client(stack):
    async with stack.client() as client:
        yield client


async def finished(stack, client, answer):
    """The job of an accepted request, when it is over."""
    assert answer.status_code == 202, answer.text
    await stack.reached(answer.json()["job_id"], "completed", "failed")
    return (await client.get(answer.headers["Location"])).json()["job"]


async def generate(stack, client, *, images=0, wallet="kinds", **body):
    fields = {"wallet_address": wallet, "prompt": f"A cat {uuid.uuid4()}"}
    if images:
        fields["image_urls"] = [IMAGE] * images
    return await finished(stack, client, await client.post("/api/video/generate", json=fields | body))


async def plays(job):
    async with httpx.AsyncClient() as anyone:
        return (await anyone.get(job["video_url"])).content[4:8] == b"ftyp"


TEXT, FRAMES = "TEXT_2_VIDEO", "FIRST_AND_LAST_FRAMES_2_VIDEO"


@pytest.mark.parametrize(
    ("asked", "echoed"),
    [
        (
            {"generation_type": TEXT, "model": "veo3_lite", "duration": 4, "aspect_ratio": "portrait", "seeds": 12345},
            {"generationType": TEXT, "model": "veo3_lite", "duration": 4, "aspectRatio": "9:16", "seeds": 12345},
        ),
        (
            {"images": 1, "model": "veo3", "resolution": "1080p", "enable_translation": False},
            {"generationType": FRAMES, "model": "veo3", "resolution": "1080p", "enableTranslation": False},
        ),
        (
            {"images": 2, "generation_type": FRAMES, "duration": 6, "watermark": "me", "aspect_ratio": "auto"},
            {"generationType": FRAMES, "duration": 6, "waterMark": "me", "aspectRatio": "Auto"},
        ),
        ({"images": 3}, {"generationType": "REFERENCE_2_VIDEO", "model": "veo3_fast", "resolution": "720p"}),
    ],
)
async def test_every_way_to_make_a_video_reaches_the_vendor_as_asked_for(stack, client, asked, echoed):
    job = await generate(stack, client, **asked)

    assert (job["status"], await plays(job)) == ("completed", True)
    task_id = (await stack.job(job["id"]))["task_id"]
    async with httpx.AsyncClient(
        base_url=stack.env["SIMULATOR_URL"], headers={"Authorization": f"Bearer {KEY}"}
    ) as kie:
        info = (await kie.get("/api/v1/veo/record-info", params={"taskId": task_id})).json()
    understood = json.loads(info["data"]["paramJson"])
    assert understood | echoed == understood


async def test_an_image_from_the_callers_disk_becomes_a_video(stack, client):
    picture = io.BytesIO()
    Image.new("RGB", (64, 36), "teal").save(picture, "PNG")

    uploaded = await client.post("/api/video/images", files={"file": ("cat.png", picture.getvalue(), "image/png")})
    assert uploaded.status_code == 201, uploaded.text
    job = await generate(stack, client, image_urls=[uploaded.json()["url"]])

    assert (job["status"], job["image_urls"]) == ("completed", [uploaded.json()["url"]])


async def test_a_video_is_extended_twice_then_had_in_1080p_and_4k(stack, client):
    source = await generate(stack, client, images=1)
    path = "/api/video/jobs/{}/{}"

    longer = await finished(stack, client, await client.post(path.format(source["id"], "extend"), json={"prompt": "b"}))
    longest = await finished(
        stack, client, await client.post(path.format(longer["id"], "extend"), json={"prompt": "c", "model": "veo3"})
    )
    better = [
        await finished(
            stack, client, await client.post(path.format(longest["id"], "upgrade"), json={"resolution": resolution})
        )
        for resolution in ("1080p", "4k")
    ]

    for job in (longer, longest, *better):
        assert (job["status"], await plays(job)) == ("completed", True), job
    assert len({job["video_url"] for job in (source, longer, longest, *better)}) == 5
    assert [job["cost"] for job in (source, longer, longest, *better)] == [4, 4, 17, 1, 8]
    await stack.at_rest()
    await stack.audit()


@pytest.mark.parametrize("word", ["ok", "lost-callback", "submit-reset", "upgrade-500", "4k-new-task", "4k-snake"])
async def test_an_upgrade_ends_right_however_the_vendor_tells_it(stack, client, word):
    source = await generate(stack, client, images=1, prompt=f"{uuid.uuid4()} sim:{word}")

    better = await finished(
        stack, client, await client.post(f"/api/video/jobs/{source['id']}/upgrade", json={"resolution": "4k"})
    )

    assert (better["status"], await plays(better)) == ("completed", True), better
    await stack.at_rest()
    await stack.audit()


@pytest.mark.parametrize("word", ["4k-unavailable", "4k-null-data sim:4k-unavailable"])
async def test_an_upgrade_that_cannot_be_made_is_refunded(stack, client, word):
    wallet = uuid.uuid4().hex
    source = await generate(stack, client, wallet=wallet, images=1, prompt=f"{uuid.uuid4()} sim:{word}")

    failed = await finished(
        stack, client, await client.post(f"/api/video/jobs/{source['id']}/upgrade", json={"resolution": "4k"})
    )
    await stack.at_rest()
    balance = (await client.get(f"/api/wallets/{wallet}")).json()["credits"]

    assert (failed["status"], failed["failure_code"]) == ("failed", "generation_failed")
    assert "4K version of this video is unavailable" in failed["error_message"]
    assert balance == 1000 - 4


async def test_an_extension_that_fails_is_refunded(stack, client):
    wallet = uuid.uuid4().hex
    source = await generate(stack, client, wallet=wallet, images=1)

    failed = await finished(
        stack,
        client,
        await client.post(f"/api/video/jobs/{source['id']}/extend", json={"prompt": f"{wallet} sim:policy"}),
    )
    await stack.at_rest()
    balance = (await client.get(f"/api/wallets/{wallet}")).json()["credits"]

    assert (failed["status"], balance) == ("failed", 1000 - 4)
    await stack.audit()


async def test_a_video_upgraded_at_the_vendor_cannot_be_extended_and_nothing_is_charged(stack, client):
    wallet = uuid.uuid4().hex
    source = await generate(stack, client, wallet=wallet, images=1)
    path = f"/api/video/jobs/{source['id']}"
    await finished(stack, client, await client.post(f"{path}/upgrade", json={"resolution": "1080p"}))

    refused = await client.post(f"{path}/extend", json={"prompt": "more"})

    assert (refused.status_code, refused.json()["code"]) == (409, "source_unusable")
    assert (await client.get(f"/api/wallets/{wallet}")).json()["credits"] == 1000 - 4 - 1
