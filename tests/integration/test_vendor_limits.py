"""What we ask of Kie.ai at most: sends a window, jobs at once, credits a day, questions a second; and what is left."""

import asyncio

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from reelgate_common import breaker, slots, vendor_account
from reelgate_common.domain.job import JobStatus, SendOutcome
from reelgate_common.ids import new_id
from reelgate_common.kie.account import Balance
from reelgate_common.kie.answers import Failed, Generating, Send, Succeeded
from reelgate_common.messages import JobRequested
from reelgate_common.verification import Verifier
from reelgate_reconciler.balance_watch import BalanceWatch
from reelgate_reconciler.handlers import Reconciler
from reelgate_reconciler.settings import Settings as ReconcilerSettings
from reelgate_submitter import handlers as submitter
from reelgate_submitter.handlers import Submitter
from reelgate_submitter.settings import Settings as SubmitterSettings

NEEDED = {"database_url": "x", "amqp_url": "x", "kie_ai_api_key": "x"}
PERMIT = JobRequested(job_id=new_id(), job_version=1)


@pytest.fixture
def use_permit(db, vendor, relay, monkeypatch):
    """Use a permit that does not wait: it sends, or goes back at once."""
    monkeypatch.setattr(submitter, "_HOLD_SECONDS", 0.5)

    async def use(**overrides):
        settings = SubmitterSettings(**NEEDED, public_base_url="https://gateway.example", **overrides)
        await Submitter(db, vendor, relay, settings).use_permit(PERMIT)

    return use


# The window -----------------------------------------------------------------------------------------


async def test_a_window_lets_exactly_as_many_calls_through_as_it_has(db):
    async def take():
        async with db.transaction() as tx:
            return await slots.SENDS.take(tx, count=7, seconds=3600)

    async def take_until_told_to_wait_long():
        taken = 0
        while (wait := await take()) < 60:
            taken += wait == 0
        return taken

    assert sum(await asyncio.gather(*(take_until_told_to_wait_long() for _ in range(5)))) == 7


async def test_a_window_that_is_raised_lets_more_through_at_once(cast):
    async def fill(count):
        taken = 0
        while (wait := await cast(slots.QUERIES.take, count=count, seconds=3600)) < 60:
            taken += wait == 0
        return taken

    assert [await fill(3), await fill(3), await fill(5)] == [3, 0, 2]


# At once --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [JobStatus.SUBMITTING, JobStatus.UNKNOWN, JobStatus.PROCESSING])
async def test_a_job_waits_while_as_many_as_allowed_are_or_may_be_at_the_vendor(
    make_job, use_permit, vendor, stored, status
):
    under_way = [await make_job(status) for _ in range(2)]
    waiting = await make_job()

    await use_permit(kie_concurrent_tasks=2)
    assert vendor.sent == []
    await stored.run("DELETE FROM job_attempts WHERE job_id = $1", under_way[0].id)
    await stored.run("DELETE FROM job_events WHERE job_id = $1", under_way[0].id)
    await stored.run(
        "UPDATE video_jobs SET status = 'failed', failure_code = 'refused', completed_at = now(), deadline_at = NULL"
        " WHERE id = $1",
        under_way[0].id,
    )
    await use_permit(kie_concurrent_tasks=2)
    assert vendor.sent == [waiting.id]


async def test_claims_at_the_same_moment_do_not_exceed_the_cap(db, make_job, use_permit, vendor):
    for _ in range(8):
        await make_job()

    await asyncio.gather(*(use_permit(kie_concurrent_tasks=3) for _ in range(8)))

    assert len(vendor.sent) == 3


# Money a day ----------------------------------------------------------------------------------------


async def test_each_send_notes_what_it_should_cost_at_the_vendor(make_job, make_further, use_permit, stored):
    wanted = {
        (await make_job(model="veo3_fast", resolution="4k")).id: 180,
        (await make_further("extend", model="veo3")).id: 250,
        (await make_further("upgrade_1080p")).id: 5,
        (await make_further("upgrade_4k")).id: 120,
    }
    for _ in wanted:
        await use_permit()

    costs = {job_id: (await stored.attempts(job_id))[0]["vendor_cost"] for job_id in wanted}
    assert costs == wanted


