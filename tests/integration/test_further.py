"""Taking a finished video further, from the request to its end: extensions and upgrades are jobs like any other."""

import asyncio
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest
from api_client import api_settings, opened

from reelgate_callback import handlers as callback
from reelgate_callback.handlers import Receiver, Webhook
from reelgate_callback.settings import Settings as CallbackSettings
from reelgate_common import attempts, audit, auth, jobs, keys, settlement
from reelgate_common.domain.job import JobStatus, Operation, SendOutcome
from reelgate_common.ids import new_id
from reelgate_common.kie.answers import Failed, Generating, Succeeded
from reelgate_common.kie.requests import Extension
from reelgate_common.kie.upgrades import Upgrade
from reelgate_common.messages import CallbackReceived, JobRequested
from reelgate_common.settings import JobSettings
from reelgate_common.verification import Verifier
from reelgate_reconciler.handlers import Reconciler
from reelgate_reconciler.settings import Settings as ReconcilerSettings
from reelgate_submitter.handlers import Submitter
from reelgate_submitter.settings import Settings as SubmitterSettings

NEEDED = {"database_url": "x", "amqp_url": "x", "kie_ai_api_key": "x"}
UPGRADES = ["upgrade_1080p", "upgrade_4k"]
BETTER = "https://media.example/better.mp4"
MADE = Upgrade(outcome=SendOutcome.ACCEPTED, video_url=BETTER)


# The door -------------------------------------------------------------------------------------------


@pytest.fixture
def open_api(database_url, broker):
    return lambda **overrides: opened(api_settings(database_url, broker, **overrides))


@pytest.fixture
async def api(open_api):
    async with open_api() as client:
        yield client


async def extend(api, source, *, headers=None, **body):
    return await api.post(f"/api/video/jobs/{source.id}/extend", json={"prompt": "and then"} | body, headers=headers)


async def upgrade(api, source, resolution="1080p", *, headers=None, **body):
    body = {"resolution": resolution} | body
    return await api.post(f"/api/video/jobs/{source.id}/upgrade", json=body, headers=headers)


async def view(api, answer):
    assert answer.status_code == 202, answer.text
    job = await api.get(answer.headers["Location"])
    return job.json()["job"]


async def test_an_extension_is_a_job_of_the_same_wallet_charged_at_once(api, make_job, stored):
    source = await make_job(JobStatus.COMPLETED, cost=4)
    before = await stored.balance()

    job = await view(api, await extend(api, source, seeds=12345, metadata={"scene": 2}, client_reference_id="mine"))

    assert (job["operation"], job["source_job_id"]) == ("extend", str(source.id))
    assert (job["status"], job["wallet_address"], job["prompt"]) == ("pending", source.wallet_address, "and then")
    assert (job["model"], job["seeds"], job["metadata"]) == (source.model, 12345, {"scene": 2})
    assert await stored.ledger(job["id"]) == {"charge": -4}
    assert before - await stored.balance() == 4
    assert await stored.outbox(job["id"]) in ([], ["job.requested"])  # the relay may have been quick


@pytest.mark.parametrize(("resolution", "cost"), [("1080p", 1), ("4k", 8)])
async def test_an_upgrade_is_a_job_at_its_own_price(api, make_job, stored, resolution, cost):
    source = await make_job(JobStatus.COMPLETED)

    job = await view(api, await upgrade(api, source, resolution))

    assert (job["operation"], job["resolution"]) == (f"upgrade_{resolution}", resolution)
    assert await stored.ledger(job["id"]) == {"charge": -cost}


async def test_an_extension_with_another_model_costs_that_models_price(api, make_job, stored):
    job = await view(api, await extend(api, await make_job(JobStatus.COMPLETED), model="veo3"))

    assert await stored.ledger(job["id"]) == {"charge": -17}


async def test_a_video_longer_by_an_extension_can_be_taken_further(api, make_further, stored):
    longer = await make_further("extend", JobStatus.COMPLETED, task_id="longer")

    for answer in [await extend(api, longer), await upgrade(api, longer)]:
        assert (await stored.job((await view(api, answer))["id"])).source_task_id == "longer"


