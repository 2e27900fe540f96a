"""Downloads in the OpenAI format: passed on from Kie.ai's host as they come, from nowhere else."""

import asyncio
import ipaddress

import httpx
import openai
import pytest

from reelgate_common import strangers
from reelgate_common.domain.errors import Unavailable
from reelgate_common.domain.job import JobStatus
from reelgate_common.strangers import open_resolver
from reelgate_common.video_files import VideoFiles

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")


@pytest.fixture
def make_video(make_job, stored):
    """A completed job whose video is at this URL; its id."""

    async def make(url):
        job = await make_job(JobStatus.COMPLETED)
        await stored.run("UPDATE video_jobs SET video_url = $2 WHERE id = $1", job.id, url)
        return str(job.id)

    return make


@pytest.fixture
async def video(make_video, host):
    return await make_video(host.movie_url)


@pytest.fixture
async def impatient(make_client, key):
    async with make_client(key, max_retries=0) as client:
        yield client


def fetching(*addresses):
    """What fetches, with a name server that knows these for every name."""

    async def resolve(*_):
        return [ipaddress.ip_address(address) for address in addresses]

    return VideoFiles.open(resolve, trusted="http://127.0.0.1:1")


async def test_a_video_is_downloaded_whole(client, video, movie):
    content = await client.videos.download_content(video)

    assert content.content == movie
    assert content.response.headers["content-type"] == "video/mp4"
    assert content.response.headers["content-length"] == str(len(movie))
    assert (content.response.headers["accept-ranges"], content.response.headers["etag"]) == ("bytes", '"one"')
    assert "set-cookie" not in content.response.headers


async def test_a_video_is_streamed_to_a_file(client, video, movie, tmp_path):
    async with client.videos.with_streaming_response.download_content(video, variant="video") as content:
        await content.stream_to_file(tmp_path / "video.mp4")

    assert (tmp_path / "video.mp4").read_bytes() == movie


@pytest.mark.parametrize(
    ("asked", "first", "last"), [("bytes=0-9", 0, 9), ("bytes=100-199", 100, 199), ("bytes=262000-", 262000, 262143)]
)
async def test_a_part_of_a_video_is_a_part(client, video, movie, asked, first, last):
    content = await client.videos.download_content(video, extra_headers={"Range": asked})

    assert (content.response.status_code, content.content) == (206, movie[first : last + 1])
    assert content.response.headers["content-range"] == f"bytes {first}-{last}/{len(movie)}"


@pytest.mark.parametrize("asked", ["bytes=0-1,5-9", "lines=1-2", "bytes=", "bytes=-"])
async def test_a_range_that_is_not_one_means_the_whole(client, host, video, movie, asked):
    content = await client.videos.download_content(video, extra_headers={"Range": asked})

    assert (content.response.status_code, content.content) == (200, movie)
    assert "range" not in host.asked[-1]


async def test_a_part_beyond_the_end_is_416(client, video, movie):
    with pytest.raises(openai.APIStatusError, match="no such bytes") as caught:
        await client.videos.download_content(video, extra_headers={"Range": "bytes=999999-"})

    assert (caught.value.status_code, caught.value.code) == (416, "range_not_satisfiable")
    assert caught.value.response.headers["content-range"] == f"bytes */{len(movie)}"


async def test_the_host_of_the_video_is_told_nothing_of_the_caller(client, host, video):
    await client.videos.download_content(video)
    await client.videos.download_content(video)

    assert host.asked[-1].keys().isdisjoint({"authorization", "cookie", "x-stainless-lang"})
    assert host.asked[-1]["accept-encoding"] == "identity"


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_file_that_is_gone_is_told_as_such(client, host, video, status):
    host.status = status

    with pytest.raises(openai.NotFoundError, match="keeps it for 14 days") as caught:
        await client.videos.download_content(video)

    assert caught.value.code == "video_expired"


@pytest.mark.parametrize("status", [204, 304, 400, 500, 503])
async def test_a_host_that_answers_nonsense_is_trouble_of_ours(impatient, host, video, status):
    host.status = status

    with pytest.raises(openai.InternalServerError) as caught:
        await impatient.videos.download_content(video)

    assert (caught.value.status_code, caught.value.code) == (503, "unavailable")


