"""The reconciler: nothing stays stuck, nothing is refunded twice."""

import asyncio
from datetime import timedelta

import pytest

from reelgate_common import attempts, outbox, settlement, topology
from reelgate_common.domain.job import FailureCode, JobStatus, SendOutcome
from reelgate_common.ids import new_id
from reelgate_common.kie.answers import Empty, Failed, Generating, Succeeded
from reelgate_common.messages import JobFailed, JobRequested
from reelgate_common.verification import Verifier
from reelgate_reconciler.handlers import Reconciler
from reelgate_reconciler.settings import Settings

NEEDED = {"database_url": "x", "amqp_url": "x", "kie_ai_api_key": "x"}
GENERATING = Generating(prompt=None, callback_url=None)
EMPTY = Empty(prompt=None, callback_url=None)


class FakeBus:
    """A broker of which only the length of a queue is asked."""

    def __init__(self):
        self.waiting = 0
        self.asked = 0

    async def depth(self, queue):
        assert queue is topology.JOB_REQUESTED
        self.asked += 1
        return self.waiting


@pytest.fixture
def bus():
    return FakeBus()


@pytest.fixture
def make_reconciler(db, bus, relay, vendor):
    def make(**overrides):
        settings = Settings(**NEEDED | overrides)
        return Reconciler(db, bus, relay, Verifier(db, vendor, settings, "reconciler"), settings)

    return make


@pytest.fixture
def check_due(make_reconciler):
    """A pass; jobs may be asked about as often as the test makes them due."""

    async def run(**overrides):
        return await make_reconciler(**{"hint_interval_seconds": 1e-6} | overrides).check_due()

    return run


@pytest.fixture
def end_overdue(make_reconciler):
    async def run(**overrides):
        return await make_reconciler(**overrides).end_overdue()

    return run


@pytest.fixture
def overdue(make_job, stored):
    """A job whose present state has lasted too long."""

    async def make(status, **overrides):
        job = await make_job(status, **overrides)
        await stored.age(job.id, "deadline_at")
        return job

    return make


@pytest.fixture
def due(make_job, stored):
    """A job whose task is to be asked about now."""

    async def make(status=JobStatus.PROCESSING, **overrides):
        job = await make_job(status, task_id="task-1", **overrides)
        await stored.age(job.id, "next_check_at")
        return job

    return make


@pytest.fixture
def resubmitted(overdue, end_overdue, stored, cast, token):
    """A job sent a second time by policy: its first attempt is superseded, its second under way."""

    async def make():
        job = await overdue(JobStatus.UNKNOWN)
        await end_overdue(submit_unknown_policy="resubmit")
        second = await cast(attempts.add, new_id(), job.id, token_hash=b"x")
        await stored.run(
            """
            UPDATE video_jobs SET status = 'submitting', next_attempt_at = NULL, attempt_id = $2,
                   deadline_at = now() + interval '90 s'
             WHERE id = $1
            """,
            job.id,
            second.id,
        )
        return job, second

    return make


def done(video, prompt="A cat on a skateboard"):
    return Succeeded(video_url=video, prompt=prompt, callback_url=None)


def failed(message="no"):
    return Failed(code=501, message=message, prompt="A cat on a skateboard", callback_url=None)


# Polling --------------------------------------------------------------------------------------------


async def test_a_job_whose_callback_was_lost_is_completed_by_polling(due, check_due, vendor, stored, video):
    job = await due()
    vendor.tasks["task-1"] = done(video)

    assert await check_due() == 1

    assert await stored.status(job.id) == "completed"


async def test_a_job_that_failed_at_the_vendor_is_failed_by_polling(due, check_due, vendor, stored):
    job = await due()
    vendor.tasks["task-1"] = failed("policy")

    await check_due()

    job = await stored.job(job.id)
    assert (job.status, job.failure_code, job.error_message) == ("failed", "generation_failed", "policy")


@pytest.mark.parametrize("answer", [None, GENERATING], ids=["not-yet", "generating"])
async def test_a_job_that_is_not_over_is_asked_about_again(due, check_due, vendor, stored, answer):
    job = await due()
    if answer:
        vendor.tasks["task-1"] = answer

    await check_due()

    assert await stored.status(job.id) == "processing"
    assert 0 < await stored.seconds_until(job.id, "next_check_at") <= 60


