"""How soon a task is asked about again."""

import pytest

from reelgate_common.domain.job import FailureCode, JobStatus
from reelgate_common.settings import JobSettings
from reelgate_common.verification import Verifier


@pytest.fixture
def next_check(db, make_job, stored, cast):
    """Seconds until the next question about a task so old; None when there is none."""

    async def check(age, status=JobStatus.PROCESSING, *, waits_for_url=False, **policy):
        job = await make_job(status, failure_code=FailureCode.PROCESSING_TIMEOUT)
        await stored.age(job.id, "started_at", seconds=age)
        verifier = Verifier(db, vendor=None, policy=JobSettings(**policy), by="tests")

        async def look(tx):
            await verifier.check_later(tx, job, waits_for_url=waits_for_url)
            return await tx.fetchval(
                "SELECT extract(epoch FROM next_check_at - now())::float8 FROM video_jobs WHERE id = $1", job.id
            )

        return await cast(look)

    return check


async def test_a_young_task_is_asked_about_sooner_than_an_old_one(next_check):
    waits = [await next_check(age, first_poll_seconds=2, max_poll_seconds=60) for age in (0, 10, 60, 600)]

    assert waits == sorted(waits)
    assert waits[0] == pytest.approx(1, abs=0.5)
    assert waits[-1] == 60


@pytest.mark.parametrize(("first", "most"), [(0.1, 300), (300, 0.1), (60, 60)])
@pytest.mark.parametrize("age", [0, 30, 1e7])
async def test_the_next_question_is_never_far(next_check, age, first, most):
    assert 0 < await next_check(age, first_poll_seconds=first, max_poll_seconds=most) <= most


async def test_a_missing_url_is_asked_for_within_its_grace(next_check):
    assert await next_check(1000, waits_for_url=True, empty_result_grace_seconds=20) == 10


async def test_no_grace_does_not_mean_a_storm_of_questions(next_check):
    assert await next_check(1000, waits_for_url=True, empty_result_grace_seconds=0) >= 0.5


async def test_a_late_video_is_looked_for_rarely(next_check):
    assert await next_check(10, JobStatus.FAILED, late_check_seconds=3600) == 3600


async def test_a_delivered_job_is_not_asked_about_again(next_check):
    assert await next_check(10, JobStatus.COMPLETED) is None