@pytest.mark.parametrize("status", [status for status in JobStatus if not status.is_final])
async def test_a_video_that_is_being_made_is_a_conflict(client, make_job, status):
    job = await make_job(status)

    with pytest.raises(openai.ConflictError, match="still being made"):
        await client.videos.download_content(str(job.id))


async def test_a_failed_video_has_no_file(client, make_job):
    job = await make_job(JobStatus.FAILED)

    with pytest.raises(openai.NotFoundError, match="There is no video: no video"):
        await client.videos.download_content(str(job.id))


async def test_there_is_no_thumbnail(client, video):
    with pytest.raises(openai.BadRequestError, match="variant must be video") as caught:
        await client.videos.download_content(video, variant="thumbnail")

    assert caught.value.param == "variant"


# Where it may come from -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/movie.mp4",
        "http://localhost:9/movie.mp4",
        "http://[::1]:9/movie.mp4",
        "http://[::ffff:127.0.0.1]:9/movie.mp4",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/movie.mp4",
        "http://2130706433/movie.mp4",
        "http://0x7f.1/movie.mp4",
        "http://0.0.0.0/movie.mp4",
    ],
)
async def test_a_private_address_is_not_asked(url):
    async with open_resolver() as resolver, VideoFiles.open(resolver, trusted="http://127.0.0.1:1") as files:
        with pytest.raises(Unavailable, match="not public"):
            await files.fetch(url, headers={})


async def test_another_port_of_the_trusted_host_is_private_too(impatient, api_url, make_video):
    """Such as our own API."""
    video = await make_video(f"{api_url}/healthz")

    with pytest.raises(openai.InternalServerError):
        await impatient.videos.download_content(video)


async def test_a_redirect_into_the_private_network_is_not_followed(impatient, api_url, host, video):
    host.redirect = f"{api_url}/healthz"

    with pytest.raises(openai.InternalServerError):
        await impatient.videos.download_content(video)


async def test_redirects_come_to_an_end(impatient, host, video):
    host.redirect = host.movie_url

    with pytest.raises(openai.InternalServerError):
        await impatient.videos.download_content(video)

    assert len(host.asked) == 4


async def test_a_name_with_private_addresses_is_private():
    async with fetching("10.0.0.1", "127.0.0.1") as files:
        with pytest.raises(Unavailable, match="not public"):
            await files.fetch("https://rebinding.example/movie.mp4", headers={})


async def test_the_address_that_was_checked_is_the_one_connected_to(host, monkeypatch, movie):
    """A second lookup could give another one; the host's name stays in the request."""
    port = httpx.URL(host.url).port
    monkeypatch.setattr(strangers, "is_public", lambda address: address == ipaddress.ip_address("127.0.0.1"))
    async with fetching("127.0.0.1") as files:
        file = await files.fetch(f"http://videos.example:{port}/movie.mp4", headers={})
        body = b"".join([chunk async for chunk in file.chunks()])
        await file.close()

    assert body == movie
    assert host.asked[-1]["host"] == f"videos.example:{port}"


# How it flows -----------------------------------------------------------------------------------------


async def test_a_slow_taker_holds_the_sender_back(client, host, make_video, movie):
    """An endless movie: were it read ahead of its taker, the host would have given ever more of it."""
    video = await make_video(f"{host.url}/endless.mp4")

    async with client.videos.with_streaming_response.download_content(video) as content:
        chunks = content.iter_bytes()
        taken = len(await anext(chunks))
        given = -1
        while given != host.given:  # until nothing moves any more
            given = host.given
            await asyncio.sleep(0.3)
        stuck_at = given
        while taken < stuck_at:
            taken += len(await anext(chunks))

    assert stuck_at < 64 * 1024 * 1024  # what sockets and buffers hold


async def test_a_taker_who_leaves_lets_the_sender_go(client, host, make_video):
    video = await make_video(f"{host.url}/endless.mp4")

    async with client.videos.with_streaming_response.download_content(video) as content:
        await anext(content.iter_bytes())

    await asyncio.wait_for(host.ended.wait(), 10)


async def test_half_a_video_is_no_video(impatient, host, make_video, movie):
    """The host breaks off: the taker must not think that it has the whole."""
    host.breaks_after = len(movie) * 3
    video = await make_video(f"{host.url}/endless.mp4")

    with pytest.raises(openai.APIConnectionError):
        await impatient.videos.download_content(video)
