"""Whatever dies on the way: an accepted job ends, is sent at most once, and its money is exact."""

import asyncio
import os
import signal

import pytest

from reelgate_local.process import kill_tree

SERVICES = ("api", "submitter", "callback", "reconciler")


@pytest.fixture(scope="module")
def stack(run_stack):
    with run_stack("kills", KIE_SENDS_PER_WINDOW="1000", SIGNUP_CREDITS="100000") as stack:
        yield stack


async def kill(stack, service: str) -> None:
    """SIGKILL a service and wait until another process has taken its place."""
    pid = stack.pid(service)
    os.kill(pid, signal.SIGKILL)

    async def replaced() -> bool:
        return stack.pid(service) != pid

    await stack.until(replaced)


@pytest.mark.timeout(300)
async def test_kill_9_of_any_service_loses_nothing_and_doubles_nothing(stack, dice):
    sending = asyncio.create_task(stack.mixed_jobs(120))
    for service in [*SERVICES, *dice.choices(SERVICES, k=4)]:
        await kill(stack, service)

    jobs = await sending
    await stack.at_rest()

    await stack.ended_right(jobs, spared=("submit_unknown",))
    await stack.audit()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("server", ["beam.smp", "postgres"])
async def test_kill_9_of_a_server_loses_nothing_and_doubles_nothing(stack, server):
    sending = asyncio.create_task(stack.mixed_jobs(40))
    await stack.some_are("processing")
    kill_tree(stack.server(server))

    jobs = await sending
    await stack.at_rest()

    await stack.ended_right(jobs, spared=("submit_unknown",))
    await stack.audit()
