"""Completed videos come into the bucket: whole, checked, once, whatever breaks on the way."""

import asyncio
import tracemalloc

import pytest
from prometheus_client import REGISTRY

from reelgate_common import settlement
from reelgate_common.domain.job import JobStatus
from reelgate_common.settings import JobSettings
from reelgate_reconciler.custody import repository
from reelgate_reconciler.custody.keeper import Keeper


def outcomes(name):
    return REGISTRY.get_sample_value("reelgate_custody_copies_total", {"outcome": name}) or 0


async def test_a_completed_video_is_due(video, row):
    found = await row(video)

    assert (found["state"], found["attempts"], found["completed_at"]) == ("due", 0, video.completed_at)


async def test_a_job_without_a_video_is_never_due(make_job, stored):
    for status in JobStatus:
        if status is not JobStatus.COMPLETED:
            await make_job(status)

    assert await stored.count("videos") == 0


async def test_a_video_is_copied_whole(copier, host, video, movie, in_bucket, everything, row, sha256):
    before = REGISTRY.get_sample_value("reelgate_custody_bytes_total")

    assert await copier.run_once() == 1

    found = await row(video)
    assert in_bucket(video) == movie
    assert (found["state"], found["bytes"], found["sha256"], found["due_at"]) == (
        "kept",
        len(movie),
        sha256(movie),
        None,
    )
    assert everything() == [f"{video.id}.mp4"]
    assert REGISTRY.get_sample_value("reelgate_custody_bytes_total") == before + len(movie)


async def test_the_job_tells_that_its_video_is_kept(copier, video, stored):
    await copier.run_once()

    job = await stored.job(video.id)
    assert job.video_kept_at is not None
    assert job.video_ends_at is None  # without a retention it is kept without end
    assert job.shown_video_url.startswith(f"https://videos.example/api/video/files/{video.id}/")
    assert job.version == video.version + 1
    assert (await stored.events(video.id))[-1] == "video_kept"


async def test_a_link_given_at_completion_stays_the_same(copier, video, stored):
    await stored.run("UPDATE video_jobs SET video_link = 'https://old.example/x.mp4' WHERE id = $1", video.id)

    await copier.run_once()

    assert (await stored.job(video.id)).video_link == "https://old.example/x.mp4"


async def test_what_is_told_of_a_completion_has_the_lasting_link(make_job, db, stored):
    job = await make_job(JobStatus.PROCESSING)
    policy = JobSettings(custody_url="s3://videos", public_base_url="https://videos.example")

    async with db.transaction() as tx:
        await settlement.deliver(
            tx, job.id, video_url="https://kie.example/v.mp4", attempt_id=job.attempt_id, by="tests", policy=policy
        )

    told = await stored.value("SELECT payload ->> 'video_url' FROM outbox WHERE routing_key = 'job.completed'")
    done = await stored.job(job.id)
    assert told == done.video_link == done.shown_video_url
    assert told.startswith(f"https://videos.example/api/video/files/{job.id}/")
    assert done.video_url == "https://kie.example/v.mp4"


async def test_what_is_kept_is_not_copied_again(copier, host, video):
    await copier.run_once()

    assert await copier.run_once() == 0
    assert len(host.asked) == 1


async def test_four_at_once_copy_each_video_once(copier, host, make_video, in_bucket, movie):
    videos = [await make_video() for _ in range(8)]

    counts = await asyncio.gather(*(copier.run_once() for _ in range(4)))

    assert sum(counts) == len(host.asked) == 8
    assert all(in_bucket(video) == movie for video in videos)


# The line breaks --------------------------------------------------------------------------------------


async def test_a_download_that_is_cut_goes_on_where_it_broke(copier, host, video, movie, in_bucket, row, sha256):
    host.breaks = [100_000, 50_000]

    await copier.run_once()

    assert in_bucket(video) == movie
    assert (await row(video))["sha256"] == sha256(movie)
    assert [asked.get("range") for asked in host.asked] == [None, "bytes=100000-", "bytes=150000-"]
    assert {asked.get("if-range") for asked in host.asked[1:]} == {'"one"'}


async def test_a_video_that_changed_meanwhile_is_not_put_together(copier, host, video, everything, row):
    host.breaks, host.etags = [100_000], ['"one"', '"two"']

    await copier.run_once()

    found = await row(video)
    assert (found["state"], everything()) == ("due", [])
    assert "another now" in found["error"]


async def test_a_host_that_cannot_go_on_is_asked_for_the_whole_again(
    copier, host, video, movie, in_bucket, everything, row, pass_time
):
    host.takes_up, host.breaks = False, [100_000]

    await copier.run_once()
    assert ((await row(video))["state"], everything()) == ("due", [])
    await pass_time(video)
    await copier.run_once()

    assert in_bucket(video) == movie


