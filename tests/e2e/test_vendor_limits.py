"""Kie.ai's window, and sends of which nobody ever hears."""

import asyncio
import uuid

import pytest

WINDOW = 20


@pytest.fixture(scope="module")
def stack(run_stack):
    with run_stack(
        "limits",
        KIE_SENDS_PER_WINDOW=str(WINDOW),
        KIE_SEND_WINDOW_SECONDS="2",
        KIE_SEND_MARGIN_SECONDS="1",  # a busy test machine delays a request by more than any real network
        SUBMIT_UNKNOWN_POLICY="resubmit",
        SUBMIT_UNKNOWN_DEADLINE="6",
        PROCESSING_DEADLINE="6",
        LATE_CHECK_SECONDS="2",
        SIM_LATE_SECONDS="12",
    ) as stack:
        yield stack


@pytest.mark.timeout(180)
async def test_a_backlog_is_sent_at_the_vendors_pace_without_one_refusal(stack):
    async with stack.client() as client:
        await asyncio.gather(*(stack.create(client, f"Backlog {i}", "crowd") for i in range(3 * WINDOW)))
    await stack.at_rest()

    stats = await stack.simulator("/sim/stats")

    assert stats["refused"].get("429", 0) == 0
    await stack.audit()


async def test_a_send_that_got_lost_is_sent_once_more_by_policy(stack):
    wallet = uuid.uuid4().hex
    async with stack.client() as client:
        job_id = await stack.create(client, f"{wallet} sim:submit-drop", wallet)
        await stack.reached(job_id, "failed", seconds=90)

    events = [
        row["event"]
        for row in await stack.sql("SELECT event FROM job_events WHERE job_id = $1 ORDER BY seq", uuid.UUID(job_id))
    ]
    stats = await stack.simulator("/sim/stats")
    assert events.count("resubmitted") == 1
    assert stats["sends_by_prompt"][f"{wallet} sim:submit-drop"] == 2
    assert (await stack.job(job_id))["failure_code"] == "submit_unknown"


async def test_a_video_that_comes_after_the_refund_is_given(stack):
    """LATE_SUCCESS=give: the video is there, the refund stays."""
    wallet = uuid.uuid4().hex
    async with stack.client() as client:
        job_id = await stack.create(client, "Late sim:late-success", wallet)
        await stack.reached(job_id, "failed", seconds=60)
        await stack.reached(job_id, "completed", seconds=60)
        job = (await client.get(f"/api/video/jobs/{job_id}")).json()["job"]
        balance = (await client.get(f"/api/wallets/{wallet}")).json()["credits"]

    assert (job["status"], job["refunded"], balance) == ("completed", True, 1000)
    await stack.audit()
