"""The public HTTP surface, as callers meet it."""

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from uuid import UUID, uuid4

import pytest
from api_client import api_settings, calling
from listener import listening

from reelgate_api.app import create_app
from reelgate_common import auth, breaker, keys
from reelgate_common.domain.job import JobStatus
from reelgate_common.kie.answers import Failed, Generating, Succeeded
from reelgate_common.verification import Verifier

GENERATE = "/api/video/generate"
IMAGE = "https://images.example/cat.png"
BODY = {"wallet_address": "wallet", "prompt": "A cat", "image_urls": [IMAGE]}


@pytest.fixture
def open_api(database_url, broker, vendor):
    """The app with its lifespan open, asking the scripted vendor."""

    @asynccontextmanager
    async def open_one(*, with_broker=True, **overrides):
        settings = api_settings(database_url, broker, **overrides)
        app = create_app(settings)
        async with app.router.lifespan_context(app) as state:
            parts = state["parts"]
            if with_broker:
                await asyncio.wait_for(parts.bus.publisher.ready.wait(), 10)
            parts = replace(parts, verifier=Verifier(parts.db, vendor, settings, "api"))
            async with calling(app, parts) as client:
                yield client

    return open_one


@pytest.fixture
async def api(open_api):
    async with open_api() as client:
        yield client


@pytest.fixture
async def guarded(open_api):
    async with open_api(auth_mode="required", cron_secret="cr0n") as client:
        yield client


@pytest.fixture
def make_key(cast):
    """A header that authorizes."""

    async def make(*, scopes=(auth.JOBS,), wallets=None):
        _, key = await cast(keys.create_key, "tests", scopes=scopes, wallets=wallets)
        return {"Authorization": f"Bearer {key}"}

    return make


def assert_problem(answer, status, code):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["code"], body["error"]) == (status, code, body["detail"])
    return body


# The guide's endpoints ------------------------------------------------------------------------------


async def test_generate_answers_202_with_the_jobs_id(api, fund, stored):
    await fund()

    answer = await api.post(GENERATE, json=BODY)

    assert answer.status_code == 202
    assert list(answer.json()) == ["job_id"]
    job_id = answer.json()["job_id"]
    assert answer.headers["location"] == f"/api/video/jobs/{job_id}"
    assert int(answer.headers["retry-after"]) > 0
    assert await stored.status(UUID(job_id)) == "pending"


async def test_a_new_job_is_pending(api, fund):
    await fund()
    job_id = (await api.post(GENERATE, json=BODY)).json()["job_id"]

    job = (await api.get(f"/api/video/jobs/{job_id}")).json()["job"]

    assert job.items() >= {"id": job_id, "status": "pending", "video_url": None, "error_message": None}.items()
    assert job.items() >= {"wallet_address": "wallet", "prompt": "A cat", "image_urls": [IMAGE], "cost": 4}.items()


@pytest.mark.parametrize("status", JobStatus)
async def test_a_job_shows_the_guides_word_and_the_finer_state(api, make_job, status):
    job = await make_job(status)

    shown = (await api.get(f"/api/video/jobs/{job.id}")).json()["job"]

    assert (shown["status"], shown["state"]) == (status.shown, status.value)


async def test_a_completed_job_shows_its_video(api, make_job, video):
    job = await make_job(JobStatus.COMPLETED)

    shown = (await api.get(f"/api/video/jobs/{job.id}")).json()["job"]

    assert (shown["video_url"], shown["error_message"], shown["refunded"]) == (video, None, False)


async def test_a_job_shows_no_task_and_no_attempt(api, make_job):
    job = await make_job(JobStatus.PROCESSING)

    text = (await api.get(f"/api/video/jobs/{job.id}")).text

    assert job.task_id not in text
    assert str(job.attempt_id) not in text


async def test_the_callback_path_says_what_is_missing_where_nothing_is_behind_it(api):
    answer = await api.post("/api/video/kie-ai-callback", json={})

    assert (answer.status_code, answer.json()) == (503, {"error": "CALLBACK_SERVICE_URL is not set"})


