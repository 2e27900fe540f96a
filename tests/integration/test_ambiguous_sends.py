"""Sends of which nobody knew at first what became: whatever comes to light later, one price, one story.

The submitter's call is under way while everything else happens: leases end, deadlines pass, refunds are
written, the job is sent again; then the answer comes. What exists besides: `test_submitter.py` (the lease
alone), `test_callbacks.py` (the webhook's token), `test_reconciler.py` (deadlines, two attempts by polls).
"""

import asyncio
from itertools import permutations

import pytest

from reelgate_api import handlers as api
from reelgate_common import audit, settlement
from reelgate_common.auth import ADMIN, Caller
from reelgate_common.domain.errors import AlreadySent
from reelgate_common.domain.job import JobStatus, SendOutcome
from reelgate_common.ids import new_id
from reelgate_common.kie.answers import Failed, NotYet, Send, Succeeded
from reelgate_common.messages import JobRequested
from reelgate_common.settings import JobSettings
from reelgate_common.verification import Verifier
from reelgate_reconciler.handlers import Reconciler
from reelgate_reconciler.settings import Settings as ReconcilerSettings
from reelgate_submitter.handlers import Submitter
from reelgate_submitter.settings import Settings as SubmitterSettings

NEEDED = {"database_url": "x", "amqp_url": "x", "kie_ai_api_key": "x", "hint_interval_seconds": 1e-6}
PERMIT = JobRequested(job_id=new_id(), job_version=1)
OPERATOR = Caller(key_id=None, wallets=None, scopes=frozenset({ADMIN}))

ACCEPTED, REFUSED, UNKNOWN = SendOutcome.ACCEPTED, SendOutcome.REFUSED, SendOutcome.UNKNOWN
NOT_TAKEN = (SendOutcome.THROTTLED, SendOutcome.BLOCKED, SendOutcome.NOT_SENT)
PAID = {"charge": -4}
GIVEN_BACK = {"charge": -4, "refund": 4}
SENT_TWICE = ["accepted", "claimed", "unknown", "resubmitted", "claimed", "submitted"]


def answer(outcome, task_id="task-1"):
    if outcome is ACCEPTED:
        return Send(outcome=ACCEPTED, code=200, message="success", task_id=task_id)
    return Send(outcome=outcome, code=500, message="said so")


def done(video):
    return Succeeded(video_url=video, prompt="A cat on a skateboard", callback_url=None)


FAILED = Failed(code=501, message="no", prompt="A cat on a skateboard", callback_url=None)


@pytest.fixture
def make_reconciler(db, relay, vendor):
    def make(**policy):
        chosen = ReconcilerSettings(**NEEDED | policy)
        return Reconciler(db, None, relay, Verifier(db, vendor, chosen, "reconciler"), chosen)

    return make


@pytest.fixture
async def use_permit(db, relay, vendor, cast):
    chosen = SubmitterSettings(**NEEDED, public_base_url="https://gateway.example", kie_sends_per_window=100)

    async def use():
        await Submitter(db, vendor, relay, chosen).use_permit(PERMIT)

    return use


@pytest.fixture
def cancel(db, relay):
    """Its owner takes a job back."""

    async def run(job):
        return await api.cancel(job.id, caller=OPERATOR, db=db, relay=relay)

    return run


@pytest.fixture
def refund(cast):
    async def run(job):
        return await cast(settlement.refund, job.id, by="tests")

    return run


@pytest.fixture
def deadline(stored, make_reconciler):
    """The present state of every job has lasted too long."""

    async def pass_by(**policy):
        await stored.run("UPDATE video_jobs SET deadline_at = now() WHERE deadline_at IS NOT NULL")
        await make_reconciler(**policy).end_overdue()

    return pass_by


@pytest.fixture
def poll(stored, make_reconciler):
    """Every task anyone still wonders about is asked about."""

    async def once(**policy):
        await stored.run("UPDATE video_jobs SET next_check_at = now() WHERE next_check_at IS NOT NULL")
        await make_reconciler(**policy).check_due()

    return once


@pytest.fixture
def verify(db, vendor):
    """Ask about one task of an attempt and settle by the answer, as every service does."""

    async def run(attempt_id, task_id, **policy):
        await Verifier(db, vendor, JobSettings(**policy), "tests").verify(attempt_id, task_id)

    return run


@pytest.fixture
def story(db):
    """The job's timeline, as its owner sees it."""

    async def read(job):
        return [entry["event"] for entry in await api.timeline(job.id, caller=OPERATOR, db=db)]

    return read


