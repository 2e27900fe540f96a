"""Two of every service, and stopping one: neither makes a difference to any job."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

SERVICES = ("api", "submitter", "callback", "reconciler")


@pytest.fixture(scope="module")
def stack(run_stack):
    with run_stack("pairs", KIE_SENDS_PER_WINDOW="1000", SIGNUP_CREDITS="100000") as stack:
        yield stack


class Second:
    """One more process of a service, with the settings of the first."""

    def __init__(self, stack, service: str) -> None:
        raw = Path(f"/proc/{stack.pid(service)}/environ").read_bytes()
        env = dict(item.split("=", 1) for item in raw.decode().split("\0") if "=" in item)
        self.port = env["HTTP_PORT"] = str(free_port())
        self.log = (stack.home / "logs" / f"second-{service}.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"reelgate_{service}"], env=env, stdout=self.log, stderr=subprocess.STDOUT
        )

    async def ready(self) -> bool:
        try:
            async with httpx.AsyncClient() as client:
                return (await client.get(f"http://127.0.0.1:{self.port}/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
async def seconds(stack):
    started = {service: Second(stack, service) for service in SERVICES}
    try:
        for second in started.values():
            await stack.until(second.ready)
        yield started
    finally:
        for second in started.values():
            second.end()


@pytest.mark.timeout(300)
async def test_two_of_every_service_make_no_difference(stack, seconds):
    jobs = await stack.mixed_jobs(100)
    await stack.at_rest()

    await stack.ended_right(jobs)
    await stack.audit()


@pytest.mark.timeout(300)
async def test_a_service_told_to_stop_under_load_finishes_its_work_and_exits_with_0(stack, seconds):
    sending = asyncio.create_task(stack.mixed_jobs(60))
    await stack.some_are("processing")
    for second in seconds.values():
        os.kill(second.process.pid, signal.SIGTERM)
    codes = {service: await asyncio.to_thread(second.process.wait, timeout=60) for service, second in seconds.items()}

    jobs = await sending
    await stack.at_rest()

    assert codes == dict.fromkeys(SERVICES, 0)
    await stack.ended_right(jobs)
    await stack.audit()