async def test_a_callback_service_that_is_away_is_503(open_api, unused_tcp_port):
    async with open_api(callback_service_url=f"http://127.0.0.1:{unused_tcp_port}") as api:
        answer = await api.post("/api/video/kie-ai-callback?attempt=1&token=x", json={})

    assert_problem(answer, 503, "unavailable")


async def test_a_callback_is_handed_on_as_it_is_and_its_answer_back(open_api):
    async with listening() as service, open_api(callback_service_url=f"http://127.0.0.1:{service.port}") as api:
        service.say(503, Retry_After="7", Content_Type="text/plain", X_Own="no")
        answer = await api.post(
            "/api/video/kie-ai-callback?attempt=1&token=a%2Fb+c%20d",
            content=b'{"code": 200}',
            headers={"Content-Type": "application/json", "X-Webhook-Signature": "s", "Cookie": "own=1"},
        )

    [(headers, body)] = service.requests
    assert (headers["request"], body) == ("/api/video/kie-ai-callback?attempt=1&token=a%2Fb+c%20d", b'{"code": 200}')
    assert (headers["content-type"], headers["x-webhook-signature"]) == ("application/json", "s")
    assert "cookie" not in headers
    assert (answer.status_code, answer.text, answer.headers["retry-after"]) == (503, "said", "7")
    assert "x-own" not in answer.headers


async def test_cron_republishes_what_lost_its_permit(guarded, make_job, stored):
    job = await make_job()
    await stored.run("DELETE FROM outbox")
    await stored.age(job.id, "republish_after")

    answer = await guarded.get("/api/cron/process-video-jobs", headers={"Authorization": "Bearer cr0n"})

    assert (answer.status_code, answer.json()) == (200, {"processed": 1})


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic cr0n", "cr0n", "Bearer cr0n2"]
)
async def test_cron_needs_its_secret(guarded, header):
    answer = await guarded.get("/api/cron/process-video-jobs", headers={"Authorization": header} if header else {})

    assert_problem(answer, 401, "unauthorized")


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Bearer None", "Bearer x"])
async def test_without_a_secret_cron_is_closed(api, header):
    answer = await api.get("/api/cron/process-video-jobs", headers={"Authorization": header})

    assert_problem(answer, 401, "unauthorized")


# Asking about a task --------------------------------------------------------------------------------


@pytest.fixture
def ask(api):
    async def run(task_id="task-1", **more):
        return await api.post("/api/video/manual-callback", json={"taskId": task_id, **more})

    return run


async def test_a_finished_task_is_answered_with_its_video(ask, make_job, vendor, video, stored):
    job = await make_job(JobStatus.PROCESSING, task_id="task-1")
    vendor.tasks["task-1"] = Succeeded(video_url=video, prompt=job.prompt, callback_url=None)

    answer = await ask()

    assert (answer.status_code, answer.json()) == (200, {"success": True, "videoUrl": video})
    assert await stored.status(job.id) == "completed"


async def test_a_failed_task_is_answered_with_its_reason(ask, make_job, vendor):
    await make_job(JobStatus.PROCESSING, task_id="task-1")
    vendor.tasks["task-1"] = Failed(code=400, message="policy", prompt=None, callback_url=None)

    assert (await ask()).json() == {"success": False, "error": "policy"}


async def test_a_running_task_is_answered_as_running(ask, make_job, vendor):
    await make_job(JobStatus.PROCESSING, task_id="task-1")
    vendor.tasks["task-1"] = Generating(prompt=None, callback_url=None)

    assert (await ask()).json() == {"message": "Task still processing", "successFlag": 0}


async def test_a_task_the_vendor_says_nothing_about_is_400(ask, make_job):
    await make_job(JobStatus.PROCESSING, task_id="task-1")

    answer = await ask()

    assert answer.status_code == 400
    assert answer.json()["error"] == "Failed to check task status"


