"""Trouble that hits every job, on two of every service: jobs wait, none fails for it, and the backlog drains."""

import re
import uuid

import httpx
import pytest
import pytest_asyncio
from rig import Rig

WINDOW = 20
# One account, one window, one probe: whatever the number of submitters.
SETTINGS = {
    "KIE_SENDS_PER_WINDOW": str(WINDOW),
    "KIE_SEND_WINDOW_SECONDS": "2",
    "KIE_SEND_MARGIN_SECONDS": "2",  # a busy test machine delays a request by more than any real network
    "BREAKER_FAILURES_IN_A_ROW": "3",
    "RETRY_MAX_SECONDS": "4",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(servers):
    async with Rig.open(servers, replicas=2, **SETTINGS) as opened:
        yield opened


async def opened(rig, reason):
    """Return when nothing is sent any more, and the api says why."""

    async def says_so():
        async with httpx.AsyncClient(base_url=rig.env["API_URL"]) as client:
            ready = (await client.get("/readyz")).json()
        return ready["status"] == "degraded" and re.search(reason, ready["reason"])

    await rig.until(says_so)


@pytest.mark.parametrize("code", [402, 455])  # the others are told apart in tests/unit/common
async def test_account_trouble_fails_no_job_and_the_backlog_drains_within_the_window(rig, code):
    await rig.simulator("/sim/config", refuse_all=code)
    ids = await rig.jobs(2 * WINDOW)
    await opened(rig, f"{code}: ")
    sends = (await rig.simulator("/sim/stats"))["sends"]
    states = {await rig.status(job_id) for job_id in ids}
    async with rig.client() as client:
        body = {"wallet_address": "breaker", "prompt": uuid.uuid4().hex, "image_urls": ["https://example.com/i.png"]}
        told = (await client.post("/api/video/generate", json=body)).json()
    await rig.simulator("/sim/config", refuse_all=None)
    await rig.all_reached([*ids, told["job_id"]], "completed")

    stats = await rig.simulator("/sim/stats")
    assert states <= {"pending", "submitting"}
    assert "degraded" in told
    assert sends < stats["sends"]
    assert "429" not in stats["refused"]


async def test_while_it_is_open_probes_go_one_at_a_time(rig):
    """However many submitters wait: each new probe only after the one before it was answered."""
    await rig.simulator("/sim/config", refuse_all=402)
    ids = await rig.jobs(10)
    await opened(rig, "402: ")

    async def probed_twice():
        return (await rig.sql("SELECT failures FROM breaker"))[0]["failures"] >= 3

    await rig.until(probed_twice)
    overlapping = await rig.sql(
        """
        SELECT FROM job_attempts a JOIN job_attempts b ON a.id < b.id AND b.started_at < a.outcome_at
          CROSS JOIN breaker
         WHERE a.started_at > breaker.opened_at + interval '900 ms'
        """
    )
    await rig.simulator("/sim/config", refuse_all=None)

    assert overlapping == []
    await rig.all_reached(ids, "completed")


async def test_a_storm_of_server_errors_stops_the_sends_before_it_costs_many_jobs(rig):
    """Only what was sent into the storm may be lost to it; what waited is sent afterwards."""
    await rig.simulator("/sim/config", outage_http_status=503)
    ids = await rig.jobs(2 * WINDOW)
    await opened(rig, "in a row without a usable answer, the last: HTTP 503")
    await rig.simulator("/sim/config", outage_http_status=None)
    await rig.at_rest()

    sent_into_it = await rig.sql(
        "SELECT DISTINCT job_id FROM job_attempts WHERE job_id = ANY($1) AND outcome = 'unknown'",
        [uuid.UUID(job_id) for job_id in ids],
    )
    ends = [(await rig.job(job_id))["failure_code"] for job_id in ids]
    assert ends.count("submit_unknown") == len(sent_into_it)
    assert ends.count(None) == len(ids) - len(sent_into_it) > 0