async def test_a_job_that_has_its_video_is_not_asked_about_for_ever(due, check_due, vendor, db):
    """Whatever made a check due: an answer that it is still generating makes no other."""
    job = await due(JobStatus.COMPLETED)
    vendor.tasks["task-1"] = GENERATING

    await check_due()

    async with db.connection() as connection:
        due_again = "SELECT next_check_at FROM video_jobs WHERE id = $1"
        assert await connection.fetchval(due_again, job.id) is None


async def test_a_job_that_is_not_due_is_not_asked_about(make_job, check_due, vendor):
    await make_job(JobStatus.PROCESSING)

    assert await check_due() == 0
    assert vendor.asked == []


async def test_two_reconcilers_ask_about_a_job_once(due, check_due, vendor):
    await due()

    assert sorted(await asyncio.gather(check_due(), check_due())) == [0, 1]
    assert vendor.asked == ["task-1"]


async def test_a_pass_asks_about_a_few(make_job, check_due, stored, vendor):
    for _ in range(5):
        job = await make_job(JobStatus.PROCESSING)
        await stored.age(job.id, "next_check_at")

    assert await check_due(checks_per_pass=2) == 2
    assert await check_due(checks_per_pass=10) == 3


async def test_success_without_a_video_is_given_time(due, check_due, vendor, stored):
    job = await due()
    vendor.tasks["task-1"] = EMPTY

    await check_due(empty_result_grace_seconds=120)

    assert await stored.status(job.id) == "processing"


async def test_a_task_that_was_just_asked_about_is_left_for_later(due, check_due, vendor, stored):
    """By whomever: a webhook's hint and the poll together ask once in an interval."""
    job = await due()
    await stored.run("UPDATE video_jobs SET last_checked_at = now()")

    await check_due(hint_interval_seconds=300)
    asked_too_soon = list(vendor.asked)
    await stored.age(job.id, "last_checked_at", seconds=301)
    await check_due(hint_interval_seconds=300)

    assert (asked_too_soon, vendor.asked) == ([], ["task-1"])


async def test_success_without_a_video_fails_after_its_grace(due, check_due, vendor, stored):
    job = await due()
    vendor.tasks["task-1"] = EMPTY
    await check_due(empty_result_grace_seconds=120)
    await stored.run("UPDATE job_attempts SET empty_since = now() - interval '121 s'")
    await stored.age(job.id, "next_check_at")

    await check_due(empty_result_grace_seconds=120)

    job = await stored.job(job.id)
    assert (job.status, job.failure_code) == ("failed", "empty_result")


async def test_a_video_that_comes_within_the_grace_is_given(due, check_due, vendor, stored, video):
    job = await due()
    vendor.tasks["task-1"] = EMPTY
    await check_due()
    await stored.age(job.id, "next_check_at")
    vendor.tasks["task-1"] = done(video)

    await check_due()

    assert await stored.status(job.id) == "completed"


async def test_one_answer_that_breaks_us_does_not_keep_others_waiting(
    make_job, make_reconciler, vendor, stored, video, eventually
):
    for task in ("task-bad", "task-good"):
        job = await make_job(JobStatus.PROCESSING, task_id=task)
        await stored.age(job.id, "next_check_at")
    vendor.tasks = {
        "task-bad": Succeeded(video_url="nul \x00", prompt=None, callback_url=None),
        "task-good": done(video),
    }

    with pytest.raises(Exception, match="0x00"):
        await make_reconciler().check_due()

    async def completed():
        return await stored.status(job.id) == "completed"

    await eventually(completed)


# Late truth -----------------------------------------------------------------------------------------


@pytest.fixture
def failed_by_deadline(due, stored):
    async def make(code=FailureCode.PROCESSING_TIMEOUT):
        return await due(JobStatus.FAILED, failure_code=code)

    return make


