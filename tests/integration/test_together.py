"""What comes at the same time is done together: never more than may be, and nobody's trouble is a neighbour's."""

import asyncio
import json

import pytest

from reelgate_callback import handlers as callback
from reelgate_callback.handlers import Receiver, Webhook
from reelgate_callback.settings import Settings as CallbackSettings
from reelgate_common import breaker
from reelgate_common.domain.errors import NotFound
from reelgate_common.domain.job import JobStatus, SendOutcome
from reelgate_common.ids import new_id
from reelgate_common.kie.answers import Send, Succeeded
from reelgate_common.messages import CallbackReceived, JobRequested
from reelgate_common.verification import Verifier
from reelgate_reconciler.handlers import Reconciler
from reelgate_reconciler.settings import Settings as ReconcilerSettings
from reelgate_submitter import handlers as submitter
from reelgate_submitter.handlers import Submitter
from reelgate_submitter.settings import Settings

PERMIT = JobRequested(job_id=new_id(), job_version=1)
NEEDED = {"database_url": "x", "amqp_url": "x", "kie_ai_api_key": "x"}


@pytest.fixture
def use_permits(db, vendor, relay, monkeypatch):
    """So many permits at the same moment, in one process; those that must wait for long give up."""
    monkeypatch.setattr(submitter, "_HOLD_SECONDS", 0)

    async def use(count, **overrides):
        settings = Settings(
            **NEEDED | {"public_base_url": "https://gateway.example", "kie_sends_per_window": 100} | overrides
        )
        process = Submitter(db, vendor, relay, settings)
        return await asyncio.gather(*(process.use_permit(PERMIT) for _ in range(count)), return_exceptions=True)

    return use


@pytest.fixture
def receive(db, relay, token):
    """Webhooks at the same moment, about the tasks of these jobs; what each is answered."""
    receiver = Receiver(db, relay, CallbackSettings(**NEEDED))

    async def run(jobs, task_ids):
        webhooks = [
            Webhook(
                body=json.dumps({"code": 200, "msg": str(n), "data": {"taskId": task_id}}).encode(),
                attempt=str(job.attempt_id),
                token=token,
                timestamp=None,
                signature=None,
            )
            for n, (job, task_id) in enumerate(zip(jobs, task_ids, strict=True))
        ]
        return await asyncio.gather(*(receiver.receive(webhook) for webhook in webhooks), return_exceptions=True)

    return run


@pytest.fixture
async def under_way(make_job):
    """Three jobs at Kie.ai."""
    return [await make_job(JobStatus.PROCESSING, task_id=f"task-{n}") for n in range(3)]


# Claims ---------------------------------------------------------------------------------------------


async def test_permits_claim_no_more_than_the_window_has_and_take_no_slot_more(make_job, use_permits, vendor, stored):
    for n in range(6):
        await make_job(wallet_address=f"w{n}")

    await use_permits(6, kie_sends_per_window=4, kie_send_window_seconds=3600)

    assert len(vendor.sent) == 4
    assert await stored.value("SELECT count(*) FROM send_slots WHERE used_at > 'epoch'") == 4
    assert await stored.value("SELECT count(*) FROM job_attempts") == 4
    assert await stored.value("SELECT count(*) FROM video_jobs WHERE status = 'pending'") == 2


async def test_no_slot_is_taken_for_a_permit_that_finds_no_job(make_job, use_permits, vendor, stored):
    for _ in range(2):
        await make_job()

    await use_permits(5)

    assert len(vendor.sent) == 2
    assert await stored.value("SELECT count(*) FROM send_slots WHERE used_at > 'epoch'") == 2


async def test_the_fairest_go_first(make_job, use_permits, vendor):
    greedy = [(await make_job(wallet_address="greedy")).id for _ in range(4)]
    modest = (await make_job(wallet_address="modest")).id

    await use_permits(5, kie_sends_per_window=2, kie_send_window_seconds=3600)

    assert set(vendor.sent) == {greedy[0], modest}


@pytest.mark.parametrize("limit", [{"kie_concurrent_tasks": 3}, {"kie_daily_credits": 239}])  # 60 each
async def test_permits_do_not_exceed_our_own_limits(make_job, use_permits, vendor, limit):
    for _ in range(8):
        await make_job()

    await use_permits(8, **limit)

    assert len(vendor.sent) == 3


