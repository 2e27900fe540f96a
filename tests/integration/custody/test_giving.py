"""Kept videos are given: whole, in part, by link, by signed address; and honestly not, once they are deleted."""

from contextlib import asynccontextmanager

import httpx
import pytest
import s3_server
from api_client import api_settings
from serving import serving

from reelgate_api.app import create_app
from reelgate_api.custody import passing
from reelgate_cli import bucket as doctors_bucket
from reelgate_common import keys
from reelgate_common.auth import JOBS
from reelgate_common.custody.store import Store, key_of
from reelgate_common.domain.job import JobStatus


@pytest.fixture
def open_api(database_url, broker, host, bucket):
    """An API with this bucket, behind a real server."""

    @asynccontextmanager
    async def serve(**overrides):
        values = {
            "auth_mode": "required",
            "kie_ai_api_endpoint": host.url,
            "public_base_url": "http://localhost:3000",
            "custody_url": f"file://{bucket}",
        }
        app = create_app(api_settings(database_url, broker, **values | overrides))
        async with serving(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
            yield client

    return serve


@pytest.fixture
async def api(open_api):
    async with open_api() as client:
        yield client


@pytest.fixture
def make_key(cast):
    async def make(wallet="wallet"):
        _, key = await cast(keys.create_key, "tests", scopes=[JOBS], wallets=[wallet])
        return {"Authorization": f"Bearer {key}"}

    return make


@pytest.fixture
async def mine(make_key):
    return await make_key()


@pytest.fixture
async def kept(copier, video, host, stored):
    """A job whose video is in the bucket, and at Kie.ai no more."""
    await copier.run_once()
    host.status = 404
    return await stored.job(video.id)


def content(job):
    return f"/api/video/jobs/{job.id}/content"


def link(job):
    return httpx.URL(job.video_link).path


async def test_a_kept_video_is_given_whole_though_kie_deleted_it(api, kept, mine, movie, sha256):
    answer = await api.get(content(kept), headers=mine)

    assert (answer.status_code, answer.content) == (200, movie)
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-length"] == str(len(movie))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["etag"] == f'"{sha256(movie).hex()}"'


async def test_openais_path_gives_it_too(api, kept, mine, movie):
    answer = await api.get(f"/v1/videos/{kept.id}/content", headers=mine)

    assert (answer.status_code, answer.content) == (200, movie)


async def test_who_has_the_link_needs_no_key(api, kept, movie):
    answer = await api.get(link(kept))

    assert (answer.status_code, answer.content) == (200, movie)


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=100-199", 100, 199),
        ("bytes=300000-", 300000, 300011),
        ("bytes=300000-999999", 300000, 300011),
        ("bytes=-5", 300007, 300011),
        ("bytes=-999999", 0, 300011),
    ],
)
async def test_a_part_is_a_part(api, kept, mine, movie, asked, first, last):
    answer = await api.get(content(kept), headers=mine | {"Range": asked})

    assert (answer.status_code, answer.content) == (206, movie[first : last + 1])
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(movie)}"
    assert answer.headers["content-length"] == str(last - first + 1)


@pytest.mark.parametrize(
    "asked",
    [*("bytes=0-1,5-9", "lines=1-2", "bytes=", "bytes=-", "bytes=9-1"), f"bytes={'9' * 5000}-", f"bytes=-{'9' * 5000}"],
)
async def test_a_range_that_is_not_one_means_the_whole(api, kept, mine, movie, asked):
    answer = await api.get(content(kept), headers=mine | {"Range": asked})

    assert (answer.status_code, answer.content) == (200, movie)


@pytest.mark.parametrize("asked", ["bytes=300012-", "bytes=999999-9999999", "bytes=-0"])
async def test_a_part_beyond_the_end_is_416(api, kept, mine, movie, asked):
    answer = await api.get(content(kept), headers=mine | {"Range": asked})

    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{len(movie)}")
    assert answer.json()["code"] == "range_not_satisfiable"


async def test_a_part_is_given_of_the_file_that_is_meant_only(api, kept, mine, movie):
    etag = (await api.head(content(kept), headers=mine)).headers["etag"]

    same = await api.get(content(kept), headers=mine | {"Range": "bytes=0-9", "If-Range": etag})
    other = await api.get(content(kept), headers=mine | {"Range": "bytes=0-9", "If-Range": '"another"'})

    assert (same.status_code, other.status_code, other.content) == (206, 200, movie)


@pytest.mark.parametrize("path", [content, link])
async def test_head_tells_the_size_without_the_file(api, kept, mine, movie, path):
    answer = await api.head(path(kept), headers=mine)

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(movie))


async def test_head_of_a_file_that_is_gone_says_so(api, kept, mine, bucket):
    next(bucket.rglob("*.mp4")).unlink()

    assert (await api.head(content(kept), headers=mine)).status_code == 404