async def test_asking_again_at_once_does_not_ask_the_vendor(ask, make_job, vendor):
    await make_job(JobStatus.PROCESSING, task_id="task-1")
    vendor.tasks["task-1"] = Generating(prompt=None, callback_url=None)

    for _ in range(5):
        assert (await ask()).json() == {"message": "Task still processing", "successFlag": 0}

    assert vendor.asked == ["task-1"]


async def test_an_unknown_task_is_404(ask, make_job, vendor):
    job = await make_job(JobStatus.UNKNOWN)

    assert_problem(await ask("task-9", jobId=str(job.id)), 404, "not_found")
    assert vendor.asked == []


async def test_an_admin_may_bring_an_unknown_task_that_the_vendor_confirms(guarded, make_key, make_job, vendor, video):
    job = await make_job(JobStatus.UNKNOWN)
    vendor.tasks["task-9"] = Succeeded(video_url=video, prompt=job.prompt, callback_url=None)
    admin = await make_key(scopes=(auth.JOBS, auth.ADMIN))

    body = {"taskId": "task-9", "jobId": str(job.id)}
    answer = await guarded.post("/api/video/manual-callback", json=body, headers=admin)

    assert answer.json() == {"success": True, "videoUrl": video}


@pytest.mark.parametrize("status", [JobStatus.UNKNOWN, JobStatus.PROCESSING])
async def test_an_admin_cannot_give_a_job_another_jobs_video(guarded, make_key, make_job, vendor, stored, status):
    job = await make_job(status)
    vendor.tasks["task-9"] = Succeeded(video_url="https://x/other.mp4", prompt="Another prompt", callback_url=None)
    admin = await make_key(scopes=(auth.JOBS, auth.ADMIN))

    body = {"taskId": "task-9", "jobId": str(job.id)}
    await guarded.post("/api/video/manual-callback", json=body, headers=admin)

    assert await stored.status(job.id) is status


# Who may call ---------------------------------------------------------------------------------------


@pytest.fixture
def calls(make_job):
    """Every call that needs a caller, about a job of the wallet."""

    async def make():
        job = await make_job(JobStatus.PROCESSING, task_id="task-1")
        return {
            "create": ("POST", GENERATE, BODY),
            "read": ("GET", f"/api/video/jobs/{job.id}", None),
            "cancel": ("POST", f"/api/video/jobs/{job.id}/cancel", None),
            "timeline": ("GET", f"/api/video/jobs/{job.id}/timeline", None),
            "ask": ("POST", "/api/video/manual-callback", {"taskId": "task-1"}),
            "wallet": ("GET", "/api/wallets/wallet", None),
            "ledger": ("GET", "/api/wallets/wallet/ledger", None),
        }

    return make


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer x", "Basic abc", "Bearer rg_live_" + "0" * 64])
async def test_without_a_good_key_nothing_is_answered(guarded, calls, header):
    headers = {"Authorization": header} if header is not None else {}

    for method, path, body in (await calls()).values():
        answer = await guarded.request(method, path, json=body, headers=headers)
        assert_problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("end", ["revoked_at = now()", "expires_at = now() - interval '1 s'"])
async def test_a_key_that_was_ended_is_unknown(guarded, calls, make_key, stored, end):
    key = await make_key()
    await stored.run(f"UPDATE api_keys SET {end}")

    for method, path, body in (await calls()).values():
        assert_problem(await guarded.request(method, path, json=body, headers=key), 401, "unauthorized")


async def test_a_key_that_may_only_read_makes_nothing(guarded, make_key):
    key = await make_key(scopes=(auth.READ,))

    assert_problem(await guarded.post(GENERATE, json=BODY, headers=key), 403, "forbidden")


async def test_a_good_key_is_let_in(guarded, calls, make_key):
    key = await make_key(wallets=["wallet"])

    statuses = {
        name: (await guarded.request(method, path, json=body, headers=key)).status_code
        for name, (method, path, body) in (await calls()).items()
    }

    assert statuses == {
        "create": 202,
        "read": 200,
        "cancel": 409,
        "timeline": 200,
        "ask": 400,
        "wallet": 200,
        "ledger": 200,
    }


