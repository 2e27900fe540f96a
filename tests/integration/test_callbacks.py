"""Kie.ai's webhook: kept as a hint, believed only as far as record-info confirms it."""

import asyncio
import json
from uuid import uuid4

import pytest

from reelgate_callback import handlers
from reelgate_callback.handlers import Receiver, Webhook
from reelgate_callback.settings import Settings
from reelgate_common.domain.errors import InvalidInput, NotFound
from reelgate_common.domain.job import JobStatus, SendOutcome
from reelgate_common.ids import new_id
from reelgate_common.kie.answers import Empty, Failed, Generating, Send, Succeeded
from reelgate_common.messages import CallbackReceived, JobRequested
from reelgate_common.verification import Verifier
from reelgate_submitter.handlers import Submitter
from reelgate_submitter.settings import Settings as SubmitterSettings

NEEDED = {"database_url": "x", "amqp_url": "x", "kie_ai_api_key": "x"}


def say(task_id, **body):
    return json.dumps({"code": 200, "msg": "success", "data": {"taskId": task_id, "info": {}}} | body).encode()


@pytest.fixture
def settings():
    return Settings(**NEEDED, hint_interval_seconds=5)


@pytest.fixture
def receive(db, relay, settings, token):
    """Take a webhook in; `of` is a job whose attempt's callback URL was called."""
    receiver = Receiver(db, relay, settings)

    async def run(body, *, of=None, attempt=None, token=token):
        attempt = attempt or (str(of.attempt_id) if of else None)
        webhook = Webhook(body=body, attempt=attempt, token=token if attempt else None, timestamp=None, signature=None)
        return await receiver.receive(webhook)

    return run


@pytest.fixture
def verify_all(db, relay, vendor, stored, settings):
    """Verify every webhook that was stored, as the consumer does; `in_time` when the interval has passed."""

    async def run(*, in_time=True):
        for row in await stored.rows("SELECT id, job_id FROM callbacks ORDER BY id"):
            if in_time:
                await stored.run("UPDATE video_jobs SET last_checked_at = NULL")
            message = CallbackReceived(job_id=row["job_id"], job_version=0, callback_id=row["id"])
            verifier = Verifier(db, vendor, settings, "callback")
            await handlers.Hints(db, verifier).verify(message)

    return run


def done(video, job=None, prompt=None):
    return Succeeded(video_url=video, prompt=prompt or (job.prompt if job else None), callback_url=None)


@pytest.fixture
async def sent(make_job):
    return await make_job(JobStatus.PROCESSING, task_id="task-1")


@pytest.fixture
async def lost(make_job):
    """A job whose send was never answered."""
    return await make_job(JobStatus.UNKNOWN)


# What is taken in -----------------------------------------------------------------------------------


async def test_a_webhook_about_a_known_task_is_stored_with_a_message(sent, receive, stored):
    assert await receive(say("task-1"), of=sent) == sent.id

    [row] = await stored.rows("SELECT * FROM callbacks")
    assert (row["task_id"], row["attempt_id"], row["token_ok"]) == ("task-1", sent.attempt_id, True)
    assert (await stored.outbox(sent.id))[-1] == "callback.received"


async def test_a_webhook_changes_no_job(sent, receive, stored):
    before = await stored.job(sent.id)

    await receive(say("task-1", code=501), of=sent)

    assert await stored.job(sent.id) == before


async def test_a_webhook_about_a_known_task_needs_no_token(sent, receive, stored):
    await receive(say("task-1"))

    assert await stored.value("SELECT token_ok FROM callbacks") is False


@pytest.mark.parametrize("wrong", ["another token", ""])
async def test_a_known_task_with_a_wrong_token_is_only_a_hint(sent, receive, stored, wrong):
    await receive(say("task-1"), of=sent, token=wrong)

    assert await stored.value("SELECT token_ok FROM callbacks") is False


async def test_an_unknown_task_with_the_right_token_is_remembered_as_a_hint(lost, receive, stored):
    await receive(say("task-9"), of=lost)

    [attempt] = await stored.attempts(lost.id)
    assert (attempt["hinted_task_id"], attempt["task_id"]) == ("task-9", None)


@pytest.mark.parametrize("wrong", ["another token", ""])
async def test_an_unknown_task_with_a_wrong_token_is_not_found(lost, receive, stored, wrong):
    with pytest.raises(NotFound):
        await receive(say("task-9"), of=lost, token=wrong)

    assert await stored.count("callbacks") == 0


@pytest.mark.parametrize("attempt", [None, "not-a-uuid", "%", "01890a5d-ac96-774b-bcce-b302099a8057"])
async def test_an_unknown_task_of_no_attempt_is_not_found(lost, receive, stored, attempt):
    with pytest.raises(NotFound):
        await receive(say("task-9"), attempt=attempt)

    assert await stored.count("callbacks") == 0