@pytest.mark.parametrize("status", [s for s in JobStatus if s is not JobStatus.COMPLETED])
async def test_only_a_finished_video_is_taken_further(api, make_job, stored, status):
    source = await make_job(status)
    before = await stored.count("video_jobs"), await stored.balance()

    for answer in [await extend(api, source), await upgrade(api, source)]:
        assert (answer.status_code, answer.json()["code"]) == (409, "source_unusable")
    assert (await stored.count("video_jobs"), await stored.balance()) == before


async def test_an_upgrade_itself_is_not_taken_further_and_says_what_is(api, make_further):
    better = await make_further("upgrade_4k", JobStatus.COMPLETED)

    for answer in [await extend(api, better), await upgrade(api, better)]:
        assert answer.status_code == 409
        assert str(better.source_job_id) in answer.json()["detail"]


async def test_a_video_the_vendor_has_forgotten_is_not_taken_further(api, make_job, stored):
    source = await make_job(JobStatus.COMPLETED)
    await stored.age(source.id, "started_at", seconds=14 * 86400 + 1)

    for answer in [await extend(api, source), await upgrade(api, source)]:
        assert answer.status_code == 409
        assert "14 days" in answer.json()["detail"]


@pytest.mark.parametrize("status", [JobStatus.PENDING, JobStatus.PROCESSING, JobStatus.COMPLETED])
async def test_a_video_upgraded_to_1080p_is_not_extended_any_more(api, make_job, make_further, status):
    source = await make_job(JobStatus.COMPLETED)
    await make_further("upgrade_1080p", status, source=source)

    assert (await extend(api, source)).status_code == 409


async def test_a_failed_upgrade_stops_neither_an_extension_nor_another_upgrade(api, make_job, make_further):
    source = await make_job(JobStatus.COMPLETED)
    await make_further("upgrade_1080p", JobStatus.FAILED, source=source)

    assert (await extend(api, source)).status_code == 202
    assert (await upgrade(api, source)).status_code == 202


async def test_the_same_upgrade_is_not_sold_twice_however_many_ask_at_once(api, make_job, stored):
    source = await make_job(JobStatus.COMPLETED)
    before = await stored.balance()

    answers = await asyncio.gather(*(upgrade(api, source, "4k") for _ in range(10)))

    [made] = [answer.json()["job_id"] for answer in answers if answer.status_code == 202]
    refused = [answer for answer in answers if answer.status_code == 409]
    assert len(refused) == 9
    assert all(made in answer.json()["detail"] for answer in refused)
    assert before - await stored.balance() == 8


async def test_a_video_that_goes_while_it_is_asked_for_is_not_there(api, make_job, stored, db):
    source = await make_job(JobStatus.COMPLETED)
    before = await stored.balance()
    async with db.transaction() as tx:
        await tx.execute("DELETE FROM video_jobs WHERE id = $1", source.id)
        asked = asyncio.create_task(upgrade(api, source))
        while not await stored.waiting():
            assert not asked.done()
    answer = await asked

    assert answer.status_code == 404
    assert await stored.balance() == before


async def test_the_same_key_gives_the_same_upgrade_and_charges_once(api, make_job, stored):
    source, key = await make_job(JobStatus.COMPLETED), {"Idempotency-Key": "once"}

    answers = await asyncio.gather(*(upgrade(api, source, headers=key) for _ in range(5)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert [answer.headers.get("Idempotent-Replayed") for answer in answers].count("true") == 4
    assert (await upgrade(api, source, "4k", headers=key)).status_code == 422
    assert await stored.books_balance()


@pytest.mark.parametrize(("resolution", "asked"), [("1080p", "1080p"), ("4k", "1080p"), ("4k", "4k")])
async def test_an_upgrade_must_be_above_the_videos_own_resolution(api, make_job, resolution, asked):
    source = await make_job(JobStatus.COMPLETED, resolution=resolution)

    answer = await upgrade(api, source, asked)

    assert (answer.status_code, answer.json()["field"]) == (400, "resolution")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": "p" * 5001}, "prompt"),
        ({"model": "veo2"}, "model"),
        ({"seeds": 9999}, "seeds"),
        ({"seeds": 100_000}, "seeds"),
        ({"seeds": "12345"}, "seeds"),
        ({"watermark": ""}, "watermark"),
    ],
)
async def test_a_bad_extension_is_refused_naming_the_field(api, make_job, stored, body, field):
    source = await make_job(JobStatus.COMPLETED)

    answer = await extend(api, source, **body)

    assert (answer.status_code, answer.json()["field"]) == (400, field)
    assert await stored.count("video_jobs") == 1