@pytest.mark.parametrize("wallets", [["other"], ["other", "Wallet"], []])
async def test_other_peoples_jobs_and_wallets_do_not_exist(guarded, calls, make_key, vendor, wallets):
    key = await make_key(wallets=wallets)
    made = await calls()

    assert_problem(await guarded.post(GENERATE, json=BODY, headers=key), 403, "forbidden")
    for name in made.keys() - {"create"}:
        method, path, body = made[name]
        assert_problem(await guarded.request(method, path, json=body, headers=key), 404, "not_found")
    assert vendor.asked == []


async def test_somebody_elses_job_looks_like_no_job(guarded, make_job, make_key):
    job = await make_job()
    key = await make_key(wallets=["other"])

    theirs = await guarded.get(f"/api/video/jobs/{job.id}", headers=key)
    nobodys = await guarded.get(f"/api/video/jobs/{uuid4()}", headers=key)

    assert theirs.json() == nobodys.json()


async def test_the_scheme_of_a_key_is_read_in_any_case(guarded, make_key, make_job):
    job = await make_job()
    key = (await make_key())["Authorization"].replace("Bearer", "bEARER")

    assert (await guarded.get(f"/api/video/jobs/{job.id}", headers={"Authorization": key})).status_code == 200


async def test_open_mode_lets_everybody_in_but_no_bad_key(api, make_job):
    job = await make_job()

    assert (await api.get(f"/api/video/jobs/{job.id}")).status_code == 200
    answer = await api.get(f"/api/video/jobs/{job.id}", headers={"Authorization": "Bearer wrong"})
    assert_problem(answer, 401, "unauthorized")


# Bad input ------------------------------------------------------------------------------------------


@pytest.fixture
async def nothing_stored(stored):
    """Checks after the test that the request left nothing behind."""
    yield
    counts = {table: await stored.count(table) for table in ("video_jobs", "outbox", "idempotency_keys")}
    assert counts == {"video_jobs": 0, "outbox": 0, "idempotency_keys": 0}


@pytest.mark.parametrize(
    ("changes", "field", "error"),
    [
        ({"wallet_address": None}, "wallet_address", "wallet_address required"),
        ({"image_urls": []}, "image_urls", "image_urls required (1-8 images)"),
        ({"image_urls": [IMAGE] * 9}, "image_urls", "Maximum 8 images allowed"),
        ({"image_urls": ["ftp://x/y"]}, "image_urls[0]", "image_urls must be http(s) URLs of at most 2048 characters"),
        ({"prompt": "x" * 5001}, "prompt", "prompt must be at most 5000 characters"),
        ({"duration": 5}, "duration", "duration must be 4, 6 or 8"),
        ({"model": "veo3", "generation_type": "REFERENCE_2_VIDEO"}, "model", None),
    ],
)
async def test_a_bad_field_is_400_naming_it(api, fund, nothing_stored, changes, field, error):
    await fund()

    body = assert_problem(await api.post(GENERATE, json=BODY | changes), 400, "invalid_input")

    assert body["field"] == field
    assert error in (None, body["error"])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"not json",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"wallet_address": "wallet", "image_urls": ["https://x/\\ud800"]}',
        b'{"wallet_address": "wallet", "prompt": "\\u0000", "image_urls": ["https://x/y"]}',
        b'{"wallet_address": "wallet", "metadata": {"\\ud800": 1}, "image_urls": ["https://x/y"]}',
        b'{"wallet_address": "wallet", "metadata": {"x": NaN}, "image_urls": ["https://x/y"]}',
        b'{"wallet_address": "wallet", "duration": 1e999, "image_urls": ["https://x/y"]}',
        b'{"wallet_address": "wallet", "duration": ' + b"9" * 5000 + b"}",
        b"[" * 20_000,
        b'{"metadata":' * 20_000,
    ],
)
async def test_a_body_that_cannot_be_read_is_400(api, fund, nothing_stored, raw):
    await fund()

    answer = await api.post(GENERATE, content=raw, headers={"Content-Type": "application/json"})

    assert_problem(answer, 400, "invalid_input")