@pytest.fixture
def check_books(db, stored):
    """The job's own entries, and that no rule of the audit is broken."""

    async def check(job, expected):
        assert await stored.ledger(job.id) == expected
        assert await stored.balance() == 100 + sum(expected.values())
        assert await audit.verify(db) == []

    return check


@pytest.fixture
def send(vendor, use_permit):
    """One send, during which `meanwhile` happens; `late` is the answer when it comes at last."""

    async def run(meanwhile, late):
        async def sleep():
            vendor.while_sending = None  # only this send is slow
            await meanwhile()
            vendor.outcomes = [late]

        vendor.while_sending = sleep
        await use_permit()

    return run


# What happens while a submitter sleeps past its lease -------------------------------------------------


@pytest.fixture
def gives_up(deadline, make_reconciler):
    """Lease and deadline pass, the price is given back."""

    async def happen():
        await deadline()
        await deadline()
        await make_reconciler().sweep_refunds()

    return happen


@pytest.fixture
def resubmits(deadline):
    """By policy the job is to be sent once more."""

    async def happen():
        await deadline()
        await deadline(submit_unknown_policy="resubmit")

    return happen


@pytest.fixture
def sends_again(resubmits, vendor, use_permit):
    """Another submitter has sent it once more."""

    async def happen():
        await resubmits()
        vendor.outcomes = [answer(ACCEPTED, "task-2")]
        await use_permit()

    return happen


@pytest.fixture
def delivers_elsewhere(sends_again, vendor, poll, video):
    """The second send brought the video."""

    async def happen():
        await sends_again()
        vendor.tasks["task-2"] = done(video)
        await poll()

    return happen


# A submitter that wakes past its lease ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("late", "state", "end"),
    [
        (ACCEPTED, "processing", ["submitted"]),
        (REFUSED, "failed", ["failed"]),
        (UNKNOWN, "unknown", []),
        *((outcome, "pending", [outcome]) for outcome in NOT_TAKEN),
    ],
)
async def test_an_answer_after_the_lease_still_moves_the_job(
    make_job, send, deadline, stored, story, check_books, late, state, end
):
    job = await make_job()

    await send(deadline, answer(late))

    assert await stored.status(job.id) == state
    assert await story(job) == ["accepted", "claimed", "unknown", *end]
    await check_books(job, PAID)


async def test_a_task_id_after_the_refund_is_kept_and_its_video_given(
    make_job, send, gives_up, poll, vendor, stored, story, check_books, video
):
    job = await make_job()
    await send(gives_up, answer(ACCEPTED))
    failed = await stored.job(job.id)

    vendor.tasks["task-1"] = done(video)
    await poll()

    assert (failed.status, failed.task_id) == ("failed", "task-1")
    assert (await stored.job(job.id)).video_url == video
    told = ["accepted", "claimed", "unknown", "failed", "refunded", "task_found", "recovered"]
    assert await story(job) == told
    await check_books(job, GIVEN_BACK)


async def test_a_task_id_after_the_refund_may_cost_its_price_again(
    make_job, send, gives_up, poll, vendor, check_books, video
):
    job = await make_job()
    await send(gives_up, answer(ACCEPTED))

    vendor.tasks["task-1"] = done(video)
    for _ in range(3):
        await poll(late_success="recharge")

    await check_books(job, GIVEN_BACK | {"recharge": -4})


@pytest.mark.parametrize("late", [REFUSED, UNKNOWN, *NOT_TAKEN])
async def test_no_other_answer_after_the_refund_changes_anything(
    make_job, send, gives_up, use_permit, vendor, stored, story, check_books, late
):
    job = await make_job()

    await send(gives_up, answer(late))
    failed = await stored.job(job.id)
    await use_permit()

    assert (failed.status, failed.failure_code) == ("failed", "submit_unknown")
    assert vendor.sent == [job.id]
    assert await story(job) == ["accepted", "claimed", "unknown", "failed", "refunded"]
    await check_books(job, GIVEN_BACK)


async def test_a_task_id_before_the_second_send_makes_it_needless(
    make_job, send, resubmits, use_permit, vendor, stored, story, check_books
):
    job = await make_job()

    await send(resubmits, answer(ACCEPTED))
    await use_permit()  # the permit of the second send is there, and finds nothing to do

    assert vendor.sent == [job.id]
    assert (await stored.job(job.id)).task_id == "task-1"
    assert await story(job) == ["accepted", "claimed", "unknown", "resubmitted", "submitted"]
    await check_books(job, PAID)