async def test_a_bad_upgrade_is_refused_naming_the_field(api, make_job):
    source = await make_job(JobStatus.COMPLETED)

    for resolution in ("720p", "8k", None):
        answer = await upgrade(api, source, resolution)
        assert (answer.status_code, answer.json()["field"]) == (400, "resolution")


async def test_without_credits_nothing_is_made(api, make_job, stored):
    source = await make_job(JobStatus.COMPLETED)
    await stored.run("UPDATE credits SET credits = 0")

    assert (await upgrade(api, source)).status_code == 402
    assert (await extend(api, source)).status_code == 402
    assert await stored.count("video_jobs") == 1


async def test_what_has_no_price_is_not_for_sale(open_api, make_job):
    source = await make_job(JobStatus.COMPLETED)
    async with open_api(credits_per_video='{"veo3_fast": {"1080p": 5}}', credits_per_upgrade={"1080p": 2}) as api:
        assert (await upgrade(api, source, "4k")).json()["field"] == "resolution"
        assert (await extend(api, source)).json()["field"] == "model"
        assert (await upgrade(api, source, "1080p")).status_code == 202


async def test_other_peoples_videos_are_not_there(open_api, make_job, cast):
    mine, theirs = await make_job(JobStatus.COMPLETED), await make_job(JobStatus.COMPLETED, wallet_address="other")
    _, key = await cast(keys.create_key, "tests", scopes=[auth.JOBS], wallets=[mine.wallet_address])
    headers = {"Authorization": f"Bearer {key}"}
    async with open_api(auth_mode="required") as api:
        for answer in [await extend(api, theirs, headers=headers), await upgrade(api, theirs, headers=headers)]:
            assert answer.status_code == 404
        assert (await extend(api, mine, headers=headers)).status_code == 202


# The send -------------------------------------------------------------------------------------------


@pytest.fixture
def use_permit(db, vendor, relay):
    async def use(**overrides):
        settings = SubmitterSettings(**NEEDED, public_base_url="https://gateway.example", **overrides)
        await Submitter(db, vendor, relay, settings).use_permit(JobRequested(job_id=new_id(), job_version=1))

    return use


@pytest.fixture
def check_due(db, vendor, relay, stored):
    """Let the reconciler ask about what is under way."""

    async def run(**overrides):
        settings = ReconcilerSettings(**NEEDED, **{"hint_interval_seconds": 1e-6} | overrides)
        await stored.run("UPDATE video_jobs SET next_check_at = now() WHERE next_check_at IS NOT NULL")
        return await Reconciler(db, None, relay, Verifier(db, vendor, settings, "tests"), settings).check_due()

    return run


async def test_an_extension_is_sent_about_its_sources_task(make_job, make_further, use_permit, vendor, stored):
    source = await make_job(JobStatus.COMPLETED, task_id="source", model="veo3")
    job = await make_further("extend", source=source, prompt="and then", model="veo3", seeds=12345, watermark="w")

    await use_permit()

    assert vendor.sent == [Extension(task_id="source", prompt="and then", model="veo3", seeds=12345, watermark="w")]
    job = await stored.job(job.id)
    assert job.status is JobStatus.PROCESSING
    assert job.task_id != "source"  # an extension is a task of its own


async def test_an_extension_ends_like_any_other_video(make_further, use_permit, check_due, vendor, stored):
    job = await make_further("extend", prompt="and then")
    await use_permit()
    task_id = (await stored.job(job.id)).task_id
    vendor.tasks[task_id] = Succeeded(video_url=BETTER, prompt="and then", callback_url=None)

    await check_due()

    job = await stored.job(job.id)
    assert (job.status, job.video_url) == ("completed", BETTER)


@pytest.mark.parametrize("operation", UPGRADES)
async def test_an_upgrade_is_sent_once_then_asked_about_until_it_is_made(
    make_job, make_further, use_permit, check_due, vendor, stored, operation
):
    kind = operation.removeprefix("upgrade_")
    job = await make_further(operation, source=await make_job(JobStatus.COMPLETED, task_id="source"))

    await use_permit()
    assert (await stored.job(job.id)).status is JobStatus.PROCESSING
    await check_due()
    assert (await stored.job(job.id)).status is JobStatus.PROCESSING
    vendor.upgrades = [MADE]
    await check_due()

    job = await stored.job(job.id)
    assert (job.status, job.video_url) == ("completed", BETTER)
    assert (vendor.sent, vendor.asked) == ([(kind, "source")], [(kind, "source")] * 2)