async def test_a_body_that_is_too_large_is_413(api, fund, nothing_stored):
    await fund()

    assert_problem(await api.post(GENERATE, json=BODY | {"x": "y" * 300_000}), 413, "too_large")


async def test_a_body_that_grows_too_large_is_413(api, nothing_stored):
    async def endless():
        for _ in range(1000):
            yield b" " * 1024

    assert_problem(await api.post(GENERATE, content=endless()), 413, "too_large")


async def test_a_short_balance_is_402_with_price_and_balance(api, fund, nothing_stored):
    await fund(amount=3)

    body = assert_problem(await api.post(GENERATE, json=BODY), 402, "insufficient_credits")

    assert (body["balance"], body["cost"]) == (3, 4)


@pytest.mark.parametrize("path", ["", "/timeline"])
@pytest.mark.parametrize(
    "job_id", ["1", "not-a-uuid", "%25", "%00", "0" * 33, "{id}", "01890a5d-ac96-774b-bcce-b302099a805x"]
)
async def test_what_is_no_uuid_is_400(api, job_id, path):
    body = assert_problem(await api.get(f"/api/video/jobs/{job_id}{path}"), 400, "invalid_input")

    assert body["field"] == "id"


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/timeline"), ("POST", "/cancel")])
async def test_an_unknown_job_is_404(api, method, path):
    answer = await api.request(method, f"/api/video/jobs/{uuid4()}{path}")

    assert assert_problem(answer, 404, "not_found")["error"] == "Job not found"


@pytest.mark.parametrize("wallet", ["nobody", "%00", "a%00b", "%F0%28", "x" * 500])
@pytest.mark.parametrize("path", ["", "/ledger"])
async def test_an_unknown_wallet_is_404(api, wallet, path):
    assert_problem(await api.get(f"/api/wallets/{wallet}{path}"), 404, "not_found")


@pytest.mark.parametrize(
    "body", [{}, {"taskId": ""}, {"taskId": 7}, {"taskId": "a\x00b"}, {"taskId": "x", "jobId": "%"}]
)
async def test_a_question_without_a_task_is_400(api, body):
    assert_problem(await api.post("/api/video/manual-callback", json=body), 400, "invalid_input")


async def test_an_unknown_path_is_a_problem_too(api):
    assert_problem(await api.get("/api/nowhere"), 404, "not_found")


async def test_a_wrong_method_is_a_problem_too(api):
    assert_problem(await api.delete(GENERATE), 405, "method_not_allowed")


# Idempotency ----------------------------------------------------------------------------------------


async def test_a_repeated_key_answers_with_the_same_job(api, fund, stored):
    await fund()
    key = {"Idempotency-Key": "k-1"}

    first, second = [await api.post(GENERATE, json=BODY, headers=key) for _ in range(2)]

    assert first.json() == second.json()
    assert [answer.headers.get("idempotent-replayed") for answer in (first, second)] == [None, "true"]
    assert await stored.balance() == 96


async def test_a_key_with_another_body_is_422(api, fund):
    await fund()
    key = {"Idempotency-Key": "k-1"}
    await api.post(GENERATE, json=BODY, headers=key)

    answer = await api.post(GENERATE, json=BODY | {"prompt": "Another"}, headers=key)

    assert_problem(answer, 422, "idempotency_mismatch")


@pytest.mark.parametrize("key", ["", "x" * 256, b"\xff"])
async def test_a_bad_key_is_400(api, fund, nothing_stored, key):
    await fund()

    answer = await api.post(GENERATE, json=BODY, headers={"Idempotency-Key": key})

    assert assert_problem(answer, 400, "invalid_input")["field"] == "Idempotency-Key"