@pytest.mark.parametrize("late", [REFUSED, UNKNOWN, *NOT_TAKEN])
async def test_no_other_answer_before_the_second_send_makes_a_third(
    make_job, send, resubmits, use_permit, vendor, stored, story, check_books, late
):
    job = await make_job()

    await send(resubmits, answer(late))
    waiting = await stored.outbox(job.id)
    await stored.run("UPDATE breaker SET failures = 0")  # what it says of the account is told elsewhere
    vendor.outcomes = [answer(ACCEPTED, "task-2")]
    for _ in range(3):
        await use_permit()

    assert waiting == ["job.requested"] * 2  # at acceptance, and for the second send
    assert vendor.sent == [job.id] * 2
    assert await story(job) == SENT_TWICE
    assert [row["outcome"] for row in await stored.attempts(job.id)] == [late, ACCEPTED]
    await check_books(job, PAID)


@pytest.mark.parametrize(
    ("late", "told"), [(ACCEPTED, ["task_found"]), *((outcome, []) for outcome in (REFUSED, UNKNOWN, *NOT_TAKEN))]
)
async def test_an_answer_after_the_second_send_leaves_the_job_to_it(
    make_job, send, sends_again, use_permit, vendor, stored, story, check_books, late, told
):
    job = await make_job()

    await send(sends_again, answer(late))

    held = await stored.job(job.id)
    assert (held.status, held.task_id) == ("processing", "task-2")
    assert vendor.sent == [job.id] * 2
    assert await story(job) == SENT_TWICE + told
    await check_books(job, PAID)


@pytest.mark.parametrize(
    ("late", "told"), [(ACCEPTED, ["task_found"]), *((outcome, []) for outcome in (REFUSED, UNKNOWN, *NOT_TAKEN))]
)
async def test_an_answer_after_the_video_takes_nothing_away(
    make_job, send, delivers_elsewhere, stored, story, check_books, video, late, told
):
    job = await make_job()

    await send(delivers_elsewhere, answer(late))

    held = await stored.job(job.id)
    assert (held.status, held.task_id, held.video_url) == ("completed", "task-2", video)
    assert await story(job) == [*SENT_TWICE, "completed", *told]
    await check_books(job, PAID)


# Two attempts of one job ------------------------------------------------------------------------------


@pytest.fixture
async def twice(make_job, send, sends_again, stored):
    """A job that Kie.ai has twice: task-1 by the first attempt, task-2 by the second."""
    job = await make_job()
    await send(sends_again, answer(ACCEPTED))
    first, second = await stored.attempts(job.id)
    return job, {"task-1": first["id"], "task-2": second["id"]}


@pytest.mark.parametrize("order", list(permutations(["task-1", "task-2"])))
async def test_of_two_videos_the_first_to_be_known_is_given_and_the_other_noted(
    twice, vendor, verify, stored, story, check_books, order
):
    job, attempts = twice
    vendor.tasks = {task: done(f"https://media.example/{task}") for task in attempts}

    for task in order * 2:
        await verify(attempts[task], task)

    assert (await stored.job(job.id)).video_url == f"https://media.example/{order[0]}"
    assert await story(job) == [*SENT_TWICE, "task_found", "completed", "duplicate_video", "duplicate_video"]
    assert (await stored.outbox(job.id)).count("job.completed") == 1
    await check_books(job, PAID)


async def test_of_two_videos_at_once_one_is_given(twice, vendor, verify, stored, story, check_books):
    job, attempts = twice
    vendor.tasks = {task: done(f"https://media.example/{task}") for task in attempts}

    await asyncio.gather(*(verify(attempts[task], task) for task in list(attempts) * 4))

    events = await story(job)
    assert (events.count("completed"), events.count("duplicate_video")) == (1, 4)
    completed = await stored.job(job.id)
    assert completed.video_url.endswith(next(task for task, id_ in attempts.items() if id_ == completed.attempt_id))
    await check_books(job, PAID)


@pytest.mark.parametrize("order", list(permutations(["task-1", "task-2"])))
async def test_one_attempts_failure_is_not_the_jobs(twice, vendor, verify, stored, story, check_books, video, order):
    job, attempts = twice
    fails, delivers = order
    vendor.tasks = {fails: FAILED, delivers: NotYet(why="code 422")}
    await verify(attempts[fails], fails)
    between = await stored.job(job.id)

    vendor.tasks[delivers] = done(video)
    await verify(attempts[delivers], delivers)

    assert (between.status, between.task_id) == ("processing", delivers)
    assert (await stored.job(job.id)).video_url == video
    assert await story(job) == [*SENT_TWICE, "task_found", "attempt_failed", "completed"]
    await check_books(job, PAID)


