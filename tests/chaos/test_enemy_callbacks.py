"""Webhooks from an enemy, at the edge as it is run: a quick answer always, a wrong verdict never."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
import uuid

import httpx
import pytest
import pytest_asyncio

PATH = "/api/video/kie-ai-callback"
EVIL = "https://evil.example/v.mp4"
INTERVAL = 4
SETTINGS = {"HINT_INTERVAL_SECONDS": str(INTERVAL), "FIRST_POLL_SECONDS": "600", "MAX_POLL_SECONDS": "600"}


@pytest_asyncio.fixture(loop_scope="session")
async def victim(rig):
    """A job that Kie.ai works on until told to finish; and what the other side knows of it."""
    async with rig.client() as client:
        job_id = await rig.create(client, f"{uuid.uuid4().hex} sim:stuck", "victim")
    await rig.reached(job_id, "processing")
    job = await rig.job(job_id)
    tasks = (await rig.simulator("/sim/tasks"))["tasks"]
    [url] = [task["callBackUrl"] for task in tasks if task["taskId"] == job["task_id"]]
    yield {"id": job_id, "task": job["task_id"], "query": httpx.URL(url).params}
    await finish(rig, job["task_id"])


async def finish(rig, task, outcome="ok"):
    async with httpx.AsyncClient(base_url=rig.env["SIMULATOR_URL"]) as client:
        await client.post(f"/sim/tasks/{task}/finish", json={"outcome": outcome, "callback": True})


@pytest_asyncio.fixture(loop_scope="session")
async def edge(rig):
    async with httpx.AsyncClient(base_url=rig.env["CALLBACK_URL"], timeout=10) as client:
        yield client


def claim(task, *, code=200, url=EVIL):
    return {"code": code, "msg": "x", "data": {"taskId": task, "info": {"resultUrls": [url]}}}


def signed(task, *, key="signed", at=None):
    """Headers as Kie.ai sends them: the signature covers the task id and the time, not the body."""
    timestamp = str(int(at or time.time()))
    digest = hmac.new(key.encode(), f"{task}.{timestamp}".encode(), hashlib.sha256).digest()
    return {"X-Webhook-Timestamp": timestamp, "X-Webhook-Signature": base64.b64encode(digest).decode()}


async def test_nothing_an_enemy_says_about_a_running_job_decides_anything(rig, victim, edge):
    task, query = victim["task"], victim["query"]
    wrong = {"attempt": query["attempt"], "token": "guess"}
    said = [
        await edge.post(PATH, json=claim(task)),  # without a token
        await edge.post(PATH, params=wrong, json=claim(task, code=501)),  # with a wrong one
        await edge.post(PATH, params=query, json=claim(task)),  # with the right one, stolen
        await edge.post(PATH, json=claim(task), headers=signed(task, key="wrong")),
        await edge.post(PATH, json=claim(task), headers=signed(task, at=time.time() - 3600)),
        await edge.post(PATH, json=claim(task), headers=signed(task, at=time.time() + 3600)),
        await edge.post(PATH, json=claim(task), headers=signed(task)),  # the body swapped under it
        await edge.post(PATH, json=claim(task, code=400), headers=signed(task)),  # and replayed with another
    ]
    unknown = await edge.post(PATH, json=claim("no-such-task"), headers=signed("no-such-task"))
    pattern = await edge.post(PATH, json=claim("%"))
    strange = await edge.post(PATH, params=query, json=claim("another-task"))
    state = await rig.status(victim["id"])
    await finish(rig, task)
    await rig.reached(victim["id"], "completed")

    assert {answer.status_code for answer in said} == {200}
    assert {answer.text for answer in said} == {json.dumps({"success": True, "jobId": victim["id"]}, separators=",:")}
    assert [answer.status_code for answer in (unknown, pattern, strange)] == [404, 404, 404]
    assert state == "processing"
    assert "evil" not in (await rig.job(victim["id"]))["video_url"]


async def test_another_jobs_token_says_nothing_about_this_one(rig, victim, edge):
    """A customer who runs a callback host of his own learns his jobs' tokens, and no more."""
    async with rig.client() as client:
        own = await rig.create(client, f"{uuid.uuid4().hex} sim:policy", "enemy")
    await rig.reached(own, "failed")
    tasks = (await rig.simulator("/sim/tasks"))["tasks"]
    task = (await rig.job(own))["task_id"]
    [url] = [found["callBackUrl"] for found in tasks if found["taskId"] == task]

    answer = await edge.post(PATH, params=httpx.URL(url).params, json=claim(victim["task"]))
    await finish(rig, victim["task"], "policy")
    await rig.reached(victim["id"], "failed")

    assert answer.json()["jobId"] == victim["id"]  # a hint about the task's own job
    assert (await rig.job(own))["status"] == "failed"
    assert (await rig.job(victim["id"]))["video_url"] is None


async def test_a_flood_about_one_task_asks_kie_once_in_an_interval(rig, victim, edge):
    """From the webhook, the reconciler's poll and whoever asks by hand together."""
    limit = asyncio.Semaphore(20)  # all wait for one row: more, and the last would be told to come again

    async def one(i):
        async with limit:
            return await edge.post(PATH, params=victim["query"], json=claim(victim["task"]) | {"n": i})

    began = time.monotonic()
    answers = await asyncio.gather(*(one(i) for i in range(400)))
    await rig.sql("UPDATE video_jobs SET next_check_at = now() WHERE id = $1", uuid.UUID(victim["id"]))
    async with rig.client() as client:
        for _ in range(5):
            body = {"taskId": victim["task"], "jobId": victim["id"]}
            await client.post("/api/video/manual-callback", json=body)

    async def all_handled():
        return not await rig.depths() and not await rig.sql("SELECT FROM outbox")

    await rig.until(all_handled)
    took = time.monotonic() - began
    asked = (await rig.simulator("/sim/stats"))["record_info_by_task"][victim["task"]]

    assert {answer.status_code for answer in answers} == {200}
    assert 1 <= asked <= 1 + took // INTERVAL + 1


@pytest.mark.parametrize("has_length", [True, False])
async def test_ten_megabytes_are_not_read_to_their_end(edge, has_length):
    """Refused by what the client says of it, else when the limit is passed; the connection may be cut for it."""
    size = 10 * 1024 * 1024

    async def body():
        for _ in range(size // 1024):
            yield b"x" * 1024

    headers = {"Content-Length": str(size)} if has_length else {}
    try:
        status = (await edge.post(PATH, content=body(), headers=headers)).status_code
    except (httpx.WriteError, httpx.ReadError):
        status = 413

    assert status == 413
    assert (await edge.get("/healthz")).status_code == 200


async def test_while_the_database_is_away_kie_is_told_to_come_back_and_does(rig, victim, edge):
    rig.line("callback", "database").refuse()
    away = await edge.post(PATH, params=victim["query"], json=claim(victim["task"]))
    await rig.heal()

    assert (away.status_code, "retry-after" in away.headers) == (503, True)


async def test_no_secret_of_a_webhook_is_written_to_a_log(rig, victim, edge):
    await edge.post(PATH, params=victim["query"], json=claim(victim["task"]), headers=signed(victim["task"]))
    await edge.post(PATH, params=victim["query"], content=b"{")

    assert rig.logs_with(victim["query"]["token"]) == set()
    assert rig.logs_with("api/v1/veo") == rig.logs_with("token=") == set()
