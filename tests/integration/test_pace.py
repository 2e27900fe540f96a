"""Where a job stands while it waits, and when it is worth asking again."""

from contextlib import asynccontextmanager

import pytest
from api_client import api_settings, opened

from reelgate_common.domain.job import JobStatus

BODY = {"wallet_address": "wallet", "prompt": "A cat", "image_urls": ["https://images.example/cat.png"]}


@pytest.fixture
def open_api(database_url, broker):
    return lambda **overrides: opened(api_settings(database_url, broker, **overrides))


@pytest.fixture
async def api(open_api):
    async with open_api() as client:
        yield client


async def position(api, job):
    return (await api.get(f"/api/video/jobs/{job.id}")).json()["job"]["queue_position"]


async def retry_after(api, job):
    return int((await api.get(f"/api/video/jobs/{job.id}")).headers["retry-after"])


# The queue ------------------------------------------------------------------------------------------


async def test_the_position_is_the_place_in_the_order_of_sending(api, make_job):
    first, second = await make_job(), await make_job()
    other = await make_job(wallet_address="other")  # its wallet's first, so before another's second

    assert [await position(api, job) for job in (first, other, second)] == [1, 2, 3]


async def test_the_position_moves_on_and_the_version_does_not(api, make_job):
    first, second = await make_job(), await make_job()
    etag = (await api.get(f"/api/video/jobs/{second.id}")).headers["etag"]

    await api.post(f"/api/video/jobs/{first.id}/cancel")

    answer = await api.get(f"/api/video/jobs/{second.id}")
    assert (answer.json()["job"]["queue_position"], answer.headers["etag"]) == (1, etag)


@pytest.mark.parametrize("status", [s for s in JobStatus if s is not JobStatus.PENDING])
async def test_a_job_that_does_not_wait_has_no_position(api, make_job, status):
    await make_job()

    assert await position(api, await make_job(status)) is None


async def test_a_position_is_counted_up_to_a_thousand(api, make_job, stored):
    first = await make_job()
    await stored.run(
        """
        INSERT INTO video_jobs (id, wallet_address, prompt, aspect_ratio, model, generation_type, resolution, duration,
                                cost, turn, expires_at, deadline_at, next_attempt_at)
        SELECT gen_random_uuid(), 'wallet', 'p', '16:9', 'veo3_fast', 'TEXT_2_VIDEO', '720p', 8, 4, turn + n,
               expires_at, deadline_at, now()
          FROM video_jobs, generate_series(1, 1200) n
        """
    )
    rows = await stored.rows("SELECT id FROM video_jobs ORDER BY turn")
    jobs = [await stored.job(rows[n]["id"]) for n in (0, 998, 999, 1000, 1200)]

    assert jobs[0].id == first.id
    assert [await position(api, job) for job in jobs] == [1, 999, 1000, 1000, 1000]


# Retry-After ----------------------------------------------------------------------------------------


@pytest.fixture
def usually(make_job, stored):
    """Videos of a kind that each took so long."""

    async def make(seconds, *, count=3, **overrides):
        for _ in range(count):
            job = await make_job(JobStatus.COMPLETED, **overrides)
            await stored.run(
                "UPDATE video_jobs SET started_at = completed_at - $2 * interval '1 s' WHERE id = $1", job.id, seconds
            )

    return make


@pytest.fixture
def measured(open_api, eventually, make_job):
    """The API, opened on what is stored, once it knows how long videos take."""

    @asynccontextmanager
    async def open_one():
        probe = await make_job(JobStatus.PROCESSING)
        async with open_api() as client:

            async def knows():
                return await retry_after(client, probe) != 2

            await eventually(knows)
            yield client

    return open_one


async def test_until_videos_were_seen_it_is_what_the_guides_clients_do(api, make_job, fund, usually):
    await usually(100, count=2)
    await fund()

    accepted = await api.post("/api/video/generate", json=BODY)

    assert accepted.headers["retry-after"] == "2"
    for status in (JobStatus.PENDING, JobStatus.SUBMITTING, JobStatus.UNKNOWN, JobStatus.PROCESSING):
        assert await retry_after(api, await make_job(status)) == 2


@pytest.mark.parametrize(
    ("ran", "expected"), [(1, 25), (40, 15), (80, 5), (99, 5), (200, 10), (10_000, 30)]
)  # a quarter of what is left; past its time, a twentieth of what it took
async def test_a_job_far_from_done_is_worth_a_later_look(usually, measured, make_job, stored, ran, expected):
    await usually(100)
    job = await make_job(JobStatus.PROCESSING)
    await stored.age(job.id, "started_at", seconds=ran)

    async with measured() as api:
        assert expected - 1 <= await retry_after(api, job) <= expected + 1


async def test_the_usual_time_is_that_of_the_kind(usually, measured, make_job, fund):
    await usually(100)
    await usually(8, model="veo3")
    await fund()

    async with measured() as api:
        waits = [
            int((await api.post("/api/video/generate", json=BODY | {"model": model})).headers["retry-after"])
            for model in ("veo3_fast", "veo3", "veo3_lite")
        ]

    assert waits == [25, 2, 2]


@pytest.mark.parametrize(("usual", "least"), [(1_000_000, 30), (0.5, 1)])
async def test_the_wait_has_bounds(usually, measured, make_job, usual, least):
    await usually(usual)
    job = await make_job(JobStatus.PROCESSING)

    async with measured() as api:
        assert await retry_after(api, job) == least


async def test_a_long_queue_makes_the_wait_longer(api, make_job):
    jobs = [await make_job() for _ in range(30)]

    first, last = await retry_after(api, jobs[0]), await retry_after(api, jobs[-1])

    assert first == 2
    assert 3 <= last <= 30