@pytest.mark.parametrize("order", list(permutations(["task-1", "task-2"])))
async def test_a_failure_after_the_other_attempts_video_takes_nothing_back(
    twice, vendor, verify, refund, story, check_books, video, order
):
    job, attempts = twice
    delivers, fails = order
    vendor.tasks = {delivers: done(video), fails: FAILED}

    await verify(attempts[delivers], delivers)
    await verify(attempts[fails], fails)
    await refund(job)

    assert (await story(job))[-2:] == ["task_found", "completed"]
    await check_books(job, PAID)


async def test_when_both_fail_the_price_is_given_back_once(
    twice, vendor, verify, make_reconciler, stored, story, check_books
):
    job, attempts = twice
    vendor.tasks = dict.fromkeys(attempts, FAILED)

    await asyncio.gather(*(verify(attempts[task], task) for task in list(attempts) * 2))
    await asyncio.gather(*(make_reconciler().sweep_refunds() for _ in range(3)))

    assert (await stored.job(job.id)).failure_code == "generation_failed"
    assert await story(job) == [*SENT_TWICE, "task_found", "attempt_failed", "failed", "refunded"]
    await check_books(job, GIVEN_BACK)


async def test_two_late_videos_after_the_refund_recover_the_job_once(
    twice, vendor, verify, deadline, make_reconciler, stored, story, check_books
):
    job, attempts = twice
    await deadline()
    await make_reconciler().sweep_refunds()
    vendor.tasks = {task: done(f"https://media.example/{task}") for task in attempts}

    await asyncio.gather(*(verify(attempts[task], task, late_success="recharge") for task in attempts))

    end = ["failed", "refunded", "recovered", "duplicate_video"]
    assert await story(job) == [*SENT_TWICE, "task_found", *end]
    assert (await stored.outbox(job.id)).count("job.recovered") == 1
    await check_books(job, GIVEN_BACK | {"recharge": -4})


# A refund and a late video ----------------------------------------------------------------------------


@pytest.fixture
async def given_up(make_job, send, deadline):
    """Failed by its deadline, and not yet refunded."""
    job = await make_job()

    async def happen():
        await deadline()
        await deadline()

    await send(happen, answer(ACCEPTED))
    return job


@pytest.fixture
def in_order(db, stored, eventually):
    """Run two functions of a transaction on two connections: the second begins while the first holds its locks."""

    async def run(first, second):
        async def other():
            async with db.transaction() as tx:
                return await second(tx)

        async with db.transaction() as tx:
            before = await first(tx)
            waiting = asyncio.create_task(other())
            await eventually(stored.waiting)
        return before, await waiting

    return run


@pytest.mark.parametrize(("late_success", "books"), [("give", GIVEN_BACK), ("recharge", GIVEN_BACK | {"recharge": -4})])
async def test_a_video_that_comes_during_the_refund_finds_it_written(
    given_up, in_order, stored, story, check_books, video, late_success, books
):
    policy = JobSettings(late_success=late_success)
    attempt = (await stored.job(given_up.id)).attempt_id

    await in_order(
        lambda tx: settlement.refund(tx, given_up.id, by="tests"),
        lambda tx: settlement.deliver(tx, given_up.id, video_url=video, attempt_id=attempt, by="tests", policy=policy),
    )

    assert (await story(given_up))[-2:] == ["refunded", "recovered"]
    await check_books(given_up, books)


@pytest.mark.parametrize("late_success", ["give", "recharge"])
async def test_a_refund_that_comes_during_the_recovery_gives_nothing(
    given_up, in_order, stored, story, check_books, video, late_success
):
    policy = JobSettings(late_success=late_success)
    attempt = (await stored.job(given_up.id)).attempt_id

    _, amount = await in_order(
        lambda tx: settlement.deliver(tx, given_up.id, video_url=video, attempt_id=attempt, by="tests", policy=policy),
        lambda tx: settlement.refund(tx, given_up.id, by="tests"),
    )

    assert amount is None
    assert (await story(given_up))[-1] == "recovered"
    await check_books(given_up, PAID)


# Cancel, at every point of a send ---------------------------------------------------------------------


async def test_canceled_before_the_claim_it_is_never_sent(
    make_job, use_permit, cancel, make_reconciler, vendor, story, check_books
):
    job = await make_job()

    await cancel(job)
    await use_permit()
    await make_reconciler().sweep_refunds()

    assert vendor.sent == []
    assert await story(job) == ["accepted", "canceled", "refunded"]
    await check_books(job, GIVEN_BACK)


