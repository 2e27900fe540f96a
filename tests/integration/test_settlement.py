"""The end of a job: one verdict, one refund, and what a late video changes."""

import asyncio

import pytest

from reelgate_common import settlement
from reelgate_common.domain.job import FailureCode, JobStatus
from reelgate_common.settings import JobSettings
from reelgate_common.settlement import Delivery


@pytest.fixture
def deliver(cast, video):
    async def run(job, *, attempt_id=None, **policy):
        return await cast(
            settlement.deliver,
            job.id,
            video_url=video,
            attempt_id=attempt_id or job.attempt_id,
            by="tests",
            policy=JobSettings(**policy),
        )

    return run


@pytest.fixture
def fail(cast):
    async def run(job, code=FailureCode.GENERATION_FAILED):
        return await cast(settlement.fail, job.id, code, message="no video", by="tests", policy=JobSettings())

    return run


@pytest.fixture
def refund(cast):
    async def run(job):
        return await cast(settlement.refund, job.id, by="tests")

    return run


async def test_a_delivered_job_keeps_its_charge(make_job, deliver, refund, stored):
    job = await make_job(JobStatus.PROCESSING)

    assert await deliver(job) is Delivery.COMPLETED

    assert await refund(job) is None
    assert await stored.ledger(job.id) == {"charge": -4}


async def test_a_video_that_comes_twice_is_given_once(make_job, deliver, stored):
    job = await make_job(JobStatus.PROCESSING)

    ends = await asyncio.gather(*(deliver(job) for _ in range(6)))

    assert sorted(ends) == [Delivery.ALREADY] * 5 + [Delivery.COMPLETED]
    assert (await stored.outbox(job.id)).count("job.completed") == 1


async def test_a_verdict_is_given_once(make_job, deliver, fail, stored):
    job = await make_job(JobStatus.PROCESSING)
    await deliver(job)

    assert await fail(job) is None
    assert await stored.status(job.id) == "completed"


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELED])
async def test_an_undelivered_job_is_refunded_in_full(make_job, refund, stored, status):
    job = await make_job(status)

    assert await refund(job) == 4

    assert await stored.ledger(job.id) == {"charge": -4, "refund": 4}
    assert await stored.balance() == 100
    assert (await stored.events(job.id))[-1] == "refunded"
    assert (await stored.outbox(job.id))[-1] == "job.refunded"


async def test_ten_concurrent_refunds_give_back_once(make_job, refund, stored):
    job = await make_job(JobStatus.FAILED)

    amounts = await asyncio.gather(*(refund(job) for _ in range(10)))

    assert [amount for amount in amounts if amount] == [4]
    assert await stored.balance() == 100
    assert (await stored.outbox(job.id)).count("job.refunded") == 1


@pytest.mark.parametrize("status", [s for s in JobStatus if s not in ("failed", "canceled")])
async def test_a_job_that_is_not_lost_is_not_refunded(make_job, refund, stored, status):
    job = await make_job(status)

    assert await refund(job) is None
    assert await stored.balance() == 96


async def test_a_late_video_before_the_refund_makes_it_void(make_job, deliver, refund, stored, video):
    job = await make_job(JobStatus.FAILED, failure_code=FailureCode.PROCESSING_TIMEOUT)

    assert await deliver(job) is Delivery.RECOVERED
    assert await refund(job) is None

    recovered = await stored.job(job.id)
    assert (recovered.status, recovered.video_url) == ("completed", video)
    assert (recovered.failure_code, recovered.error_message) == (None, None)
    assert await stored.ledger(job.id) == {"charge": -4}


async def test_a_late_video_after_the_refund_is_given_for_free_by_default(make_job, deliver, refund, stored):
    job = await make_job(JobStatus.FAILED)
    await refund(job)

    await deliver(job)

    assert await stored.status(job.id) == "completed"
    assert await stored.ledger(job.id) == {"charge": -4, "refund": 4}
    assert (await stored.outbox(job.id))[-1] == "job.recovered"


async def test_a_late_video_may_be_charged_again(make_job, deliver, refund, stored):
    job = await make_job(JobStatus.FAILED)
    await refund(job)

    await deliver(job, late_success="recharge")

    assert await stored.ledger(job.id) == {"charge": -4, "refund": 4, "recharge": -4}
    assert await stored.balance() == 96
    assert await stored.books_balance()


async def test_a_late_video_is_given_when_the_balance_does_not_cover_it(make_job, deliver, refund, stored):
    job = await make_job(JobStatus.FAILED)
    await refund(job)
    await stored.run("UPDATE credits SET credits = 3")

    await deliver(job, late_success="recharge")

    assert await stored.status(job.id) == "completed"
    assert await stored.balance() == 3
    assert "recharge" not in await stored.ledger(job.id)


async def test_a_late_video_without_a_refund_is_not_charged_again(make_job, deliver, stored):
    job = await make_job(JobStatus.FAILED)

    await deliver(job, late_success="recharge")

    assert await stored.ledger(job.id) == {"charge": -4}


@pytest.mark.parametrize("late_success", ["give", "recharge"])
async def test_refund_and_late_video_at_once_leave_the_books_right(make_job, deliver, refund, stored, late_success):
    jobs = [await make_job(JobStatus.FAILED) for _ in range(10)]

    both = [work for job in jobs for work in (refund(job), deliver(job, late_success=late_success))]
    await asyncio.gather(*both)

    for job in jobs:
        ledger = await stored.ledger(job.id)
        assert await stored.status(job.id) == "completed"
        assert ("recharge" in ledger) == ("refund" in ledger and late_success == "recharge")
    assert await stored.books_balance()


async def test_a_canceled_job_gets_no_video(make_job, deliver, stored):
    job = await make_job(JobStatus.CANCELED)

    assert await deliver(job, attempt_id=job.id) is Delivery.KEPT_BACK

    canceled = await stored.job(job.id)
    assert (canceled.status, canceled.video_url) == ("canceled", None)
    assert (await stored.events(job.id))[-1] == "late_video"


@pytest.mark.parametrize("code", FailureCode)
async def test_only_a_failure_by_deadline_is_looked_at_again(make_job, stored, code):
    job = await make_job(JobStatus.FAILED, failure_code=code)

    waits = await stored.seconds_until(job.id, "next_check_at")

    assert (waits is not None) == (code in {"submit_unknown", "processing_timeout"})


async def test_the_timeline_numbers_every_step(make_job, refund, stored):
    job = await make_job(JobStatus.FAILED)
    await refund(job)

    rows = await stored.rows("SELECT seq, event FROM job_events WHERE job_id = $1 ORDER BY seq", job.id)

    assert [(row["seq"], row["event"]) for row in rows] == [
        (1, "accepted"),
        (2, "claimed"),
        (3, "submitted"),
        (4, "failed"),
        (5, "refunded"),
    ]
    assert (await stored.job(job.id)).version == 5