async def test_of_many_permits_one_is_the_probe(cast, make_job, use_permits, vendor, stored):
    for _ in range(5):
        await make_job()
    await cast(breaker.trip, reason="no credits", first_seconds=5)
    await stored.run("UPDATE breaker SET open_until = now()")
    vendor.outcomes = [Send(outcome=SendOutcome.BLOCKED, code=402, message="no credits")]

    await use_permits(5)

    assert len(vendor.sent) == 1
    assert await stored.value("SELECT count(*) FROM send_slots WHERE used_at > 'epoch'") == 1


async def test_what_was_claimed_together_and_never_answered_is_unknown_and_not_sent_again(
    db, make_job, use_permits, vendor, relay, stored
):
    """The process dies in the middle of its sends: whoever looks cannot know which were written."""
    jobs = [await make_job() for _ in range(3)]
    all_sent = asyncio.Event()

    async def think():
        if len(vendor.sent) == len(jobs):
            all_sent.set()
        await asyncio.Event().wait()

    vendor.while_sending = think
    dying = asyncio.create_task(use_permits(3))
    await all_sent.wait()
    dying.cancel()
    await asyncio.wait([dying])
    await stored.run("UPDATE video_jobs SET deadline_at = now()")
    policy = ReconcilerSettings(**NEEDED)
    await Reconciler(db, None, relay, Verifier(db, vendor, policy, "tests"), policy).end_overdue()
    vendor.while_sending = None
    await use_permits(3)

    assert [await stored.status(job.id) for job in jobs] == ["unknown"] * 3
    assert len(vendor.sent) == 3


# Outcomes -------------------------------------------------------------------------------------------


async def test_a_task_id_given_twice_does_not_harm_the_others(make_job, use_permits, vendor, stored):
    for _ in range(4):
        await make_job()
    vendor.outcomes = [Send(outcome=SendOutcome.ACCEPTED, code=200, task_id=f"task-{n}") for n in (1, 1, 2, 3)]

    assert await use_permits(4) == [None] * 4

    assert sorted(row["status"] for row in await stored.rows("SELECT status FROM video_jobs")) == [
        *["processing"] * 3,
        "unknown",
    ]


# Webhooks and verdicts ------------------------------------------------------------------------------


async def test_each_webhook_has_its_own_answer(under_way, receive, stored):
    task_ids = ["task-0", "task-0", "task-1", "nobody's", "task-2"]
    jobs = [under_way[0], under_way[0], under_way[1], under_way[2], under_way[2]]

    answers = await receive(jobs, task_ids)

    assert [answer for n, answer in enumerate(answers) if n != 3] == [jobs[n].id for n in (0, 1, 2, 4)]
    assert isinstance(answers[3], NotFound)
    assert await stored.count("callbacks") == 4


async def test_a_flood_at_once_fills_no_more_than_one_after_the_other(under_way, receive, stored):
    await receive([under_way[0]] * 60, ["task-0"] * 60)

    assert await stored.count("callbacks") == 50


async def test_webhooks_do_not_wait_for_a_job_that_is_held(db, under_way, receive, stored):
    async with db.transaction() as tx:
        await tx.execute("SELECT FROM video_jobs WHERE id = $1 FOR UPDATE", under_way[0].id)
        assert await receive(under_way, [job.task_id for job in under_way]) == [job.id for job in under_way]

    assert await stored.count("callbacks") == 3


async def test_videos_that_are_told_together_complete_each_job_once(db, relay, vendor, under_way, receive, stored):
    await receive(under_way, [job.task_id for job in under_way])
    for job in under_way:
        vendor.tasks[job.task_id] = Succeeded(
            video_url=f"https://media.example/{job.task_id}.mp4", prompt=job.prompt, callback_url=None
        )
    verifier = Verifier(db, vendor, CallbackSettings(**NEEDED), "callback")
    hints = [
        CallbackReceived(job_id=row["job_id"], job_version=0, callback_id=row["id"])
        for row in await stored.rows("SELECT id, job_id FROM callbacks")
    ]

    process = callback.Hints(db, verifier)
    await asyncio.gather(*(process.verify(hint) for hint in hints * 2))

    for job in under_way:
        done = await stored.job(job.id)
        assert (done.status, done.video_url) == ("completed", f"https://media.example/{job.task_id}.mp4")
        assert (await stored.outbox(job.id)).count("job.completed") == 1
    assert sorted(vendor.asked) == [job.task_id for job in under_way]
