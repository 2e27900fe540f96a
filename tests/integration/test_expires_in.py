"""`expires_in`: a job that cannot be sent in the caller's time is given up and refunded."""

from datetime import datetime, timedelta

import pytest
from api_client import api_settings, opened

from reelgate_common import auth, keys, settlement
from reelgate_common.domain.job import JobStatus
from reelgate_common.ids import new_id
from reelgate_common.messages import JobRequested
from reelgate_common.verification import Verifier
from reelgate_reconciler.handlers import Reconciler
from reelgate_reconciler.settings import Settings as ReconcilerSettings
from reelgate_submitter.handlers import Submitter
from reelgate_submitter.settings import Settings as SubmitterSettings

BODY = {"wallet_address": "wallet", "prompt": "A cat", "image_urls": ["https://images.example/cat.png"]}
NEEDED = {"database_url": "x", "amqp_url": "x", "kie_ai_api_key": "x"}


@pytest.fixture
def open_api(database_url, broker):
    return lambda **overrides: opened(api_settings(database_url, broker, **overrides))


@pytest.fixture
async def api(open_api, fund):
    await fund()
    async with open_api(pending_deadline=3600) as client:
        yield client


async def generate(api, *, headers=None, **body):
    return await api.post("/api/video/generate", json=BODY | body, headers=headers)


async def view(api, answer):
    assert answer.status_code == 202, answer.text
    return (await api.get(answer.headers["Location"])).json()["job"]


def lifetime(job):
    return datetime.fromisoformat(job["expires_at"]) - datetime.fromisoformat(job["created_at"])


@pytest.mark.parametrize(("asked", "seconds"), [({}, 3600), ({"expires_in": 1}, 1), ({"expires_in": 3600}, 3600)])
async def test_a_job_shows_when_it_is_given_up(api, asked, seconds):
    assert lifetime(await view(api, await generate(api, **asked))) == timedelta(seconds=seconds)


@pytest.mark.parametrize("wrong", [0, -1, 3601, 10**30, 1.5, "60", True])
async def test_a_time_that_cannot_be_is_400_and_stores_nothing(api, stored, wrong):
    answer = await generate(api, expires_in=wrong)

    assert (answer.status_code, answer.json()["field"]) == (400, "expires_in")
    assert await stored.count("video_jobs") == 0


@pytest.mark.parametrize(("path", "body"), [("extend", {"prompt": "and then"}), ("upgrade", {"resolution": "1080p"})])
async def test_what_takes_a_video_further_takes_it_too(api, make_job, path, body):
    source = await make_job(JobStatus.COMPLETED)

    answer = await api.post(f"/api/video/jobs/{source.id}/{path}", json=body | {"expires_in": 60})

    assert lifetime(await view(api, answer)) == timedelta(seconds=60)


@pytest.mark.parametrize(("path", "body"), [("extend", {"prompt": "and then"}), ("upgrade", {"resolution": "1080p"})])
async def test_what_takes_a_video_further_takes_a_receiver_of_its_own(open_api, make_job, cast, stored, path, body):
    source = await make_job(JobStatus.COMPLETED)
    _, key = await cast(keys.create_key, "tests", scopes=[auth.JOBS], wallets=None)
    async with open_api() as api:
        api.headers["Authorization"] = f"Bearer {key}"
        url = f"/api/video/jobs/{source.id}/{path}"
        refused = await api.post(url, json=body | {"webhook_url": "http://hooks.example"})
        job = await view(api, await api.post(url, json=body | {"webhook_url": "https://hooks.example/a"}))
        await api.post(f"/api/video/jobs/{job['id']}/cancel")

    assert (refused.status_code, refused.json()["field"]) == (400, "webhook_url")
    [delivery] = await stored.rows("SELECT url, type FROM webhook_deliveries")
    assert delivery == {"url": "https://hooks.example/a", "type": "job.canceled"}


async def test_the_same_key_with_another_time_is_another_request(api):
    key = {"Idempotency-Key": "k"}
    first = await generate(api, headers=key, expires_in=60)

    assert (await generate(api, headers=key, expires_in=60)).json() == first.json()
    assert (await generate(api, headers=key, expires_in=61)).status_code == 422


async def test_a_job_not_sent_in_its_time_fails_as_expired_and_is_refunded(api, stored, db, relay, vendor, cast):
    job = await view(api, await generate(api, expires_in=60))
    await stored.run("UPDATE video_jobs SET expires_at = now(), deadline_at = now() WHERE id = $1", job["id"])
    settings = ReconcilerSettings(**NEEDED)

    await Reconciler(db, None, relay, Verifier(db, vendor, settings, "reconciler"), settings).end_overdue()
    await cast(settlement.refund, job["id"], by="tests")

    ended = (await api.get(f"/api/video/jobs/{job['id']}")).json()["job"]
    assert (ended["status"], ended["failure"]["code"], ended["refunded"]) == ("failed", "expired", True)
    assert await stored.balance() == 100


async def test_a_job_is_not_sent_after_its_time(make_job, stored, db, vendor, relay):
    late, next_one = await make_job(), await make_job()
    await stored.run("UPDATE video_jobs SET expires_at = now(), deadline_at = now() WHERE id = $1", late.id)
    settings = SubmitterSettings(**NEEDED, public_base_url="https://gateway.example")

    for _ in range(2):
        permit = JobRequested(job_id=new_id(), job_version=1)
        await Submitter(db, vendor, relay, settings).use_permit(permit)

    assert vendor.sent == [next_one.id]
    assert await stored.status(late.id) == "pending"