async def test_without_a_mark_of_the_file_it_is_not_gone_on_with(copier, host, video, everything, row):
    host.etag, host.breaks = None, [100_000]

    await copier.run_once()

    assert len(host.asked) == 1
    assert ((await row(video))["state"], everything()) == ("due", [])


async def test_a_host_that_breaks_off_again_and_again_is_left_for_later(copier, host, video, everything, row):
    host.breaks = [100_000, 0, 0, 0, 0, 0, 0]

    await copier.run_once()

    assert len(host.asked) == 4
    assert ((await row(video))["state"], everything()) == ("due", [])


async def test_a_length_that_is_wrong_is_not_believed(copier, host, video, everything, row):
    host.tells_too_much = 5

    await copier.run_once()

    assert ((await row(video))["state"], everything()) == ("due", [])


# What is no video -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["video/mp4", "video/mp4; codecs=avc1", "Video/QuickTime", "application/octet-stream", None]
)
async def test_a_type_that_may_be_a_video_is_taken(copier, host, video, movie, in_bucket, kind):
    host.kind = kind

    await copier.run_once()

    assert in_bucket(video) == movie


@pytest.mark.parametrize("kind", ["text/html", "application/json", "image/png", "videos"])
async def test_another_type_is_not(copier, host, video, everything, row, kind):
    host.kind = kind
    before = outcomes("not_a_video")

    await copier.run_once()

    assert (everything(), outcomes("not_a_video") - before) == ([], 1)
    assert (await row(video))["error"] == f"its type is {kind}"


@pytest.mark.parametrize("body", [b"<html>" + b"x" * 1000, b"", b"ftyp", b"\x00\x00\x00\x18ftyo" + b"x" * 1000])
async def test_bytes_that_are_no_mp4_are_not_kept(copier, host, video, everything, row, body):
    host.movie = body

    await copier.run_once()

    assert everything() == []
    assert (await row(video))["error"] == "its first bytes are not those of an MP4"


async def test_a_head_that_comes_in_crumbs_is_read_all_the_same(copier, host, video, movie, in_bucket):
    host.piece, host.movie = 3, movie[:1000]

    await copier.run_once()

    assert in_bucket(video) == movie[:1000]


@pytest.mark.parametrize("tells_length", [True, False])
async def test_what_is_too_large_is_not_kept(make_copier, host, video, movie, everything, row, tells_length):
    host.tells_length = tells_length
    before = outcomes("too_large")

    await make_copier(custody_max_bytes=len(movie) - 1).run_once()

    assert (everything(), outcomes("too_large") - before) == ([], 1)
    assert "CUSTODY_MAX_BYTES" in (await row(video))["error"]


async def test_a_length_that_is_not_told_is_none_to_miss(make_copier, host, video, movie, in_bucket):
    host.tells_length = False

    await make_copier(custody_max_bytes=len(movie)).run_once()

    assert in_bucket(video) == movie


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest/meta-data", "http://127.0.0.1:9/x", "http://[::1]/x"])
async def test_a_private_address_is_not_asked(copier, make_video, row, url):
    video = await make_video(url)

    await copier.run_once()

    assert "not public" in (await row(video))["error"]


# Later, and never -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_file_that_is_gone_is_asked_for_again_as_long_as_kie_may_have_it(
    copier, host, video, row, pass_time, status
):
    host.status, before = status, outcomes("given_up")

    await pass_time(video, days=13)  # also when the first try comes as late as this
    await copier.run_once()
    first = await row(video)
    asked = len(host.asked)
    await pass_time(video, days=1)
    await copier.run_once()
    second = await row(video)

    assert (first["state"], second["state"], second["due_at"]) == ("due", "failed", None)
    assert "is gone" in second["error"]
    assert (outcomes("given_up") - before, len(host.asked) - asked) == (1, 0)


async def test_a_host_that_comes_to_its_senses_after_days_is_asked_still(copier, host, video, row, pass_time):
    host.status = 404
    await copier.run_once()
    await pass_time(video, days=10)
    await copier.run_once()

    host.status = 200
    await pass_time(video)
    await copier.run_once()

    assert (await row(video))["state"] == "kept"


async def test_a_host_in_trouble_is_asked_for_as_long_as_it_has_the_video(
    copier, keeper, host, video, movie, in_bucket, row, pass_time
):
    host.status = 503
    await copier.run_once()
    await pass_time(video, days=13)
    await copier.run_once()
    assert (await row(video))["state"] == "due"

    host.status = 200
    await pass_time(video)
    await keeper.run_once()
    await copier.run_once()

    assert (await row(video))["state"] == "kept"


