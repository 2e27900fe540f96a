"""One request in, a video or the credits back out: what the README promises, on a whole stack."""

import shutil
import subprocess
import uuid
from pathlib import Path

import httpx
import pytest

from reelgate_common.domain.job import JobStatus

SCRIPT = Path(__file__).with_name("guide-test-script.js")


@pytest.fixture(scope="module")
def stack(run_stack):
    with run_stack("main", KIE_SENDS_PER_WINDOW="1000") as stack:
        yield stack


@pytest.fixture(scope="module")
def open_stack(run_stack):
    with run_stack("open", AUTH_MODE="open") as stack:
        yield stack


@pytest.mark.timeout(300)
async def test_two_hundred_jobs_of_every_kind_all_end_right(stack):
    jobs = await stack.mixed_jobs(200)

    await stack.at_rest()

    await stack.ended_right(jobs)
    await stack.audit()


async def test_a_video_is_played_and_paid_for(stack):
    wallet = uuid.uuid4().hex
    async with stack.client() as client:
        job_id = await stack.create(client, "A character waving hello", wallet)
        await stack.reached(job_id, "completed")
        job = (await client.get(f"/api/video/jobs/{job_id}")).json()["job"]
        ledger = (await client.get(f"/api/wallets/{wallet}/ledger")).json()["entries"]

    async with httpx.AsyncClient() as anyone:
        video = await anyone.get(job["video_url"])
    assert (job["status"], job["error_message"]) == ("completed", None)
    assert video.content[4:8] == b"ftyp"
    assert [(entry["transaction_type"], entry["amount"]) for entry in ledger] == [("charge", -4), ("signup", 1000)]


async def test_a_refused_video_is_refunded_and_tells_why(stack):
    wallet = uuid.uuid4().hex
    async with stack.client() as client:
        job_id = await stack.create(client, "Something sim:policy", wallet)
        await stack.at_rest()
        job = (await client.get(f"/api/video/jobs/{job_id}")).json()["job"]
        events = (await client.get(f"/api/video/jobs/{job_id}/timeline")).json()["events"]
        balance = (await client.get(f"/api/wallets/{wallet}")).json()["credits"]

    assert (job["status"], job["failure_code"], job["refunded"]) == ("failed", "generation_failed", True)
    assert "violating content policies" in job["error_message"]
    assert [(event["event"], event["service"]) for event in events] == [
        ("accepted", "api"),
        ("claimed", "submitter"),
        ("submitted", "submitter"),
        ("failed", "callback"),
        ("refunded", "reconciler"),
    ]
    assert balance == 1000


@pytest.mark.skipif(shutil.which("node") is None, reason="the guide's script needs node, and none is installed")
def test_the_guides_own_script_works_as_it_stands(open_stack, tmp_path):
    script = tmp_path / "script.js"
    script.write_text(SCRIPT.read_text().replace("http://localhost:3000", open_stack.env["API_URL"]))

    said = subprocess.run(["node", script], capture_output=True, text=True, timeout=60, check=True).stdout

    url = said.split("Video URL: ")[1].strip()
    assert "Status: completed" in said
    assert httpx.get(url).content[4:8] == b"ftyp"


async def test_the_guides_hook_reads_every_field_it_needs(open_stack):
    """Without a key, and without node: the calls of the guide's React hook."""
    async with httpx.AsyncClient(base_url=open_stack.env["API_URL"]) as hook:
        body = {"wallet_address": "hook", "prompt": "p", "image_urls": ["https://example.com/i.png"]}
        created = await hook.post("/api/video/generate", json=body)
        refused = await hook.post("/api/video/generate", json={"prompt": "p"})
        job_id = created.json()["job_id"]
        await open_stack.reached(job_id, "completed")
        job = (await hook.get(f"/api/video/jobs/{job_id}")).json()["job"]

    assert (created.status_code, refused.json()["error"]) == (202, "wallet_address required")
    assert job["status"] == "completed"
    assert job["video_url"].startswith("http")


async def test_what_a_stranger_sends_to_the_callback_path_changes_nothing(stack):
    async with stack.client() as client:
        job_id = await stack.create(client, "A long one sim:slow", uuid.uuid4().hex)
        await stack.reached(job_id, "processing")
        task_id = (await stack.job(job_id))["task_id"]
        path = "/api/video/kie-ai-callback"
        success = {"code": 200, "data": {"taskId": task_id, "info": {"resultUrls": ["https://evil.example/v.mp4"]}}}
        failure = {"code": 501, "msg": "failed", "data": {"taskId": task_id}}
        statuses = [
            (await client.post(path, json=success)).status_code,
            (await client.post(f"{path}?attempt={uuid.uuid4()}&token=guess", json=failure)).status_code,
            (await client.post(path, json={"data": {"taskId": "%"}})).status_code,
            (await client.post(path, content=b"{")).status_code,
            (await client.post(path, content=b"x" * 100_000)).status_code,
        ]
        await stack.reached(job_id, "completed")

    assert statuses == [200, 200, 404, 400, 413]
    assert "evil.example" not in (await stack.job(job_id))["video_url"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "wallet_address required"),
        ({"wallet_address": "w"}, "image_urls required (1-8 images)"),
        ({"wallet_address": "w", "image_urls": ["https://a.example/i.png"] * 9}, "Maximum 8 images allowed"),
        ({"wallet_address": "w", "image_urls": ["http://10.0.0.1/i.png"]}, "must be public"),
        ({"wallet_address": "w", "image_urls": ["https://a.example/i.png"], "model": "sora"}, "model must be"),
    ],
)
async def test_bad_input_is_named_and_leaves_nothing(stack, body, error):
    before = await stack.sql("SELECT count(*) FROM video_jobs")
    async with stack.client() as client:
        answer = await client.post("/api/video/generate", json=body)

    assert answer.status_code == 400
    assert error in answer.json()["error"]
    assert await stack.sql("SELECT count(*) FROM video_jobs") == before


async def test_vendor_trouble_fails_no_job_and_a_waiting_one_can_be_canceled(stack):
    """An empty account at Kie.ai is the operator's trouble: jobs wait, and go when it is over."""
    await stack.at_rest()
    await stack.simulator("/sim/config", refuse_all=402)
    async with stack.client() as client:
        kept = await stack.create(client, "Kept waiting", uuid.uuid4().hex)
        taken_back = await stack.create(client, "Taken back", uuid.uuid4().hex)

        async def breaker_is_open() -> bool:
            return (await stack.sql("SELECT failures FROM breaker"))[0]["failures"] > 0

        await stack.until(breaker_is_open)
        await stack.reached(taken_back, "pending")
        canceled = await client.post(f"/api/video/jobs/{taken_back}/cancel")
        waiting = await stack.status(kept)
        await stack.simulator("/sim/config", refuse_all=None)
        await stack.reached(kept, "completed", seconds=90)
        too_late = await client.post(f"/api/video/jobs/{kept}/cancel")

    assert (canceled.status_code, canceled.json()["job"]["state"]) == (200, JobStatus.CANCELED)
    assert waiting in ("pending", "submitting")
    assert (too_late.status_code, too_late.json()["code"]) == (409, "already_sent")
    await stack.at_rest()
    await stack.audit()
