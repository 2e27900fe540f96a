"""The receipt: every credit that a job moved."""

import pytest
from api_client import api_settings, opened

from reelgate_common import auth, keys, settlement
from reelgate_common.domain.job import FailureCode, JobStatus
from reelgate_common.ids import new_id
from reelgate_common.settings import JobSettings


@pytest.fixture
def open_api(database_url, broker):
    return lambda **overrides: opened(api_settings(database_url, broker, **overrides))


@pytest.fixture
async def receipt(open_api):
    """The receipt of a job, without what no test can know, and the sums."""
    async with open_api() as api:

        async def read(job):
            answer = await api.get(f"/api/video/jobs/{job.id}/receipt")
            assert answer.status_code == 200, answer.text
            body = answer.json()
            assert (body["job_id"], body["wallet_address"]) == (str(job.id), job.wallet_address)
            lines = [(line["type"], line["amount"]) for line in body["lines"]]
            return lines, tuple(body[name] for name in ("charged", "refunded", "net"))

        yield read


@pytest.mark.parametrize("status", [JobStatus.PENDING, JobStatus.COMPLETED, JobStatus.FAILED])
async def test_a_job_not_refunded_cost_its_charge(receipt, make_job, status):
    assert await receipt(await make_job(status)) == ([("charge", -4)], (4, 0, 4))


async def test_a_refunded_job_cost_nothing(receipt, make_job, cast):
    job = await make_job(JobStatus.FAILED)
    await cast(settlement.refund, job.id, by="tests")

    assert await receipt(job) == ([("charge", -4), ("refund", 4)], (4, 4, 0))


async def test_a_job_charged_again_for_its_late_video_shows_all_three(receipt, make_job, cast, video):
    job = await make_job(JobStatus.FAILED, failure_code=FailureCode.PROCESSING_TIMEOUT)
    await cast(settlement.refund, job.id, by="tests")
    policy = JobSettings(late_success="recharge")
    await cast(settlement.deliver, job.id, video_url=video, attempt_id=job.attempt_id, by="tests", policy=policy)

    assert await receipt(job) == ([("charge", -4), ("refund", 4), ("recharge", -4)], (8, 4, 4))


async def test_lines_are_those_of_the_ledger(open_api, make_job):
    job = await make_job()
    async with open_api() as api:
        [line] = (await api.get(f"/api/video/jobs/{job.id}/receipt")).json()["lines"]
        entries = (await api.get("/api/wallets/wallet/ledger")).json()["entries"]

    [entry] = [entry for entry in entries if entry["job_id"] == str(job.id)]
    assert (line["id"], line["at"], line["type"], line["amount"], line["description"]) == (
        entry["id"],
        entry["created_at"],
        entry["transaction_type"],
        entry["amount"],
        entry["description"],
    )


async def test_other_peoples_receipts_are_404(open_api, make_job, cast):
    job = await make_job(wallet_address="theirs")
    _, key = await cast(keys.create_key, "tests", scopes=[auth.JOBS], wallets=["mine"])
    async with open_api(auth_mode="required") as api:
        api.headers["Authorization"] = f"Bearer {key}"
        for job_id in (job.id, new_id()):
            assert (await api.get(f"/api/video/jobs/{job_id}/receipt")).status_code == 404
        assert (await api.get("/api/video/jobs/x/receipt")).json()["field"] == "id"