async def test_a_video_that_is_not_copied_yet_is_passed_on_from_kie(api, video, mine, movie, stored):
    await stored.run("UPDATE video_jobs SET video_link = 'http://localhost:3000/api/video/files/' || id || '/key.mp4'")
    job = await stored.job(video.id)

    answers = [await api.get(path, headers=mine) for path in (content(job), link(job))]

    assert [(answer.status_code, answer.content) for answer in answers] == [(200, movie)] * 2


@pytest.mark.parametrize("name", ["x.mp4", "None", "%2e%2e", "a" * 60])
async def test_a_link_cannot_be_guessed(api, kept, video, name):
    answer = await api.get(f"/api/video/files/{kept.id}/{name}")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_the_link_of_one_video_opens_no_other(api, copier, kept, make_video, host):
    other = await make_video()

    answer = await api.get(f"/api/video/files/{other.id}/{link(kept).rpartition('/')[2]}")

    assert answer.status_code == 404


async def test_a_file_that_somebody_took_out_of_the_bucket_is_gone(api, kept, mine, store, bucket):
    next(bucket.rglob("*.mp4")).unlink()

    answer = await api.get(content(kept), headers=mine)

    assert (answer.status_code, answer.json()["code"]) == (404, "video_expired")


async def test_without_its_bucket_an_api_gives_what_kie_has(open_api, kept, host, mine, movie):
    host.status = 200
    async with open_api(custody_url=None) as api:
        answer = await api.get(content(kept), headers=mine)

    assert (answer.status_code, answer.content) == (200, movie)


# Many readers, and slow ones ------------------------------------------------------------------------


@pytest.fixture
def make_long(make_video, stored, host, copier):
    """A video far longer than what lies in buffers on the way; with a link, kept or still at Kie.ai."""

    async def make(*, is_kept):
        host.repeat = 200
        made = await make_video()
        if is_kept:
            await copier.run_once()
        await stored.run(
            "UPDATE video_jobs SET video_link = 'http://localhost:3000/api/video/files/' || id || '/key.mp4'"
        )
        return await stored.job(made.id)

    return make


@pytest.mark.parametrize("is_kept", [True, False])
async def test_who_reads_one_video_slowly_keeps_nobody_from_the_others(open_api, make_long, is_kept, eventually):
    slow, other = await make_long(is_kept=is_kept), await make_long(is_kept=is_kept)
    async with open_api(max_downloads=2) as api:
        async with api.stream("GET", link(slow)) as first:
            assert first.status_code == 200
            again = await api.get(link(slow))
            assert (again.status_code, again.json()["code"]) == (429, "too_many_downloads")
            assert int(again.headers["retry-after"]) > 0
            async with api.stream("GET", link(other)) as second:
                assert second.status_code == 200

        async def is_free():
            async with api.stream("GET", link(slow)) as later:
                return later.status_code == 200

        await eventually(is_free)  # once the server has seen that the first one is gone


async def test_a_process_passes_on_as_many_videos_as_it_was_told(open_api, make_long):
    one, another = await make_long(is_kept=True), await make_long(is_kept=True)
    async with open_api(max_downloads=1) as api, api.stream("GET", link(one)):
        refused = await api.get(link(another))
        head = await api.head(link(another))

    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert int(refused.headers["retry-after"]) > 0
    assert head.status_code == 200  # nothing is passed on


@pytest.mark.parametrize("is_kept", [True, False])
async def test_who_does_not_read_on_loses_his_place(open_api, make_long, is_kept, eventually, monkeypatch):
    monkeypatch.setattr(passing, "_FIRST_SECONDS", 0.3)
    monkeypatch.setattr(passing, "_BYTES_A_SECOND", 1_000_000_000)
    one = await make_long(is_kept=is_kept)
    async with open_api(max_downloads=1) as api, api.stream("GET", link(one)) as first:
        assert first.status_code == 200

        async def is_free():
            async with api.stream("GET", link(one)) as later:
                return later.status_code == 200

        await eventually(is_free)


# Deleting ---------------------------------------------------------------------------------------------


async def test_a_deleted_video_is_gone_for_everybody_at_once(api, kept, mine):
    answer = await api.delete(content(kept), headers=mine)
    again = await api.delete(content(kept), headers=mine)

    job = answer.json()["job"]
    assert (answer.status_code, job["status"], job["video_url"], job["video_kept"]) == (200, "completed", None, False)
    assert job["video_deleted_at"] is not None
    assert again.json() == answer.json()
    for path in (content(kept), link(kept), f"/v1/videos/{kept.id}/content"):
        gone = await api.get(path, headers=mine)
        assert gone.status_code == 410
    assert gone.json()["error"]["code"] == "video_deleted"


async def test_a_video_deleted_under_v1_is_deleted(api, kept, mine, keeper, everything):
    await api.delete(f"/v1/videos/{kept.id}", headers=mine)
    await keeper.run_once()

    assert (await api.get(content(kept), headers=mine)).status_code == 410
    assert everything() == []