async def test_sends_stop_when_the_next_would_exceed_the_days_limit_and_everybody_is_told(
    db, make_job, use_permit, vendor
):
    for _ in range(4):
        await make_job()

    for _ in range(4):
        await use_permit(kie_daily_credits=179)

    assert len(vendor.sent) == 2  # 60 each
    async with db.connection() as connection:
        trouble = await breaker.trouble(connection)
    assert trouble is not None
    assert trouble.reason == vendor_account.CAPPED


async def test_a_new_day_or_a_raised_limit_lets_sends_go_on(db, make_job, use_permit, vendor, stored):
    for _ in range(3):
        await make_job()
    await use_permit(kie_daily_credits=60)
    await use_permit(kie_daily_credits=60)
    assert len(vendor.sent) == 1

    await use_permit(kie_daily_credits=120)
    assert len(vendor.sent) == 2
    async with db.connection() as connection:
        assert await breaker.trouble(connection) is None

    await stored.run("UPDATE job_attempts SET started_at = started_at - interval '1 day'")
    await use_permit(kie_daily_credits=60)
    assert len(vendor.sent) == 3


@pytest.mark.parametrize(
    ("outcome", "counts"),
    [
        (SendOutcome.UNKNOWN, True),
        (SendOutcome.REFUSED, False),
        (SendOutcome.THROTTLED, False),
        (SendOutcome.BLOCKED, False),
        (SendOutcome.NOT_SENT, False),
    ],
)
async def test_what_was_surely_not_taken_costs_nothing_and_what_may_have_been_does(
    db, make_job, use_permit, vendor, outcome, counts
):
    await make_job()
    vendor.outcomes = [Send(outcome=outcome, code=1, message="said so")]

    await use_permit(kie_daily_credits=1000)

    async with db.connection() as connection:
        assert await vendor_account.spent_today(connection) == (60 if counts else 0)


async def test_no_limit_is_no_limit(make_job, use_permit, vendor):
    await make_job()

    await use_permit(kie_daily_credits=0, kie_concurrent_tasks=0)

    assert len(vendor.sent) == 1


# Questions a second ---------------------------------------------------------------------------------


@pytest.fixture
def full(stored):
    """Let every question of the next hour be asked already, but for the last `free` rows."""

    async def fill(count=10, *, free=0):
        await stored.run(
            """
            INSERT INTO query_slots (n, used_at)
            SELECT n, CASE WHEN n > $1 - $2 THEN 'epoch' ELSE now() + interval '1 h' END FROM generate_series(1, $1) n
            ON CONFLICT (n) DO UPDATE SET used_at = excluded.used_at
            """,
            count,
            free,
        )

    return fill


async def test_a_question_that_finds_no_place_in_time_is_put_off_and_not_asked(db, make_job, vendor, stored, full):
    job = await make_job(JobStatus.PROCESSING)
    await full()

    said = await Verifier(db, vendor, ReconcilerSettings(**NEEDED), "tests").verify(job.attempt_id, job.task_id)

    assert (said, vendor.asked) == (None, [])
    assert 0 < await stored.seconds_until(job.id, "next_check_at") <= 5
    assert await stored.status(job.id) == "processing"


async def test_polls_leave_places_free_for_hints(db, make_job, vendor, full):
    job = await make_job(JobStatus.PROCESSING)
    vendor.tasks[job.task_id] = Generating(prompt=job.prompt, callback_url=None)
    settings = ReconcilerSettings(**NEEDED)
    await full(free=3)

    poll = await Verifier(db, vendor, settings, "reconciler", share=0.7).verify(job.attempt_id, job.task_id)
    hint = await Verifier(db, vendor, settings, "callback").verify(job.attempt_id, job.task_id)

    assert (poll, hint) == (None, vendor.tasks[job.task_id])


