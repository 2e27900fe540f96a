"""`failure`: what each cause means for whoever asked, wherever a job is shown."""

import re

import pytest
from api_client import api_settings, opened

from reelgate_common import auth, keys, settlement
from reelgate_common.domain import failures
from reelgate_common.domain.job import FailureCode, JobStatus
from reelgate_common.settings import JobSettings

CATEGORIES = {
    "refused": "input",
    "generation_failed": "vendor",
    "empty_result": "vendor",
    "submit_unknown": "timeout",
    "processing_timeout": "timeout",
    "expired": "capacity",
    "canceled": "canceled",
}
RETRYABLE = {code: code != "refused" for code in CATEGORIES}


@pytest.fixture
async def api(database_url, broker):
    async with opened(api_settings(database_url, broker)) as client:
        yield client


@pytest.fixture
def fail(make_job, cast):
    """A job that failed for this reason, in these words."""

    async def make(code, message="no video"):
        if code is FailureCode.CANCELED:
            return await make_job(JobStatus.CANCELED)
        job = await make_job(JobStatus.PROCESSING)
        await cast(settlement.fail, job.id, code, message=message, by="tests", policy=JobSettings())
        return job

    return make


async def failure_of(api, job):
    return (await api.get(f"/api/video/jobs/{job.id}")).json()["job"]["failure"]


@pytest.mark.parametrize("code", FailureCode)
async def test_every_cause_says_what_it_means(api, fail, code):
    job = await fail(code)

    failure = await failure_of(api, job)

    assert (failure["code"], failure["category"], failure["retryable"]) == (code, CATEGORIES[code], RETRYABLE[code])
    assert re.fullmatch(r"[A-Z][^.]*[^. ]\.", failure["advice"].replace("Kie.ai", "Kie")), "one sentence"
    [listed] = (await api.get("/api/video/jobs")).json()["jobs"]
    assert listed["failure"] == failure


@pytest.mark.parametrize("code", FailureCode)
async def test_charged_is_what_the_receipt_says_once_the_refund_is_booked(api, fail, cast, code):
    job = await fail(code)
    before = await failure_of(api, job)

    await cast(settlement.refund, job.id, by="tests")

    receipt = (await api.get(f"/api/video/jobs/{job.id}/receipt")).json()
    after = await failure_of(api, job)
    assert before["charged"] == after["charged"] == (receipt["net"] > 0)


@pytest.mark.parametrize("code", [FailureCode.REFUSED, FailureCode.GENERATION_FAILED])
@pytest.mark.parametrize(
    ("message", "category", "advice"),
    [
        ("Your prompt was flagged by Website as violating content policies.", "content", "change the prompt"),
        ("Rejected by Flow(public error minor upload). Please", "content", "change the prompt"),
        ("public error unsafe image upload", "content", "the images"),
        ("Failed to fetch the image. Kindly verify any access limits", "input", "URLs that anyone can open"),
        ("Only English prompts are supported at this time.", "input", "enable_translation"),
    ],
)
async def test_what_only_the_vendors_words_tell_is_told(api, fail, code, message, category, advice):
    failure = await failure_of(api, await fail(code, message))

    assert (failure["category"], failure["retryable"]) == (category, False)
    assert advice in failure["advice"]


async def test_the_vendors_words_change_nothing_about_our_own_causes(api, fail):
    failure = await failure_of(api, await fail(FailureCode.PROCESSING_TIMEOUT, "content policies"))

    assert failure["category"] == "timeout"


@pytest.mark.parametrize("status", [s for s in JobStatus if s not in {JobStatus.FAILED, JobStatus.CANCELED}])
async def test_a_job_that_may_deliver_or_did_has_no_failure(api, make_job, status):
    assert await failure_of(api, await make_job(status)) is None


async def test_a_job_that_delivered_after_all_has_no_failure(api, make_job, cast, video):
    job = await make_job(JobStatus.FAILED, failure_code=FailureCode.PROCESSING_TIMEOUT)

    await cast(settlement.deliver, job.id, video_url=video, attempt_id=job.attempt_id, by="tests", policy=JobSettings())

    assert await failure_of(api, job) is None


async def test_webhooks_tell_it_too(api, make_job, cast, stored):
    _, key = await cast(keys.create_key, "tests", scopes=[auth.JOBS], wallets=None)
    made = await api.post(
        "/api/webhooks", json={"url": "https://hooks.example"}, headers={"Authorization": f"Bearer {key}"}
    )
    assert made.status_code == 201
    job = await make_job(JobStatus.FAILED)

    told = await stored.value("SELECT body::jsonb->'data'->'job' FROM webhook_deliveries WHERE type = 'job.failed'")

    assert told["failure"] == await failure_of(api, job)


def test_every_code_has_its_meaning_and_no_other_has():
    assert set(failures.MEANINGS) == set(FailureCode)
