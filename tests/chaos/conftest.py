"""Servers that only these tests use, and gateways on them."""

from pathlib import Path

import pytest
import pytest_asyncio
from rig import Rig, Servers


def pytest_collection_modifyitems(items):
    """One event loop for all: it carries the proxies from test to test. And time for what has to be waited out."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(300))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure comes with what the processes said: their logs do not outlive the test."""
    report = yield
    gateway = item.funcargs.get("rig") or item.funcargs.get("gateway")
    if report.failed and gateway:
        report.sections.append(("the gateway's logs", gateway.log_ends()))
    return report


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def servers():
    async with Servers.open() as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(servers, request):
    """One gateway for the tests of a module, with what its SETTINGS say."""
    async with Rig.open(servers, **getattr(request.module, "SETTINGS", {})) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def rig(gateway):
    """The gateway, whole; and when the test is over, every promise must have been kept."""
    yield gateway
    await gateway.heal()
    await gateway.revive()
    await gateway.at_rest()
    await gateway.audit()