async def test_concurrent_requests_with_one_key_make_one_job(api, fund, stored):
    await fund()

    answers = await asyncio.gather(*(api.post(GENERATE, json=BODY, headers={"Idempotency-Key": "k"}) for _ in range(8)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    assert await stored.balance() == 96


# Polling --------------------------------------------------------------------------------------------


async def test_an_unchanged_job_is_304(api, make_job):
    job = await make_job(JobStatus.PROCESSING)
    path = f"/api/video/jobs/{job.id}"
    etag = (await api.get(path)).headers["etag"]

    for given in (etag, f"W/{etag}", f'"other", {etag}'):
        answer = await api.get(path, headers={"If-None-Match": given})
        assert (answer.status_code, answer.content) == (304, b"")


async def test_a_changed_job_is_sent(api, make_job, stored):
    job = await make_job()
    path = f"/api/video/jobs/{job.id}"
    etag = (await api.get(path)).headers["etag"]
    await api.post(f"{path}/cancel")

    assert (await api.get(path, headers={"If-None-Match": etag})).status_code == 200


@pytest.mark.parametrize("status", JobStatus)
async def test_only_a_job_that_is_not_over_is_worth_another_poll(api, make_job, status):
    job = await make_job(status)

    answer = await api.get(f"/api/video/jobs/{job.id}")

    assert ("retry-after" in answer.headers) == (not status.is_final)


# Cancel ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [JobStatus.PENDING, JobStatus.CANCELED])
async def test_a_job_that_was_not_sent_is_canceled(api, make_job, stored, status):
    job = await make_job(status)

    answer = await api.post(f"/api/video/jobs/{job.id}/cancel")

    shown = answer.json()["job"]
    assert (answer.status_code, shown["status"], shown["state"]) == (200, "failed", "canceled")
    assert (await stored.outbox(job.id)).count("job.canceled") == 1


async def test_a_cancel_during_the_send_is_kept_in_mind(api, make_job, stored):
    job = await make_job(JobStatus.SUBMITTING)

    for _ in range(2):
        assert (await api.post(f"/api/video/jobs/{job.id}/cancel")).json()["job"]["state"] == "submitting"

    assert (await stored.job(job.id)).cancel_requested_at is not None
    assert (await stored.events(job.id)).count("cancel_requested") == 1


@pytest.mark.parametrize("status", ["unknown", "processing", "completed", "failed"])
async def test_a_job_that_was_sent_is_not_canceled(api, make_job, stored, status):
    job = await make_job(JobStatus(status))

    assert_problem(await api.post(f"/api/video/jobs/{job.id}/cancel"), 409, "already_sent")
    assert await stored.status(job.id) == status


# What the caller can see ----------------------------------------------------------------------------


async def test_the_timeline_tells_who_did_what_when(api, make_job):
    job = await make_job(JobStatus.COMPLETED)

    events = (await api.get(f"/api/video/jobs/{job.id}/timeline")).json()["events"]

    assert [(e["seq"], e["event"], e["status"], e["attempt"]) for e in events] == [
        (1, "accepted", "pending", None),
        (2, "claimed", "submitting", 1),
        (3, "submitted", "processing", 1),
        (4, "completed", "completed", 1),
    ]
    assert all(datetime.fromisoformat(e["at"]).utcoffset() is not None and e["service"] for e in events)


async def test_the_wallet_shows_its_balance(api, make_job):
    await make_job()

    assert (await api.get("/api/wallets/wallet")).json() == {"wallet_address": "wallet", "credits": 96}


async def test_the_ledger_shows_the_newest_first(api, make_job):
    job = await make_job()

    entries = (await api.get("/api/wallets/wallet/ledger")).json()["entries"]

    shown = [(entry["transaction_type"], entry["amount"], entry["job_id"]) for entry in entries]
    assert shown == [("charge", -4, str(job.id)), ("grant", 100, None)]


@pytest.mark.parametrize("limit", ["0", "-1", "201", "x", "1e3"])
async def test_a_bad_limit_is_400(api, fund, limit):
    await fund()

    assert_problem(await api.get(f"/api/wallets/wallet/ledger?limit={limit}"), 400, "invalid_input")


async def test_a_first_seen_wallet_is_welcomed(open_api, stored):
    async with open_api(signup_credits=40) as api:
        answers = await asyncio.gather(*(api.post(GENERATE, json=BODY) for _ in range(12)))

    assert sorted(answer.status_code for answer in answers) == [202] * 10 + [402] * 2
    assert await stored.balance() == 0


# Operation ------------------------------------------------------------------------------------------


async def test_health_is_for_everybody(guarded):
    assert (await guarded.get("/healthz")).json() == {"status": "ok"}
    assert (await guarded.get("/readyz")).json() == {"status": "ok", "checks": {"database": "ok"}}
    assert "reelgate_job_steps_total" in (await guarded.get("/metrics")).text


async def test_jobs_are_accepted_while_the_broker_is_away(open_api, fund, unused_tcp_port, stored):
    await fund()
    async with open_api(with_broker=False, amqp_url=f"amqp://guest:guest@127.0.0.1:{unused_tcp_port}/") as api:
        answer = await api.post(GENERATE, json=BODY)

    assert answer.status_code == 202
    assert await stored.outbox(UUID(answer.json()["job_id"])) == ["job.requested"]


async def test_a_permit_reaches_the_queue_by_itself(api, fund, channel, eventually):
    await fund()
    job_id = (await api.post(GENERATE, json=BODY)).json()["job_id"]
    queue = await channel.get_queue("submitter.job.requested.v1", ensure=False)

    message = await eventually(lambda: queue.get(no_ack=True, fail=False))

    assert json.loads(message.body)["job_id"] == job_id


async def test_only_named_origins_may_call_from_a_browser(open_api):
    async with open_api(cors_allow_origins=["https://app.example"]) as api:
        named = await api.get("/healthz", headers={"Origin": "https://app.example"})
        other = await api.get("/healthz", headers={"Origin": "https://evil.example"})

    assert named.headers["access-control-allow-origin"] == "https://app.example"
    assert "access-control-allow-origin" not in other.headers


# Degraded -------------------------------------------------------------------------------------------


@pytest.fixture
async def degraded(api, cast, eventually):
    """An api that has noticed that the breaker is open."""
    await cast(breaker.trip, reason="402: Credits insufficient", first_seconds=300)

    async def noticed():
        return (await api.get("/api/status")).json()["status"] == "degraded"

    await eventually(noticed)
    return api


async def test_while_kie_takes_no_jobs_they_are_accepted_and_callers_are_told(degraded, fund):
    await fund()

    accepted = await degraded.post(GENERATE, json=BODY)
    status = (await degraded.get("/api/status")).json()
    ready = await degraded.get("/readyz")
    metrics = (await degraded.get("/metrics")).text

    assert accepted.status_code == 202
    assert accepted.json().keys() == {"job_id", "degraded"}
    assert status["reason"] == accepted.json()["degraded"]
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert ready.json()["reason"] == "nothing is sent to Kie.ai: 402: Credits insufficient"
    assert "reelgate_breaker_open 1.0" in metrics


async def test_a_pause_is_told_in_the_same_way(api, cast, eventually):
    await cast(breaker.pause, "a new account")

    async def told():
        return (await api.get("/readyz")).json().get("reason")

    assert await eventually(told) == "nothing is sent to Kie.ai: paused by an operator: a new account"
    assert (await api.get("/api/status")).json()["status"] == "degraded"


async def test_callers_are_not_told_about_the_operators_account(degraded, fund):
    await fund()

    accepted = await degraded.post(GENERATE, json=BODY)

    assert "redits" not in (await degraded.get("/api/status")).text + accepted.text


async def test_it_is_not_degraded_any_more_when_the_breaker_closes(degraded, cast, eventually):
    await cast(breaker.close)

    async def over():
        return (await degraded.get("/api/status")).json() == {"status": "ok", "reason": None, "since": None}

    await eventually(over)
    assert (await degraded.get("/readyz")).json()["status"] == "ok"
