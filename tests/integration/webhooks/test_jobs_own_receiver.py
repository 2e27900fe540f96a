"""`webhook_url` of a job: its events go there, signed with the secret of the key that asked for the job."""

from uuid import UUID

import pytest
from standardwebhooks import Webhook

from reelgate_common.domain.job import JobStatus

HOOKS = "/api/webhooks"
BODY = {"wallet_address": "wallet", "image_urls": ["https://images.example/cat.png"]}


@pytest.fixture
def generate(api, fund):
    async def send(headers=None, **body):
        await fund()
        return await api.post("/api/video/generate", json=BODY | body, headers=headers)

    return send


@pytest.fixture
def canceled(api, generate, listener):
    """A job with a receiver of its own that is over; its id."""

    async def make(**others):
        answer = await generate(webhook_url=listener.url, **others)
        assert answer.status_code == 202, answer.text
        job_id = answer.json()["job_id"]
        await api.post(f"/api/video/jobs/{job_id}/cancel")
        return job_id

    return make


@pytest.fixture
async def secret(api):
    return (await api.get(f"{HOOKS}/secret")).json()


async def test_a_jobs_own_receiver_is_told_signed_with_the_keys_secret(api, canceled, listener, sender, secret):
    job_id = await canceled()

    await sender.run_once()

    [(headers, body)] = listener.requests
    told = Webhook(secret["secret"]).verify(body, headers)
    assert (told["type"], told["data"]["job"]["id"]) == ("job.canceled", job_id)


async def test_the_secret_may_be_asked_for_after_the_job(canceled, listener, sender, api):
    await canceled()
    await sender.run_once()

    secret = (await api.get(f"{HOOKS}/secret")).json()["secret"]

    [(headers, body)] = listener.requests
    assert Webhook(secret).verify(body, headers)


async def test_the_secret_stays_the_same_until_it_is_rotated(api, secret):
    same = await api.get(f"{HOOKS}/secret")
    rotated = (await api.post(f"{HOOKS}/{secret['id']}/rotate-secret")).json()

    assert (same.json(), same.headers["cache-control"]) == (secret, "no-store")
    assert (await api.get(f"{HOOKS}/secret")).json() == rotated
    assert (rotated["id"], rotated["secret"] != secret["secret"]) == (secret["id"], True)


async def test_another_key_has_another_secret(api, secret, make_key):
    others = (await api.get(f"{HOOKS}/secret", headers=await make_key())).json()

    assert {others["id"], others["secret"]}.isdisjoint(secret.values())


async def test_another_keys_secret_signs_nothing_of_it(api, canceled, make_key, deliveries, secret):
    await api.get(f"{HOOKS}/secret", headers=await make_key())

    await canceled()

    assert [str(row["endpoint_id"]) for row in await deliveries()] == [secret["id"]]


async def test_other_jobs_of_the_key_and_wallet_do_not_go_there(canceled, make_job, deliveries):
    job_id = await canceled()
    await make_job(JobStatus.CANCELED)

    assert [row["job_id"] for row in await deliveries()] == [UUID(job_id)]


async def test_the_endpoints_of_the_key_are_told_too(canceled, make_endpoint, deliveries):
    await make_endpoint(events=["job.canceled"])
    await canceled()

    assert len(await deliveries()) == 2


async def test_its_log_stands_under_the_secrets_id(api, canceled, secret, sender, listener):
    job_id = await canceled()
    await sender.run_once()

    log = (await api.get(f"{HOOKS}/{secret['id']}/deliveries")).json()["deliveries"]
    again = await api.post(f"{HOOKS}/deliveries/{log[0]['id']}/replay")
    await sender.run_once()

    assert [(entry["job_id"], entry["url"], entry["state"]) for entry in log] == [(job_id, listener.url, "delivered")]
    assert (again.status_code, len(listener.requests)) == (202, 2)


async def test_one_that_is_gone_silences_no_other(canceled, listener, sender, deliveries):
    await canceled()
    listener.say(410)
    await sender.run_once()

    await canceled()
    await sender.run_once()

    assert [row["state"] for row in await deliveries()] == ["failed", "delivered"]


async def test_the_secret_is_no_endpoint(api, secret):
    hook = f"{HOOKS}/{secret['id']}"
    answers = [await api.get(hook), await api.patch(hook, json={"disabled": True}), await api.delete(hook)]

    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert (await api.get(HOOKS)).json() == {"webhooks": []}


@pytest.mark.parametrize("url", ["", "x", "https://user@example.com", "ftp://example.com"])
async def test_a_bad_receiver_is_refused_and_nothing_is_charged(generate, stored, url):
    answer = await generate(webhook_url=url)

    assert (answer.status_code, answer.json()["field"]) == (400, "webhook_url")
    assert (await stored.count("video_jobs"), await stored.balance()) == (0, 100)


async def test_a_private_receiver_is_refused(open_api, make_key, fund):
    await fund()
    async with open_api(webhook_allow_private=False) as strict:
        body = BODY | {"webhook_url": "https://10.0.0.1/"}
        answer = await strict.post("/api/video/generate", json=body, headers=await make_key())

    assert (answer.status_code, answer.json()["field"]) == (400, "webhook_url")


async def test_without_a_key_there_is_nothing_to_sign_with(open_api, fund):
    await fund()
    async with open_api(auth_mode="open") as client:
        answer = await client.post("/api/video/generate", json=BODY | {"webhook_url": "https://example.com"})
        without = await client.post("/api/video/generate", json=BODY)

    assert (answer.status_code, answer.json()["field"], without.status_code) == (400, "webhook_url", 202)


async def test_another_receiver_is_another_request(generate, listener):
    key = {"Idempotency-Key": "k"}
    first = await generate(headers=key, webhook_url=listener.url)
    same = await generate(headers=key, webhook_url=listener.url)
    other = await generate(headers=key)

    assert (first.json(), other.status_code) == (same.json(), 422)
