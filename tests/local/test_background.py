"""A stack in the background, with stand-ins for its processes and servers that are given."""

import os
import signal
import time

import httpx
import pytest

from reelgate_local import background
from reelgate_local.errors import StartError, tail
from reelgate_local.process import identity
from reelgate_local.record import Record
from reelgate_local.settings import StackFile


@pytest.fixture
def said():
    return []


@pytest.fixture
def up(stack, standins, said):
    def start(**settings):
        return background.up(stack, said.append, standins | settings)

    return start


def _processes(stack):
    return Record.read(stack.record).processes


def _eventually(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return answer


def _answers(url):
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).is_success
    except httpx.TransportError:
        return False


def test_up_returns_when_every_part_is_ready(up, stack):
    found, was_running = up()

    assert not was_running
    assert all(_answers(url) for url in (found.api_url, found.callback_url, found.simulator_url))
    assert found == StackFile.read(stack.env_file)
    assert (found.api_key, found.admin_key) == ("rg_live_user", "rg_live_admin")
    assert found.database_url == "postgresql://given/database"


def test_a_second_up_finds_the_first(up):
    first, _ = up()

    assert up() == (first, True)


def test_down_leaves_no_process_and_no_file(up, stack):
    up()
    processes = _processes(stack)

    assert background.down(stack)

    assert [identity(pid) for pid in processes] == [None] * 5
    assert not stack.env_file.exists()
    assert not background.down(stack)


def test_a_part_that_dies_is_restarted_and_its_line_kept_true(up, stack):
    before, _ = up()

    os.kill(int(before.pid_api), signal.SIGKILL)

    _eventually(lambda: StackFile.read(stack.env_file).pid_api != before.pid_api)
    _eventually(lambda: _answers(before.api_url))
    after = StackFile.read(stack.env_file)
    assert identity(int(after.pid_api))
    assert (after.api_url, after.pid_callback) == (before.api_url, before.pid_callback)


def test_down_ends_what_a_killed_supervisor_left(up, stack):
    up()
    processes = _processes(stack)
    os.kill(Record.read(stack.record).supervisor, signal.SIGKILL)

    assert background.down(stack)

    assert [identity(pid) for pid in processes] == [None] * 5


def test_up_clears_what_a_killed_supervisor_left(up, stack):
    up()
    processes = _processes(stack)
    supervisor = Record.read(stack.record).supervisor
    os.kill(supervisor, signal.SIGKILL)
    _eventually(lambda: identity(supervisor) is None)

    _, was_running = up()

    assert not was_running
    assert [identity(pid) for pid in processes] == [None] * 5


def test_a_part_that_does_not_come_up_takes_the_start_down_with_its_reason(up, stack):
    with pytest.raises(StartError, match="callback ended with exit code 1") as failure:
        up(STANDIN_FAILS="callback")

    assert tail(failure.value.log) == "no callback today"
    assert not stack.env_file.exists()
    assert not stack.record.exists()


def test_no_simulator_starts_beside_an_endpoint_that_is_given(up):
    found, _ = up(KIE_AI_API_ENDPOINT="http://127.0.0.1:9")

    assert (found.simulator_url, found.pid_simulator) == ("http://127.0.0.1:9", "")


def test_each_step_of_the_start_is_told(up, said):
    up()

    assert said == [
        "creating schema and keys",
        "starting api, submitter, callback, reconciler, simulator",
    ]
