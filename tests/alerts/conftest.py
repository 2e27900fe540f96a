"""One gateway for all faults of a file, so quick that nothing has to be waited for."""

from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from browser import need
from film import Film
from gateway import STILL_OPEN
from rig import Rig, Servers

# Every pass again and again: what it says of a fault is there at once.
_SETTINGS = {
    "MEASURE_SECONDS": "0.3",
    "RECONCILE_SECONDS": "0.2",
    "SWEEP_SECONDS": "0.3",
    "AUDIT_SECONDS": "0.3",
    "BALANCE_SECONDS": "0.3",
    "CLEAN_SECONDS": "0.3",
    "MEND_SECONDS": "1",
    "FIRST_POLL_SECONDS": "1",
    "SIM_VIDEO_SECONDS": "0.3",
    "SIM_LATE_SECONDS": "2",
    "SUBMIT_UNKNOWN_DEADLINE": "300",
    "WEBHOOK_ALLOW_PRIVATE": "true",
    "EMPTY_RESULT_GRACE_SECONDS": "1",
    "KIE_SEND_WINDOW_SECONDS": "1",
    "RETRY_MAX_SECONDS": "1",
    "BREAKER_FAILURES_IN_A_ROW": "100",
    "HINT_INTERVAL_SECONDS": "0.01",
    "SUBMIT_UNKNOWN_POLICY": "resubmit",
    "KIE_DAILY_CREDITS": "1000000",
    "RESULT_URL_HOSTS": "127.0.0.1",
}


def pytest_collection_modifyitems(items):
    """One event loop for all: it carries the proxies from test to test."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure comes with what the processes said: their logs do not outlive the test."""
    report = yield
    gateway = item.funcargs.get("rig")
    if report.failed and gateway:
        report.sections.append(("the gateway's logs", gateway.log_ends()))
    return report


@pytest.fixture(scope="session")
def promtool():
    need({"promtool": "prometheus"})


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gateway(promtool):
    async with Servers.open() as servers, Rig.open(servers, twice=("submitter",), **_SETTINGS) as opened:
        # So that what is counted with labels is there already: one of each kind.
        ids = await opened.jobs(1, "ok") + await opened.jobs(1, "flag3")
        await opened.at_rest()
        assert {await opened.status(job_id) for job_id in ids} == {"completed", "failed"}
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def rig(gateway):
    """The gateway, whole; at the end every job is brought to its end."""
    yield gateway
    await gateway.simulator("/sim/config", refuse_all=None, credits=1_000_000)
    await gateway.heal()
    await gateway.revive()

    async def all_is_over():
        await gateway.sql("UPDATE video_jobs SET deadline_at = now() WHERE status IN ('unknown', 'processing')")
        return not await gateway.sql(STILL_OPEN)

    await gateway.until(all_is_over)


@pytest_asyncio.fixture(loop_scope="session")
async def film(rig):
    """Begun while nothing is wrong."""
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        film = Film(rig, client)
        await film.begin()
        yield film