async def test_a_token_is_good_for_its_own_attempt_only(lost, make_job, receive, stored):
    await stored.run("UPDATE job_attempts SET token_hash = 'another'")
    other = await make_job(JobStatus.UNKNOWN)

    with pytest.raises(NotFound):
        await receive(say("task-9"), of=lost)
    assert await receive(say("task-9"), of=other) == other.id


async def test_a_task_with_another_jobs_token_is_its_owners(sent, lost, receive, stored):
    assert await receive(say("task-1"), of=lost) == sent.id

    assert await stored.value("SELECT token_ok FROM callbacks") is False
    assert (await stored.attempts(lost.id))[0]["hinted_task_id"] is None


async def test_a_second_task_for_an_attempt_that_has_one_is_not_found(sent, receive):
    with pytest.raises(NotFound):
        await receive(say("task-2"), of=sent)


@pytest.mark.parametrize("task_id", ["%", "_", "task-%", "task", "TASK-1", "task-1'--"])
async def test_a_task_id_is_compared_and_not_matched(sent, receive, task_id):
    with pytest.raises(NotFound):
        await receive(say(task_id))


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{", b"\xff\xfe", b"[" * 60_000])
async def test_what_is_no_json_object_is_refused(receive, body):
    with pytest.raises(InvalidInput, match="not a JSON object"):
        await receive(body)


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": {"taskId": ""}}, {"data": {"taskId": 7}}])
async def test_a_webhook_without_a_task_id_is_refused(receive, body):
    with pytest.raises(InvalidInput, match="Missing taskId"):
        await receive(json.dumps(body).encode())


async def test_a_repeat_is_answered_and_stored_once(sent, receive, stored):
    answers = [await receive(say("task-1"), of=sent) for _ in range(4)]

    assert set(answers) == {sent.id}
    assert await stored.count("callbacks") == 1
    assert (await stored.outbox(sent.id)).count("callback.received") == 1


async def test_concurrent_repeats_are_stored_once(sent, receive, stored):
    await asyncio.gather(*(receive(say("task-1"), of=sent) for _ in range(8)))

    assert await stored.count("callbacks") == 1


async def test_somebody_who_knows_a_task_id_cannot_fill_the_disk(sent, receive, stored):
    for n in range(60):
        assert await receive(say("task-1", msg=str(n))) == sent.id

    assert await stored.count("callbacks") == 50


async def test_any_bytes_in_a_webhook_can_be_stored(sent, receive, stored):
    body = b'{"data":{"taskId":"task-1"},"msg":"\\u0000 \\ud800 \x00\xff"}'.replace(b"\x00", b"").replace(b"\xff", b"")

    await receive(body, of=sent)

    assert await stored.count("callbacks") == 1


# What comes of it -----------------------------------------------------------------------------------


async def test_a_true_success_completes_the_job(sent, receive, vendor, verify_all, stored, video):
    vendor.tasks["task-1"] = done(video, sent)
    await receive(say("task-1"), of=sent)

    await verify_all()

    job = await stored.job(sent.id)
    assert (job.status, job.video_url) == ("completed", video)
    assert (await stored.outbox(sent.id))[-1] == "job.completed"


async def test_a_true_failure_fails_the_job(sent, receive, vendor, verify_all, stored):
    vendor.tasks["task-1"] = Failed(
        code=501, message="Failed - Video generation task failed", prompt=None, callback_url=None
    )
    await receive(say("task-1", code=501), of=sent)

    await verify_all()

    job = await stored.job(sent.id)
    assert (job.status, job.failure_code) == ("failed", "generation_failed")
    assert job.error_message == "Failed - Video generation task failed"


@pytest.mark.parametrize(
    "truth",
    [None, Generating(prompt=None, callback_url=None), Empty(prompt=None, callback_url=None)],
    ids=["not-yet", "generating", "empty"],
)
@pytest.mark.parametrize("claim", [200, 400, 422, 500, 501])
async def test_a_forged_claim_changes_nothing(sent, receive, vendor, verify_all, stored, truth, claim):
    if truth:
        vendor.tasks["task-1"] = truth
    forged = {"taskId": "task-1", "info": {"resultUrls": ["https://evil.example/v.mp4"]}, "successFlag": 1}
    await receive(say("task-1", code=claim, data=forged))

    await verify_all()

    assert await stored.status(sent.id) == "processing"
    assert await stored.ledger(sent.id) == {"charge": -4}


async def test_the_video_is_the_one_record_info_names(sent, receive, vendor, verify_all, stored, video):
    vendor.tasks["task-1"] = done(video, sent)
    await receive(say("task-1", data={"taskId": "task-1", "info": {"resultUrls": ["https://evil.example/v.mp4"]}}))

    await verify_all()

    assert (await stored.job(sent.id)).video_url == video


async def test_a_failure_that_is_claimed_late_does_not_undo_a_video(sent, receive, vendor, verify_all, stored, video):
    vendor.tasks["task-1"] = done(video, sent)
    await receive(say("task-1"), of=sent)
    await verify_all()
    await receive(say("task-1", code=501), of=sent)

    await verify_all()

    assert await stored.status(sent.id) == "completed"
    assert (await stored.outbox(sent.id)).count("job.completed") == 1


async def test_a_flood_of_hints_asks_once_in_an_interval(sent, receive, vendor, verify_all, stored):
    for n in range(20):
        await receive(say("task-1", msg=str(n)))

    await verify_all(in_time=False)

    assert vendor.asked == ["task-1"]
    assert await stored.seconds_until(sent.id, "next_check_at") <= 5


async def test_a_message_whose_webhook_was_cleaned_up_is_done(sent, db, relay, vendor, settings):
    message = CallbackReceived(job_id=sent.id, job_version=0, callback_id=uuid4())

    await handlers.Hints(db, Verifier(db, vendor, settings, "callback")).verify(message)

    assert vendor.asked == []


# Before the answer to the send ----------------------------------------------------------------------


async def test_a_hint_heals_a_send_nobody_heard_of(lost, receive, vendor, verify_all, stored, video):
    vendor.tasks["task-9"] = done(video, lost)
    await receive(say("task-9"), of=lost)

    await verify_all()

    job = await stored.job(lost.id)
    assert (job.status, job.task_id, job.video_url) == ("completed", "task-9", video)
    assert await stored.events(lost.id) == ["accepted", "claimed", "unknown", "submitted", "completed"]


@pytest.mark.parametrize("prompt", ["Another prompt", None])
async def test_a_task_of_another_prompt_is_not_bound(lost, receive, vendor, verify_all, stored, video, prompt):
    vendor.tasks["task-9"] = done(video, prompt=prompt)
    await receive(say("task-9"), of=lost)

    await verify_all()

    [attempt] = await stored.attempts(lost.id)
    assert (attempt["task_id"], attempt["hinted_task_id"]) == (None, None)
    assert await stored.status(lost.id) == "unknown"


async def test_a_task_that_was_sent_for_another_attempt_is_not_bound(lost, receive, vendor, verify_all, stored, video):
    url = f"https://gateway.example/api/video/kie-ai-callback?attempt={new_id()}&token=x"
    vendor.tasks["task-9"] = Succeeded(video_url=video, prompt=lost.prompt, callback_url=url)
    await receive(say("task-9"), of=lost)

    await verify_all()

    assert await stored.status(lost.id) == "unknown"


async def test_a_task_of_another_job_is_not_bound(lost, sent, receive, vendor, cast, stored, db, settings, video):
    vendor.tasks["task-1"] = done(video, lost)

    await Verifier(db, vendor, settings, "callback").verify(lost.attempt_id, "task-1")

    assert await stored.status(lost.id) == "unknown"
    assert (await stored.job(sent.id)).task_id == "task-1"


async def test_a_task_the_vendor_does_not_know_yet_stays_a_hint(lost, receive, verify_all, stored):
    await receive(say("task-9"), of=lost)

    await verify_all()

    assert (await stored.attempts(lost.id))[0]["hinted_task_id"] == "task-9"
    assert await stored.seconds_until(lost.id, "next_check_at") is not None


async def test_a_hint_that_comes_before_the_answer_to_the_send_completes_and_the_answer_is_quiet(
    make_job, db, relay, vendor, receive, verify_all, stored, cast, video
):
    job = await make_job()
    vendor.tasks["task-9"] = done(video, job)
    vendor.outcomes = [Send(outcome=SendOutcome.ACCEPTED, code=200, task_id="task-9")]

    async def call_back_first():
        url = vendor.callback_urls[0]
        attempt, token = url.split("attempt=")[1].split("&token=")
        await receive(say("task-9"), attempt=attempt, token=token)
        await verify_all()

    vendor.while_sending = call_back_first
    submitter = Submitter(db, vendor, relay, SubmitterSettings(**NEEDED, public_base_url="https://gateway.example"))
    await submitter.use_permit(JobRequested(job_id=job.id, job_version=1))

    assert await stored.events(job.id) == ["accepted", "claimed", "submitted", "completed"]
    assert (await stored.outbox(job.id)).count("job.submitted") == 1


async def test_a_hint_about_one_task_does_not_settle_by_another(lost, vendor, receive, stored, db, settings, video):
    """Between the hint and its verification the send's own answer arrived, with another task id."""
    await receive(say("task-evil"), of=lost)
    await stored.run(
        "UPDATE job_attempts SET outcome = 'accepted', outcome_at = now(), task_id = 'task-true' WHERE job_id = $1",
        lost.id,
    )
    await stored.run("UPDATE video_jobs SET status = 'processing', task_id = 'task-true' WHERE id = $1", lost.id)
    vendor.tasks["task-evil"] = done("https://evil.example/v.mp4", prompt="Another prompt")

    await Verifier(db, vendor, settings, "callback").verify(lost.attempt_id, "task-evil")

    assert await stored.status(lost.id) == "processing"
