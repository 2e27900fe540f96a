"""Two releases on servers of their own."""

import pytest
from rig import Servers
from rollout import NotHere, Rollout, unpack_previous


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure comes with what the processes said: their logs do not outlive the test."""
    report = yield
    if report.failed and "rollout" in item.funcargs:
        report.sections.append(("the processes' logs", item.funcargs["rollout"].log_ends()))
    return report


@pytest.fixture(scope="session")
def old_tree(tmp_path_factory):
    try:
        return unpack_previous(tmp_path_factory.mktemp("previous"))
    except NotHere as reason:
        pytest.skip(f"{reason}; `git fetch --unshallow` brings it")


@pytest.fixture
async def rollout(old_tree):
    async with Servers.open() as servers, Rollout.open(servers, old_tree) as opened:
        yield opened