async def test_a_video_after_our_deadline_is_still_given(failed_by_deadline, check_due, vendor, stored, video):
    job = await failed_by_deadline()
    vendor.tasks["task-1"] = done(video)

    await check_due()

    job = await stored.job(job.id)
    assert (job.status, job.recovered_at is not None) == ("completed", True)


async def test_a_failure_after_our_deadline_ends_the_questions(failed_by_deadline, check_due, vendor, stored):
    job = await failed_by_deadline()
    vendor.tasks["task-1"] = failed()

    await check_due()

    assert await stored.seconds_until(job.id, "next_check_at") is None
    assert (await stored.job(job.id)).failure_code == "processing_timeout"


async def test_the_vendors_memory_ends_the_questions(failed_by_deadline, check_due, vendor, stored):
    job = await failed_by_deadline()
    await stored.age(job.id, "completed_at", seconds=15 * 86400)

    await check_due(late_check_days=14)

    assert vendor.asked == []
    assert await stored.seconds_until(job.id, "next_check_at") is None


async def test_late_questions_are_rare(failed_by_deadline, check_due, stored):
    job = await failed_by_deadline()

    await check_due(late_check_seconds=3600)

    assert 3500 < await stored.seconds_until(job.id, "next_check_at") <= 3600


# Deadlines ------------------------------------------------------------------------------------------


async def test_a_lease_that_ran_out_leaves_the_send_unknown(overdue, end_overdue, stored):
    job = await overdue(JobStatus.SUBMITTING)

    await end_overdue()

    assert await stored.status(job.id) == "unknown"
    assert (await stored.attempts(job.id))[0]["outcome"] == "unknown"
    assert await stored.outbox(job.id) == ["job.requested"]


async def test_the_time_of_an_unknown_send_counts_from_the_attempt(overdue, end_overdue, stored):
    job = await overdue(JobStatus.SUBMITTING)
    await stored.run("UPDATE job_attempts SET started_at = now() - interval '100 s'")

    await end_overdue(submit_unknown_deadline=3600)

    assert 3400 < await stored.seconds_until(job.id, "deadline_at") <= 3500


async def test_an_unknown_send_fails_at_its_deadline(overdue, end_overdue, stored):
    job = await overdue(JobStatus.UNKNOWN)

    await end_overdue()

    job = await stored.job(job.id)
    assert (job.status, job.failure_code) == ("failed", "submit_unknown")


async def test_an_unknown_send_that_a_webhook_named_is_asked_about_first(overdue, end_overdue, vendor, stored, video):
    job = await overdue(JobStatus.UNKNOWN)
    await stored.run("UPDATE job_attempts SET hinted_task_id = 'task-9'")
    vendor.tasks["task-9"] = done(video)

    await end_overdue()

    assert await stored.status(job.id) == "completed"


async def test_by_policy_an_unknown_send_is_sent_once_more(overdue, end_overdue, stored):
    job = await overdue(JobStatus.UNKNOWN)

    await end_overdue(submit_unknown_policy="resubmit")

    assert await stored.status(job.id) == "pending"
    assert await stored.outbox(job.id) == ["job.requested", "job.requested"]
    assert (await stored.attempts(job.id))[0]["superseded_at"] is not None


async def test_a_second_unknown_send_is_not_repeated(resubmitted, end_overdue, stored):
    job, _ = await resubmitted()
    for _ in range(2):  # the lease, then the unknown
        await stored.age(job.id, "deadline_at")
        await end_overdue(submit_unknown_policy="resubmit")

    job = await stored.job(job.id)
    assert (job.status, job.failure_code) == ("failed", "submit_unknown")


async def test_an_unknown_send_its_owner_wants_back_is_not_repeated(overdue, end_overdue, stored):
    job = await overdue(JobStatus.UNKNOWN)
    await stored.run("UPDATE video_jobs SET cancel_requested_at = now()")

    await end_overdue(submit_unknown_policy="resubmit")

    assert await stored.status(job.id) == "failed"


async def test_a_task_that_stays_silent_fails_at_its_deadline(overdue, end_overdue, vendor, stored):
    job = await overdue(JobStatus.PROCESSING, task_id="task-1")

    await end_overdue()

    job = await stored.job(job.id)
    assert vendor.asked == ["task-1"]
    assert (job.status, job.failure_code) == ("failed", "processing_timeout")