async def test_only_4k_is_given_a_callback_url(make_further, use_permit, vendor):
    await make_further("upgrade_1080p")
    await use_permit()
    await make_further("upgrade_4k")
    await use_permit()

    assert vendor.callback_urls[0] is None
    assert vendor.callback_urls[1].startswith("https://gateway.example/api/video/kie-ai-callback?attempt=")


@pytest.mark.parametrize("operation", ["extend", *UPGRADES])
@pytest.mark.parametrize(
    ("outcome", "status", "refunded"),
    [
        (SendOutcome.REFUSED, "failed", True),
        (SendOutcome.THROTTLED, "pending", False),
        (SendOutcome.BLOCKED, "pending", False),
        (SendOutcome.NOT_SENT, "pending", False),
        (SendOutcome.UNKNOWN, "unknown", False),
    ],
)
async def test_every_way_a_send_can_end_is_the_same_for_every_kind(
    make_further, use_permit, vendor, stored, operation, outcome, status, refunded
):
    job = await make_further(operation)
    vendor.outcomes = [replace(vendor.accepted(), outcome=outcome, task_id=None)]
    vendor.upgrades = [Upgrade(outcome=outcome)]

    await use_permit()

    assert await stored.status(job.id) == status
    assert ("job.failed" in await stored.outbox(job.id)) == refunded


@pytest.mark.parametrize("operation", UPGRADES)
@pytest.mark.parametrize(
    ("truth", "status"),
    [
        (Upgrade(outcome=SendOutcome.ACCEPTED), "processing"),
        (MADE, "completed"),
        (Upgrade(outcome=SendOutcome.REFUSED, code=500, message="unavailable"), "failed"),
        (Upgrade(outcome=SendOutcome.UNKNOWN, code=500), "unknown"),
        (Upgrade(outcome=SendOutcome.NOT_SENT), "unknown"),
        (Upgrade(outcome=SendOutcome.THROTTLED, code=429), "unknown"),
        (Upgrade(outcome=SendOutcome.BLOCKED, code=402), "unknown"),
    ],
)
async def test_an_upgrade_whose_send_is_unknown_is_asked_about(
    make_further, use_permit, check_due, vendor, stored, operation, truth, status
):
    job = await make_further(operation)
    vendor.upgrades = [Upgrade(outcome=SendOutcome.UNKNOWN), truth]
    await use_permit()

    await check_due()

    job = await stored.job(job.id)
    assert job.status == status
    assert len(vendor.sent) == 1


@pytest.mark.parametrize("operation", UPGRADES)
async def test_an_upgrade_that_fails_at_the_vendor_is_refunded(
    db, make_further, use_permit, check_due, vendor, stored, cast, operation
):
    job = await make_further(operation, cost=8)
    await use_permit()
    vendor.upgrades = [Upgrade(outcome=SendOutcome.REFUSED, code=500, message="The 4K version is unavailable")]

    await check_due()
    await cast(settlement.refund, job.id, by="tests")

    failed = await stored.job(job.id)
    assert (failed.failure_code, failed.error_message) == ("generation_failed", "The 4K version is unavailable")
    assert await stored.ledger(job.id) == {"charge": -8, "refund": 8}
    assert await audit.verify(db) == []


@pytest.mark.parametrize("operation", UPGRADES)
async def test_an_upgrade_given_up_as_unknown_is_refunded_and_never_asked_about_again(
    db, relay, vendor, make_further, stored, operation
):
    """To ask would start it, and bill it, after its refund."""
    job = await make_further(operation, JobStatus.UNKNOWN)
    vendor.upgrades = [Upgrade(outcome=SendOutcome.UNKNOWN)] * 3
    await stored.age(job.id, "deadline_at")
    settings = ReconcilerSettings(**NEEDED)

    await Reconciler(db, None, relay, Verifier(db, vendor, settings, "tests"), settings).end_overdue()

    failed = await stored.job(job.id)
    assert (failed.status, failed.failure_code) == ("failed", "submit_unknown")
    assert await stored.seconds_until(job.id, "next_check_at") is None