async def test_another_wallets_video_is_not_deleted(api, kept, make_key, stored):
    answer = await api.delete(content(kept), headers=await make_key("other"))

    assert answer.status_code == 404
    assert (await stored.job(kept.id)).video_deleted_at is None


@pytest.mark.parametrize(
    ("status", "code"), [(JobStatus.PENDING, 409), (JobStatus.PROCESSING, 409), (JobStatus.FAILED, 404)]
)
async def test_what_is_no_video_is_neither_given_nor_deleted(api, make_job, mine, status, code):
    job = await make_job(status)

    answers = [await api.request(method, content(job), headers=mine) for method in ("GET", "HEAD", "DELETE")]

    assert [answer.status_code for answer in answers] == [code] * 3


# What is shown ----------------------------------------------------------------------------------------


async def test_a_job_tells_where_its_video_is_and_until_when(api, make_copier, video, mine, stored):
    before = (await api.get(f"/api/video/jobs/{video.id}", headers=mine)).json()["job"]
    await make_copier(custody_retention_days=30).run_once()
    after = (await api.get(f"/api/video/jobs/{video.id}", headers=mine)).json()["job"]
    openais = (await api.get(f"/v1/videos/{video.id}", headers=mine)).json()

    [days_before] = await stored.rows("SELECT completed_at + interval '14 days' AS ends FROM video_jobs")
    ends = (await stored.job(video.id)).video_expires_at
    assert before["video_url"] == video.video_url
    assert (before["video_kept"], before["video_expires_at"]) == (False, _text(days_before["ends"]))
    assert (after["video_kept"], after["video_expires_at"]) == (True, _text(ends))
    assert after["video_url"] == (await stored.job(video.id)).video_link
    assert openais["expires_at"] == int(ends.timestamp())


def _text(moment):
    return moment.isoformat().replace("+00:00", "Z")


# S3 ---------------------------------------------------------------------------------------------------


@pytest.mark.timeout(180)
async def test_an_s3_bucket_keeps_gives_signs_and_deletes(
    tmp_path,
    monkeypatch,
    db,
    files,
    settings,
    open_api,
    make_video,
    host,
    movie,
    mine,
    stored,
    row,
    sha256,
    make_copier,
):
    """One test for all of it: starting the server takes seconds."""
    async with s3_server.running(tmp_path) as s3:
        for name, value in s3.environ.items():
            monkeypatch.setenv(name, value)
        url = f"s3://{s3_server.BUCKET}/some/where"
        store = Store.open(url)
        large = movie * 30  # more than one part of an upload
        host.movie, host.breaks = large, [2_000_000]
        video = await make_video()
        copier = make_copier(store=store, custody_url=url)

        await copier.run_once()
        found = await row(video)
        host.status = 404
        assert (found["state"], found["error"], found["sha256"]) == ("kept", None, sha256(large))
        async with open_api(custody_url=url) as api:
            whole = await api.get(content(video), headers=mine)
            part = await api.get(content(video), headers=mine | {"Range": "bytes=5000000-5000099"})
        assert (whole.status_code, whole.content) == (200, large)
        assert (part.status_code, part.content) == (206, large[5_000_000:5_000_100])

        async with (
            open_api(custody_url=url, custody_link_seconds=60) as api,
            httpx.AsyncClient(trust_env=False) as anyone,
        ):
            sent_on = await api.get(link(await stored.job(video.id)))
            signed = sent_on.headers["location"]
            from_s3 = await anyone.get(signed, headers={"Range": "bytes=0-99"})
            forged = await anyone.get(signed.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"))
            head = await api.head(link(await stored.job(video.id)))
            through = await api.get(f"/v1/videos/{video.id}/content", headers=mine)
        assert (sent_on.status_code, sent_on.headers["cache-control"]) == (302, "no-store")
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(large)))  # signed is GET alone
        assert signed.startswith(s3.endpoint)
        assert (from_s3.status_code, from_s3.content) == (206, large[:100])
        assert from_s3.headers["content-type"] == "video/mp4"
        assert forged.status_code == 403
        assert through.status_code == 200  # as promised: no redirect
        monkeypatch.setenv("CUSTODY_URL", url)
        monkeypatch.setenv("PUBLIC_BASE_URL", "http://localhost:3000")
        assert [(one.what, one.state) async for one in doctors_bucket.look()] == [
            ("bucket", "good"),
            ("signed addresses", "good"),
        ]

        await store.delete(key_of(video.id))
        async with open_api(custody_url=url) as api:
            assert (await api.get(content(video), headers=mine)).json()["code"] == "video_expired"
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
        refused = make_copier(store=Store.open(url), custody_url=url)
        host.status, second = 200, await make_video()
        await refused.run_once()
        assert (await row(second))["state"] == "due"
        assert (await row(second))["error"].startswith("cannot write to the bucket")