async def test_the_last_question_before_a_deadline_is_asked_before_the_job_fails(
    db, relay, make_job, vendor, stored, full
):
    """A crowded second must not cost a video that is there."""
    job = await make_job(JobStatus.PROCESSING)
    vendor.tasks[job.task_id] = Succeeded(video_url="https://media.example/v.mp4", prompt=job.prompt, callback_url=None)
    settings = ReconcilerSettings(**NEEDED)
    reconciler = Reconciler(db, None, relay, Verifier(db, vendor, settings, "tests"), settings)
    await full()
    await stored.age(job.id, "deadline_at")

    await reconciler.end_overdue()
    assert await stored.status(job.id) == "processing"

    await full(free=10)
    await stored.age(job.id, "deadline_at")
    await reconciler.end_overdue()
    assert await stored.status(job.id) == "completed"


async def test_questions_of_many_processes_stay_within_the_limit(db, make_job, vendor):
    """Ten at once and more are asked as places get free: none is lost, and none comes too soon."""
    jobs = [await make_job(JobStatus.PROCESSING) for _ in range(12)]
    for job in jobs:
        vendor.tasks[job.task_id] = Failed(code=501, message="no", prompt=job.prompt, callback_url=None)
    settings = ReconcilerSettings(**NEEDED, kie_queries_per_second=5)
    verifiers = [Verifier(db, vendor, settings, "tests") for _ in range(3)]

    said = await asyncio.gather(*(verifiers[i % 3].verify(job.attempt_id, job.task_id) for i, job in enumerate(jobs)))

    assert None not in said
    assert sorted(vendor.asked) == sorted(job.task_id for job in jobs)


# What is left ---------------------------------------------------------------------------------------


class Account:
    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    async def balance(self):
        self.asked += 1
        return self.answers.pop(0)


def left(amount):
    return Balance(outcome=SendOutcome.ACCEPTED, code=200, credits=amount)


def gauge(name):
    return REGISTRY.get_sample_value(f"reelgate_vendor_balance{name}")


async def test_the_balance_is_asked_once_for_all_replicas_and_shown_by_each(db):
    account = Account(left(5916.25))
    watches = [BalanceWatch(db, account, ReconcilerSettings(**NEEDED)) for _ in range(3)]

    for watch in watches:
        await watch.run_once()

    assert account.asked == 1
    assert (gauge("_credits"), gauge("_low")) == (5916.25, 0)


async def test_a_low_balance_warns_before_it_is_empty(db, stored):
    account = Account(left(999.5), left(1000.0))
    watch = BalanceWatch(db, account, ReconcilerSettings(**NEEDED, kie_low_balance=1000))

    with capture_logs() as logs:
        await watch.run_once()
    assert gauge("_low") == 1
    assert [line["event"] for line in logs] == ["vendor_balance_low"]

    await stored.run("UPDATE vendor_account SET asked_at = 'epoch'")
    await watch.run_once()
    assert gauge("_low") == 0


async def test_a_balance_that_is_not_told_leaves_the_last_one(db, stored):
    account = Account(left(70.0), Balance(outcome=SendOutcome.UNKNOWN, code=500, message="HTTP 500"))
    watch = BalanceWatch(db, account, ReconcilerSettings(**NEEDED))
    await watch.run_once()
    await stored.run("UPDATE vendor_account SET asked_at = 'epoch'")

    await watch.run_once()

    assert (account.asked, gauge("_credits")) == (2, 70)


async def test_the_days_limit_is_shown_by_whoever_looks_and_no_longer_than_it_lasts(db, stored):
    async def shown():
        async with db.connection() as connection:
            await breaker.trouble(connection)
        return REGISTRY.get_sample_value("reelgate_vendor_spend_capped")

    await stored.run("UPDATE vendor_account SET capped_at = now()")
    assert await shown() == 1

    await stored.run("UPDATE vendor_account SET capped_at = now() - interval '1 day'")
    assert await shown() == 0