async def test_the_last_question_may_bring_the_video(overdue, end_overdue, vendor, stored, video):
    job = await overdue(JobStatus.PROCESSING, task_id="task-1")
    vendor.tasks["task-1"] = done(video)

    await end_overdue()

    assert await stored.status(job.id) == "completed"


async def test_a_job_that_could_not_be_sent_expires(overdue, end_overdue, stored):
    job = await overdue(JobStatus.PENDING)

    await end_overdue()

    job = await stored.job(job.id)
    assert (job.status, job.failure_code) == ("failed", "expired")


async def test_two_reconcilers_end_a_job_once(overdue, end_overdue, stored):
    job = await overdue(JobStatus.PENDING)

    assert sorted(await asyncio.gather(end_overdue(), end_overdue())) == [0, 1]
    assert (await stored.outbox(job.id)).count("job.failed") == 1


async def test_a_job_that_moved_on_meanwhile_is_left_alone(overdue, end_overdue, vendor, stored, video, cast):
    """While the last question was asked, somebody else completed the job."""
    job = await overdue(JobStatus.PROCESSING, task_id="task-1")

    async def complete():
        policy = Settings(**NEEDED)
        await cast(settlement.deliver, job.id, video_url=video, attempt_id=job.attempt_id, by="tests", policy=policy)

    vendor.while_asked = complete
    await end_overdue()

    assert await stored.status(job.id) == "completed"


async def test_only_what_is_overdue_is_ended(make_job, end_overdue, stored):
    jobs = [await make_job(status) for status in JobStatus]

    assert await end_overdue() == 0
    assert [await stored.status(job.id) for job in jobs] == list(JobStatus)


# Two attempts ---------------------------------------------------------------------------------------


@pytest.fixture
def bind(cast):
    """Let an attempt's task be known."""

    async def run(job, attempt_id, task_id):
        async def accept(tx):
            from reelgate_common import jobs  # noqa: PLC0415

            attempt = await jobs.find_attempt(tx, attempt_id)
            return await attempts.accept(tx, attempt, task_id, by="tests", reason=None, policy=Settings(**NEEDED))

        return await cast(accept)

    return run


async def test_a_failed_attempt_does_not_fail_a_job_whose_other_attempt_may_deliver(
    resubmitted, bind, due, check_due, vendor, stored
):
    job, second = await resubmitted()
    [first, _] = await stored.attempts(job.id)
    await bind(job, first["id"], "task-1")
    await stored.age(job.id, "next_check_at")
    vendor.tasks["task-1"] = failed()

    await check_due()

    assert await stored.status(job.id) == "processing"
    assert (await stored.job(job.id)).attempt_id == second.id


async def test_the_other_attempt_then_delivers(resubmitted, bind, check_due, vendor, stored, video):
    job, second = await resubmitted()
    [first, _] = await stored.attempts(job.id)
    await bind(job, first["id"], "task-1")
    await bind(job, second.id, "task-2")
    vendor.tasks |= {"task-1": failed(), "task-2": done(video)}

    for _ in range(2):
        await stored.age(job.id, "next_check_at")
        await check_due()

    job = await stored.job(job.id)
    assert (job.status, job.attempt_id) == ("completed", second.id)


async def test_when_both_attempts_fail_the_job_fails(resubmitted, bind, check_due, vendor, stored):
    job, second = await resubmitted()
    [first, _] = await stored.attempts(job.id)
    await bind(job, first["id"], "task-1")
    await bind(job, second.id, "task-2")
    vendor.tasks |= {"task-1": failed(), "task-2": failed()}

    for _ in range(2):
        await stored.age(job.id, "next_check_at")
        await check_due()

    assert (await stored.job(job.id)).failure_code == "generation_failed"


