"""Kie.ai down, slow, or talking nonsense: jobs wait or stay open, and none is sent or billed twice."""

import uuid

import pytest
from fault_proxy import Toward


async def test_jobs_wait_while_nobody_answers_at_kies_address(rig):
    for line in rig.lines_to("vendor"):
        line.refuse()
    ids = await rig.jobs(4)

    async def tried():
        return await rig.sql("SELECT FROM job_attempts WHERE outcome = 'not_sent'")

    await rig.until(tried)
    states = {await rig.status(job_id) for job_id in ids}
    await rig.heal()

    assert states <= {"pending", "submitting"}
    await rig.all_reached(ids, "completed")


async def test_answers_that_never_come_are_healed_by_the_webhooks(rig):
    rig.line("submitter", "vendor").freeze(Toward.CLIENT)
    ids = await rig.jobs(4)

    await rig.all_reached(ids, "completed")


async def test_answers_cut_in_the_middle_are_healed_by_the_webhooks(rig):
    rig.line("submitter", "vendor").answer_bytes = 40
    ids = await rig.jobs(4)

    await rig.all_reached(ids, "completed")


async def test_verdicts_cut_in_the_middle_are_asked_for_again(rig):
    for service in ("callback", "reconciler"):
        rig.line(service, "vendor").answer_bytes = 40
    ids = await rig.jobs(4)

    async def cut():
        return rig.logs_with("task_not_readable")

    await rig.until(cut)
    await rig.heal()

    await rig.all_reached(ids, "completed")


async def test_a_slow_vendor_is_waited_for(rig):
    for line in rig.lines_to("vendor"):
        line.delay, line.bytes_per_second = 0.2, 2000
    ids = await rig.jobs(4)

    await rig.all_reached(ids, "completed")


@pytest.mark.parametrize("status", [403, 404])
async def test_an_edge_that_refuses_everything_fails_no_job(rig, status):
    await rig.simulator("/sim/config", outage_http_status=status)
    ids = await rig.jobs(4)

    async def open_breaker():
        return (await rig.sql("SELECT failures FROM breaker"))[0]["failures"]

    await rig.until(open_breaker)
    await rig.simulator("/sim/config", outage_http_status=None)

    await rig.all_reached(ids, "completed")


async def test_a_storm_of_server_errors_leaves_sends_open_and_none_is_repeated(rig):
    """Nobody can tell whether a 502 took the job: what is not heard of is refunded, never sent again."""
    await rig.simulator("/sim/config", outage_http_status=502)
    ids = await rig.jobs(4)

    async def left_open():
        return await rig.sql("SELECT FROM job_attempts WHERE outcome = 'unknown' AND vendor_code = 502")

    await rig.until(left_open)
    await rig.simulator("/sim/config", outage_http_status=None)
    await rig.at_rest()

    ends = {(row["status"], row["failure_code"]) for row in [await rig.job(job_id) for job_id in ids]}
    assert ends <= {("failed", "submit_unknown"), ("completed", None)}


async def test_a_storm_of_throttling_fails_no_job_and_none_is_repeated(rig):
    await rig.simulator("/sim/config", refuse_all=429)
    ids = await rig.jobs(4)

    async def throttled():
        return await rig.sql("SELECT FROM job_attempts WHERE outcome = 'throttled'")

    await rig.until(throttled)
    await rig.simulator("/sim/config", refuse_all=None)

    await rig.all_reached(ids, "completed")


async def test_html_and_garbage_instead_of_answers(rig):
    jobs = await rig.mixed_jobs(
        12, ("submit-502-html", "submit-garbage", "record-html", "record-500", "invisible", "no-task-id")
    )
    await rig.at_rest()

    rows = await rig.sql("SELECT status FROM video_jobs WHERE id = ANY($1)", [uuid.UUID(job_id) for job_id in jobs])
    assert {row["status"] for row in rows} == {"completed"}