async def test_two_upgrades_of_one_video_may_be_under_way_at_once(make_job, make_further, use_permit, stored):
    source = await make_job(JobStatus.COMPLETED)
    upgrades = [await make_further(operation, source=source) for operation in UPGRADES]
    for _ in upgrades:
        await use_permit()

    assert {(await stored.job(job.id)).status for job in upgrades} == {JobStatus.PROCESSING}


# The 4K webhook -------------------------------------------------------------------------------------


@pytest.fixture
def call_back(db, relay, vendor, stored):
    """Receive a 4K webhook that names this task, then do what its message asks for."""

    async def come(task_id, *, body=None):
        query = parse_qs(urlsplit(vendor.callback_urls[-1]).query)
        settings = CallbackSettings(**NEEDED, hint_interval_seconds=1e-6)
        webhook = Webhook(
            body=(body or b'{"code": 200, "data": {"taskId": "%s"}}') % task_id.encode(),
            attempt=query["attempt"][0],
            token=query["token"][0],
            timestamp=None,
            signature=None,
        )
        job_id = await Receiver(db, relay, settings).receive(webhook)
        callback_id = await stored.value("SELECT id FROM callbacks ORDER BY received_at DESC LIMIT 1")
        message = CallbackReceived(job_id=job_id, job_version=0, callback_id=callback_id)
        await callback.Hints(db, Verifier(db, vendor, settings, "callback")).verify(message)
        return job_id

    return come


@pytest.mark.parametrize("named", ["source", "a task of its own"])
async def test_a_4k_webhook_brings_the_upgrade_whichever_task_it_names(
    make_job, make_further, use_permit, call_back, vendor, stored, named
):
    job = await make_further("upgrade_4k", source=await make_job(JobStatus.COMPLETED, task_id="source"))
    await use_permit()
    vendor.upgrades = [MADE]

    assert await call_back(named) == job.id

    assert await stored.status(job.id) == "completed"
    assert vendor.asked == [("4k", "source")]


async def test_a_4k_webhook_before_the_answer_to_the_send_completes_and_the_answer_changes_nothing(
    make_further, use_permit, call_back, vendor, stored
):
    job = await make_further("upgrade_4k")
    real = vendor.upgrade_4k

    async def call_back_first(task_id, **said):
        answer = await real(task_id, **said)
        if "send_before" in said:
            vendor.upgrades = [MADE]
            await call_back("a task of its own")
        return answer

    vendor.upgrade_4k = call_back_first
    await use_permit()

    assert await stored.events(job.id) == ["accepted", "claimed", "submitted", "completed"]


async def test_an_extensions_webhook_is_the_extensions(make_further, use_permit, call_back, vendor, stored):
    job = await make_further("extend", prompt="and then")
    await use_permit()
    task_id = (await stored.job(job.id)).task_id
    vendor.tasks[task_id] = Generating(prompt="and then", callback_url=None)

    assert await call_back(task_id) == job.id

    vendor.tasks[task_id] = Failed(code=501, message="no", prompt="and then", callback_url=None)
    await call_back(task_id, body=b'{"code": 501, "data": {"taskId": "%s"}}')
    assert await stored.status(job.id) == "failed"


# What the database holds ----------------------------------------------------------------------------


async def test_a_call_can_only_do_what_its_job_asks_for(make_further, stored):
    """Code from before extensions, still running beside newer code, must not send one as a new video."""
    job = await make_further("extend")

    with pytest.raises(Exception, match="does not ask for generate"):
        await stored.run(
            "INSERT INTO job_attempts (id, job_id, n, token_hash) VALUES ($1, $2, 1, 'x')", new_id(), job.id
        )


async def test_a_task_belongs_to_one_job_whether_generated_or_extended(make_job, make_further, cast):
    await make_job(JobStatus.PROCESSING, task_id="taken")
    job = await make_further("extend", JobStatus.SUBMITTING)
    attempt = await cast(jobs.find_attempt, job.attempt_id)

    assert await cast(attempts.accept, attempt, "taken", by="tests", reason=None, policy=JobSettings()) is None


@pytest.mark.parametrize("operation", [o for o in Operation if o is not Operation.GENERATE])
async def test_a_job_about_a_video_names_it(make_job, stored, operation):
    job = await make_job()

    with pytest.raises(Exception, match="check constraint"):
        await stored.run("UPDATE video_jobs SET operation = $2 WHERE id = $1", job.id, operation)