@pytest.mark.parametrize(
    ("outcome", "state", "end", "books"),
    [
        (ACCEPTED, "processing", ["submitted"], PAID),
        (REFUSED, "failed", ["failed", "refunded"], GIVEN_BACK),
        (UNKNOWN, "unknown", ["unknown"], PAID),
        *((outcome, "canceled", [outcome, "canceled", "refunded"], GIVEN_BACK) for outcome in NOT_TAKEN),
    ],
)
async def test_canceled_during_the_call_its_answer_decides(
    make_job, send, cancel, use_permit, make_reconciler, vendor, stored, story, check_books, outcome, state, end, books
):
    job = await make_job()

    async def twice():
        await cancel(job)
        await cancel(job)

    await send(twice, answer(outcome))
    await make_reconciler().sweep_refunds()
    await use_permit()

    assert vendor.sent == [job.id]
    assert await stored.status(job.id) == state
    assert await story(job) == ["accepted", "claimed", "cancel_requested", *end]
    await check_books(job, books)


@pytest.mark.parametrize("late", NOT_TAKEN)
async def test_a_wish_outlives_the_lease_of_the_call_it_came_into(
    make_job, send, cancel, deadline, make_reconciler, story, check_books, late
):
    job = await make_job()

    async def meanwhile():
        await cancel(job)
        await deadline()

    await send(meanwhile, answer(late))
    await make_reconciler().sweep_refunds()

    assert await story(job) == ["accepted", "claimed", "cancel_requested", "unknown", late, "canceled", "refunded"]
    await check_books(job, GIVEN_BACK)


async def test_a_wish_makes_an_unknown_send_end_without_another(
    make_job, send, cancel, resubmits, use_permit, make_reconciler, vendor, story, check_books
):
    job = await make_job()

    async def meanwhile():
        await cancel(job)
        await resubmits()

    await send(meanwhile, answer(UNKNOWN))
    await use_permit()
    await make_reconciler().sweep_refunds()

    assert vendor.sent == [job.id]
    assert await story(job) == ["accepted", "claimed", "cancel_requested", "unknown", "failed", "refunded"]
    await check_books(job, GIVEN_BACK)


async def test_canceled_before_its_second_send_it_is_not_sent_again_and_a_video_is_kept_back(
    make_job, send, cancel, resubmits, use_permit, verify, make_reconciler, vendor, stored, story, check_books, video
):
    job = await make_job()

    async def meanwhile():
        await resubmits()
        await cancel(job)
        await make_reconciler().sweep_refunds()

    await send(meanwhile, answer(ACCEPTED))
    await use_permit()
    vendor.tasks["task-1"] = done(video)
    [attempt] = await stored.attempts(job.id)
    await verify(attempt["id"], "task-1")

    assert vendor.sent == [job.id]
    assert (await stored.job(job.id)).video_url is None
    end = ["resubmitted", "canceled", "refunded", "task_found", "late_video"]
    assert await story(job) == ["accepted", "claimed", "unknown", *end]
    await check_books(job, GIVEN_BACK)


@pytest.mark.parametrize("state", [JobStatus.UNKNOWN, JobStatus.PROCESSING, JobStatus.COMPLETED, JobStatus.FAILED])
async def test_after_the_call_it_is_too_late_to_cancel(make_job, cancel, refund, stored, check_books, state):
    job = await make_job(state)

    with pytest.raises(AlreadySent):
        await cancel(job)

    assert (await stored.job(job.id)).cancel_requested_at is None
    await refund(job)
    await check_books(job, GIVEN_BACK if state is JobStatus.FAILED else PAID)


async def test_cancels_and_sends_at_once_never_give_back_what_was_sent(
    make_job, cancel, use_permit, make_reconciler, vendor, stored, db
):
    jobs = [await make_job() for _ in range(30)]

    async def take_back(job):
        try:
            await cancel(job)
        except AlreadySent:
            return

    await asyncio.gather(*(work for job in jobs for work in (use_permit(), take_back(job))))
    await make_reconciler().sweep_refunds()

    for job in jobs:
        was_sent = job.id in vendor.sent
        assert await stored.status(job.id) == ("processing" if was_sent else "canceled")
        assert await stored.ledger(job.id) == (PAID if was_sent else GIVEN_BACK)
    assert len(vendor.sent) == len(set(vendor.sent))
    assert await audit.verify(db) == []
