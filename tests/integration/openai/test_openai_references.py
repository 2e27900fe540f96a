"""input_reference: an image from the caller's disk, in the form of OpenAI's own client."""

import base64
import io
from uuid import UUID

import httpx
import openai
import pytest
from PIL import Image

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")


def picture(color="red", side=16, kind="PNG"):
    file = io.BytesIO()
    Image.new("RGB", (side, side), color).save(file, kind)
    return file.getvalue()


def noise(size):
    """A picture of so many bytes: what stands behind a JPEG's end is no concern of decoders."""
    return picture(kind="JPEG") + b"\x00" * (size - len(picture(kind="JPEG")))


@pytest.fixture
async def funded(client, fund):
    await fund()
    return client


async def test_a_file_becomes_the_first_frame(funded, host, stored, tmp_path):
    path = tmp_path / "cat.png"
    path.write_bytes(picture())

    video = await funded.videos.create(prompt="A cat", seconds="4", input_reference=path)

    job = await stored.job(UUID(video.id))
    assert (job.image_urls, job.generation_type) == ([f"{host.url}/kieai/1.png"], "FIRST_AND_LAST_FRAMES_2_VIDEO")
    assert host.uploads == [picture()]


@pytest.mark.parametrize("given", [picture(), ("cat.png", picture(), "image/png"), io.BytesIO(picture())])
async def test_a_file_may_be_given_in_every_way_of_the_client(funded, host, given):
    await funded.videos.create(prompt="A cat", input_reference=given)

    assert host.uploads == [picture()]


async def test_how_it_is_used_can_be_said(funded, stored):
    video = await funded.videos.create(
        prompt="A cat", input_reference=picture(), extra_body={"generation_type": "REFERENCE_2_VIDEO"}
    )

    assert (await stored.job(UUID(video.id))).generation_type == "REFERENCE_2_VIDEO"


async def test_an_image_in_a_data_url_is_taken_too(funded, api_url, key, host, stored):
    url = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"
    async with httpx.AsyncClient(base_url=api_url, trust_env=False) as http:
        answer = await http.post(
            "/v1/videos",
            json={"prompt": "A cat", "input_reference": {"image_url": url}},
            headers={"Authorization": f"Bearer {key}"},
        )
    form = await funded.videos.create(prompt="A cat", extra_body={"input_reference": {"image_url": url}})

    assert (answer.status_code, host.uploads) == (200, [picture(), picture()])
    assert (await stored.job(UUID(form.id))).image_urls == [f"{host.url}/kieai/2.png"]


async def test_a_large_file_is_taken_and_a_larger_one_is_413(serve_api, make_client, key, fund, host):
    await fund()
    async with serve_api(max_image_bytes=3_000_000) as url, make_client(key, base=url) as client:
        await client.videos.create(prompt="A cat", input_reference=noise(3_000_000))
        for size in (3_000_001, 8_000_000):  # over the image's limit, and over the body's
            with pytest.raises(openai.APIStatusError) as caught:
                await client.videos.create(prompt="A cat", input_reference=noise(size))
            assert (caught.value.status_code, caught.value.code) == (413, "too_large")

    assert [len(file) for file in host.uploads] == [3_000_000]


async def test_a_large_file_with_a_wrong_key_is_an_authentication_error(make_client, host):
    async with make_client("rg_live_wrong") as client:
        with pytest.raises(openai.AuthenticationError):
            await client.videos.create(prompt="A cat", input_reference=noise(9_000_000))

    assert host.uploads == []


@pytest.mark.parametrize(
    ("file", "fields", "param", "message"),
    [
        (b"GIF89a", {}, "input_reference", "input_reference must be a JPEG, PNG or WebP image"),
        (picture()[:40], {}, "input_reference", "cut short or damaged"),
        (b"", {}, "input_reference", "must be a JPEG"),
        (picture(), {"image_urls": ["https://images.example/cat.png"]}, "input_reference", "give one of them"),
        (picture(), {"generation_type": "TEXT_2_VIDEO"}, "image_urls", "must be empty"),
        (
            picture(),
            {"generation_type": "REFERENCE_2_VIDEO", "seconds": "4"},
            "seconds",
            "seconds with REFERENCE_2_VIDEO must be 8",
        ),
    ],
)
async def test_what_cannot_be_used_is_refused_before_anything_is_sent_or_charged(
    funded, host, stored, file, fields, param, message
):
    with pytest.raises(openai.BadRequestError, match=message) as caught:
        await funded.videos.create(prompt="A cat", input_reference=file, extra_body=fields)

    assert (caught.value.param, host.uploads, await stored.balance()) == (param, [], 100)


@pytest.mark.parametrize("data", ["data:image/png,abc", "data:image/png;base64,%%%", "data:", "data:;base64,é"])
async def test_a_data_url_that_is_none_is_refused(funded, data):
    with pytest.raises(openai.BadRequestError) as caught:
        await funded.videos.create(prompt="A cat", extra_body={"input_reference": {"image_url": data}})

    assert caught.value.param == "input_reference"


async def test_a_file_that_kie_refuses_is_told_and_not_charged(funded, host, stored):
    host.refuses = True

    with pytest.raises(openai.BadRequestError, match="does not take this image: We do not like it"):
        await funded.videos.create(prompt="A cat", input_reference=picture())

    assert await stored.balance() == 100


async def test_a_retry_with_its_file_is_known_wherever_the_file_went(funded, host, stored):
    again = {"x-stainless-retry-count": "1"}
    first = await funded.videos.create(prompt="A cat", input_reference=picture())
    retry = await funded.videos.create(prompt="A cat", input_reference=picture(), extra_headers=again)
    other = await funded.videos.create(prompt="A cat", input_reference=picture("blue"), extra_headers=again)

    assert (retry.id, other.id == first.id) == (first.id, False)
    assert len(set((await stored.job(UUID(first.id))).image_urls + (await stored.job(UUID(other.id))).image_urls)) == 2


async def test_an_idempotency_key_knows_the_file_by_its_content(funded):
    header = {"Idempotency-Key": "mine"}
    first = await funded.videos.create(prompt="A cat", input_reference=picture(), extra_headers=header)
    again = await funded.videos.create(prompt="A cat", input_reference=picture(), extra_headers=header)
    with pytest.raises(openai.UnprocessableEntityError):
        await funded.videos.create(prompt="A cat", input_reference=picture("blue"), extra_headers=header)

    assert first.id == again.id