async def test_after_a_deadline_one_attempts_failure_does_not_end_the_search_for_the_other(
    resubmitted, bind, cast, check_due, vendor, stored, video
):
    job, second = await resubmitted()
    [first, _] = await stored.attempts(job.id)
    await bind(job, first["id"], "task-1")
    await bind(job, second.id, "task-2")
    code, policy = FailureCode.PROCESSING_TIMEOUT, Settings(**NEEDED)
    await cast(settlement.fail, job.id, code, message="late", by="tests", policy=policy)
    vendor.tasks |= {"task-1": failed(), "task-2": done(video)}

    for _ in range(2):
        await stored.run("UPDATE video_jobs SET next_check_at = now() WHERE next_check_at IS NOT NULL")
        await check_due()

    assert await stored.status(job.id) == "completed"


# Refunds --------------------------------------------------------------------------------------------


async def test_a_message_of_a_failure_refunds(make_job, make_reconciler, stored):
    job = await make_job(JobStatus.FAILED)
    message = JobFailed(job_id=job.id, job_version=4, code="refused", message="no")

    await make_reconciler().refund(message)
    await make_reconciler().refund(message)

    assert await stored.balance() == 100


async def test_a_lost_message_is_made_good_by_the_sweep(make_job, make_reconciler, stored):
    for status in (JobStatus.FAILED, JobStatus.CANCELED, JobStatus.COMPLETED, JobStatus.PROCESSING):
        await make_job(status, wallet_address=status)

    assert await make_reconciler().sweep_refunds() == 2
    assert await make_reconciler().sweep_refunds() == 0

    assert [await stored.balance(wallet) for wallet in ("failed", "canceled", "completed")] == [100, 100, 96]


async def test_message_and_sweep_at_once_refund_once(make_job, make_reconciler, stored):
    job = await make_job(JobStatus.FAILED)
    message = JobFailed(job_id=job.id, job_version=4, code="refused", message="no")
    reconciler = make_reconciler()

    await asyncio.gather(
        *(work() for _ in range(5) for work in (reconciler.sweep_refunds, lambda: reconciler.refund(message)))
    )

    assert await stored.balance() == 100
    assert await stored.books_balance()


async def test_a_message_about_a_job_that_was_rescued_refunds_nothing(make_job, make_reconciler, stored):
    job = await make_job(JobStatus.COMPLETED)

    await make_reconciler().refund(JobFailed(job_id=job.id, job_version=4, code="refused", message="no"))

    assert await stored.balance() == 96


# Permits --------------------------------------------------------------------------------------------


@pytest.fixture
def lost_permit(make_job, stored):
    async def make():
        job = await make_job()
        await stored.run("DELETE FROM outbox")
        await stored.age(job.id, "republish_after")
        return job

    return make


async def test_a_lost_permit_is_made_again(lost_permit, make_reconciler, stored):
    job = await lost_permit()

    assert await make_reconciler().republish() == 1
    assert await stored.outbox(job.id) == ["job.requested"]


async def test_a_permit_that_waits_in_the_queue_is_not_lost(lost_permit, make_reconciler, bus):
    await lost_permit()
    bus.waiting = 1

    assert await make_reconciler().republish() == 0


async def test_while_the_broker_is_away_nothing_is_made_again(lost_permit, make_reconciler, bus):
    await lost_permit()
    bus.waiting = None

    assert await make_reconciler().republish() == 0


async def test_a_permit_that_waits_in_the_outbox_is_not_lost(lost_permit, make_reconciler, cast):
    job = await lost_permit()
    await cast(outbox.add, JobRequested(job_id=job.id, job_version=1), after=timedelta(hours=1))

    assert await make_reconciler().republish() == 0


@pytest.mark.parametrize("column", ["next_attempt_at", "republish_after"])
async def test_a_job_that_is_not_due_needs_no_permit_and_no_look_at_the_broker(
    lost_permit, make_reconciler, bus, stored, column
):
    job = await lost_permit()
    await stored.age(job.id, column, seconds=-60)

    assert await make_reconciler().republish() == 0
    assert bus.asked == 0