async def test_tries_come_ever_more_rarely_but_each_hour(copier, host, video, row, stored, pass_time):
    host.status = 503
    waits = []
    for _ in range(9):
        await pass_time(video)
        await copier.run_once()
        waits.append(await stored.value("SELECT extract(epoch FROM due_at - now())::float FROM videos"))

    assert [round(wait / 30) for wait in waits] == [1, 2, 4, 8, 16, 32, 64, 120, 120]


async def test_what_nobody_was_to_copy_is_let_go_after_14_days(db, video, make_video, row, pass_time):
    young = await make_video()
    await pass_time(video, days=15)
    await pass_time(young, days=13)
    before = outcomes("given_up")

    await Keeper(db, None).run_once()

    assert ((await row(video))["state"], (await row(young))["state"]) == ("failed", "due")
    assert outcomes("given_up") == before  # without a bucket nothing is lost that was promised


async def test_what_is_in_the_bucket_is_found_though_a_backup_forgot_it(
    copier, host, video, movie, stored, row, sha256, pass_time, everything
):
    await copier.run_once()
    await stored.run("UPDATE videos SET state = 'due', due_at = now(), attempts = 0, bytes = NULL, sha256 = NULL")
    await stored.run("UPDATE video_jobs SET video_kept_at = NULL, completed_at = now() + interval '1 day'")
    host.status = 404

    await pass_time(video, days=15)
    await copier.run_once()

    found = await row(video)
    assert (found["state"], found["bytes"], found["sha256"]) == ("kept", len(movie), sha256(movie))
    assert everything() == [f"{video.id}.mp4"]


async def test_a_bucket_that_is_away_when_kie_gives_no_more_decides_nothing(copier, bucket, video, row, pass_time):
    await pass_time(video, days=15)
    bucket.rmdir()
    bucket.write_text("where the folder was")

    await copier.run_once()

    assert (await row(video))["state"] == "due"


async def test_the_age_of_the_oldest_that_waits_is_told(keeper, copier, video, pass_time):
    await pass_time(video, days=2)
    await keeper.run_once()
    waited = REGISTRY.get_sample_value("reelgate_custody_oldest_due_seconds")
    await copier.run_once()
    await keeper.run_once()

    assert 2 * 86400 <= waited < 2 * 86400 + 600
    assert REGISTRY.get_sample_value("reelgate_custody_oldest_due_seconds") == 0


# Crashes ----------------------------------------------------------------------------------------------


async def test_a_copy_whose_process_died_is_taken_up_by_another(copier, db, video, movie, in_bucket, pass_time):
    async with db.connection() as connection:
        assert await repository.take(connection, "due", seconds=60)  # and nothing more is heard of it

    assert await copier.run_once() == 0
    await pass_time(video)
    assert await copier.run_once() == 1

    assert in_bucket(video) == movie


async def test_one_that_wakes_up_too_late_changes_nothing(copier, host, video, movie, in_bucket, row, pass_time):
    host.hold = asyncio.Event()
    wake = host.hold
    asleep = asyncio.create_task(copier.run_once())
    await host.held.wait()
    await pass_time(video)
    await copier.run_once()
    before = await row(video)
    wake.set()
    await asleep

    assert await row(video) == before
    assert in_bucket(video) == movie


async def test_a_copier_that_is_stopped_leaves_the_video_to_another(copier, host, video, movie, in_bucket, everything):
    host.hold = asyncio.Event()
    stopped = asyncio.create_task(copier.run_once())
    await host.held.wait()
    stopped.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopped

    assert await copier.run_once() == 1
    assert in_bucket(video) == movie
    assert everything() == [f"{video.id}.mp4"]


async def test_a_copy_that_takes_too_long_ends_within_its_lease(make_copier, host, video, everything, row):
    host.hold = asyncio.Event()
    before = outcomes("timeout")

    await make_copier(custody_copy_seconds=0.5).run_once()

    found = await row(video)
    assert (found["state"], found["error"], everything()) == ("due", "not copied within 0 s", [])
    assert outcomes("timeout") == before + 1


async def test_a_bucket_that_is_away_costs_time_only(copier, bucket, video, movie, in_bucket, row, pass_time):
    bucket.rmdir()
    bucket.write_text("where the folder was")
    before = outcomes("bucket")
    await copier.run_once()
    found = await row(video)
    await pass_time(video)
    bucket.unlink()

    await copier.run_once()

    assert (found["state"], outcomes("bucket") - before) == ("due", 1)
    assert found["error"].startswith("cannot write to the bucket")
    assert in_bucket(video) == movie


async def test_a_large_video_is_never_in_memory(copier, host, video, in_bucket, row):
    host.repeat = 200  # 60 MB
    tracemalloc.start()
    try:
        await copier.run_once()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (await row(video))["bytes"] == 200 * len(host.movie)
    assert peak < 20_000_000
