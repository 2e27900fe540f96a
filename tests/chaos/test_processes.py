"""Processes stopped in good order, frozen for a while, or with a wrong idea of the time."""

import asyncio
import os
import signal
import uuid
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import httpx
import pytest
from fault_proxy import Toward

SETTINGS = {"KIE_SEND_TIMEOUT_SECONDS": "20"}  # longer than any freeze: what wakes up reads what came meanwhile


async def test_a_rolling_restart_under_load_loses_nothing_and_every_process_ends_with_0(rig):
    sending = asyncio.create_task(rig.mixed_jobs(60))
    codes = {}
    for name in rig.processes:
        codes[name] = await rig.stop(name)
        await rig.start(name)

    jobs = await sending
    await rig.at_rest()

    assert codes == dict.fromkeys(rig.processes, 0)
    # The one callback that knew the number of a task whose answer was lost may have come while no callback service ran.
    await rig.ended_right(jobs, spared=("submit_unknown",))


async def test_a_submitter_frozen_past_its_lease_still_brings_in_the_truth_of_its_own_call(rig):
    prompt = f"{uuid.uuid4().hex} sim:lost-callback"
    trap = rig.line("submitter", "vendor").trap(prompt.encode(), Toward.SERVER, stops=Toward.CLIENT)
    async with rig.client() as client:
        job_id = await rig.create(client, prompt, "frozen")
    await trap.sprung.wait()
    os.kill(rig.pid("submitter"), signal.SIGSTOP)
    try:
        await rig.reached(job_id, "unknown")
        await rig.heal()  # the answer arrives while it sleeps
    finally:
        os.kill(rig.pid("submitter"), signal.SIGCONT)

    await rig.reached(job_id, "completed")
    assert await rig.timeline(job_id) == ["accepted", "claimed", "unknown", "submitted", "completed"]


@pytest.mark.parametrize("service", ["api", "callback", "reconciler"])
async def test_a_process_frozen_for_a_while_harms_nobody(rig, service):
    jobs = await rig.mixed_jobs(20)
    os.kill(rig.pid(service), signal.SIGSTOP)
    try:
        await rig.some_are_over()
    finally:
        os.kill(rig.pid(service), signal.SIGCONT)
    await rig.at_rest()

    await rig.ended_right(jobs)


@pytest.mark.parametrize("service", ["api", "submitter", "callback", "reconciler"])
async def test_a_process_cut_off_from_everything_for_a_while(rig, service):
    """A partition: it runs, and reaches nobody. What it held is taken over or comes back; nothing is done twice."""
    sending = asyncio.create_task(rig.mixed_jobs(20))
    await rig.some_are("processing")
    lines = [line for (client, _), line in rig.lines.items() if client == service]
    for line in lines:
        line.freeze()
    await rig.some_are_over()
    for line in lines:
        line.cut()
        await line.heal()

    jobs = await sending
    await rig.at_rest()
    await rig.ended_right(jobs, spared=("submit_unknown",))


@pytest.mark.parametrize("service", ["api", "callback"])
async def test_clients_that_say_half_a_request_keep_nobody_waiting(rig, service):
    """Slow-loris: hundreds of connections that never finish what they say."""
    url = urlsplit(rig.env[f"{service.upper()}_URL"])
    async with AsyncExitStack() as stack:
        for _ in range(300):
            _, writer = await asyncio.open_connection(url.hostname, url.port)
            stack.callback(writer.close)
            writer.write(b"POST /api/video/kie-ai-callback HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n{")
            await writer.drain()
        jobs = await rig.mixed_jobs(5, ("ok",))
        async with httpx.AsyncClient(base_url=url.geturl()) as client:
            alive = await client.get("/healthz")
        await rig.at_rest()

    assert alive.status_code == 200
    await rig.ended_right(jobs)


@pytest.mark.parametrize("hours", [1, -1])
async def test_clocks_that_step_decide_nothing(rig, hours):
    """Leases and deadlines are the database's; a process's own clock may say what it likes."""
    sending = asyncio.create_task(rig.mixed_jobs(30))
    await rig.some_are("processing")
    for name in rig.processes[::2]:
        rig.step_clock(name, hours * 3600)

    jobs = await sending
    await rig.at_rest()
    for name in rig.processes:
        rig.step_clock(name, 0)

    await rig.ended_right(jobs)