async def test_a_permit_is_made_again_more_and_more_rarely(lost_permit, make_reconciler, stored):
    job = await lost_permit()
    waits = []
    for _ in range(4):
        await make_reconciler().republish()
        waits.append(await stored.seconds_until(job.id, "republish_after"))
        await stored.run("DELETE FROM outbox")
        await stored.age(job.id, "republish_after")

    assert [round(wait / 20) for wait in waits] == [1, 2, 4, 8]


async def test_two_reconcilers_make_a_permit_once(lost_permit, make_reconciler, stored):
    job = await lost_permit()

    counts = await asyncio.gather(*(make_reconciler().republish() for _ in range(4)))

    assert sorted(counts) == [0, 0, 0, 1]
    assert await stored.outbox(job.id) == ["job.requested"]


# Cleaning -------------------------------------------------------------------------------------------


async def test_old_webhooks_and_keys_are_deleted(make_job, make_reconciler, stored):
    job = await make_job(JobStatus.COMPLETED, key="done")
    await make_job(key="open")
    await stored.run(
        """
        INSERT INTO callbacks (id, task_id, job_id, attempt_id, token_ok, body_hash, body, received_at)
        SELECT gen_random_uuid(), 't', $1, $2, true, age::text::bytea, '{}', now() - age
          FROM unnest(ARRAY[interval '15 days', interval '1 day']) AS age
        """,
        job.id,
        job.attempt_id,
    )
    await stored.run("INSERT INTO idempotency_keys (owner, key, request_hash, answer) VALUES ('o', 'answer', '', '{}')")
    await stored.run("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")

    assert await make_reconciler().clean() == 3

    assert await stored.count("callbacks") == 1
    assert await stored.value("SELECT string_agg(key, ',') FROM idempotency_keys") == "open"


async def test_a_rate_limit_nobody_met_for_a_minute_is_forgotten(make_reconciler, stored):
    await stored.run(
        "INSERT INTO rate_limits VALUES ('wallet:a', now() - interval '1 s'), ('wallet:b', now() + interval '1 min')"
    )

    assert await make_reconciler().clean() == 1

    assert [row["subject"] for row in await stored.rows("SELECT * FROM rate_limits")] == ["wallet:b"]


async def test_sessions_that_are_over_are_deleted(make_reconciler, stored):
    await stored.run(
        "INSERT INTO sessions (token_hash, wallet_address, expires_at)"
        " VALUES ('over', 'a', now() - interval '1 s'), ('open', 'a', now() + interval '1 min')"
    )

    assert await make_reconciler().clean() == 1

    assert [row["token_hash"] for row in await stored.rows("SELECT * FROM sessions")] == [b"open"]


async def test_old_outgoing_webhooks_are_deleted_with_their_attempts(make_job, make_reconciler, stored):
    await make_job(JobStatus.COMPLETED)
    await stored.run(
        """
        WITH made AS (INSERT INTO api_keys (id, name, key_hash, scopes)
                      VALUES (gen_random_uuid(), 'tests', 'x', '{jobs}') RETURNING id),
             hook AS (INSERT INTO webhook_endpoints (id, key_id, url, secret)
                      SELECT gen_random_uuid(), id, 'https://example.com', 'whsec_x' FROM made RETURNING id),
             sent AS (INSERT INTO webhook_deliveries (id, endpoint_id, event_id, type, body, created_at)
                      SELECT gen_random_uuid(), hook.id, gen_random_uuid(), 'webhook.test', '{}', now() - age
                        FROM hook, unnest(ARRAY[interval '31 days', interval '29 days']) AS age RETURNING id)
        INSERT INTO webhook_attempts (delivery_id, n, milliseconds) SELECT id, 1, 1 FROM sent
        """
    )

    assert await make_reconciler().clean() == 1

    assert (await stored.count("webhook_deliveries"), await stored.count("webhook_attempts")) == (1, 1)


async def test_what_is_unknown_of_a_send_outlives_a_repeat(make_job, cast, stored):
    """A sure outcome is never overwritten by a vague one."""
    job = await make_job(JobStatus.PROCESSING)

    written = await cast(attempts.record_outcome, job.attempt_id, SendOutcome.UNKNOWN, code=None, message="late")

    assert written is False
    assert (await stored.attempts(job.id))[0]["outcome"] == "accepted"
