"""Child processes: nothing of them is left."""

import asyncio
import os
import signal
import subprocess

import pytest

from reelgate_local.process import Child, end_recorded, identity, kill_tree

# Like PostgreSQL: a process that gives its child a session of its own, then says who they are.
_PARENT = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
pathlib.Path("pids").write_text(f"{os.getpid()} {child.pid}")
time.sleep(600)
"""


@pytest.fixture
def child(tmp_path, python):
    def make(source):
        return Child([str(python), "-c", source], {}, tmp_path, tmp_path / "log")

    return make


async def _written(path):
    while not (path.exists() and path.read_text()):  # noqa: ASYNC110 - a file tells nobody
        await asyncio.sleep(0.01)
    return path.read_text()


async def test_killing_reaches_descendants_in_sessions_of_their_own(child, tmp_path):
    parent = child(_PARENT)
    parent.spawn()
    pids = [int(pid) for pid in (await _written(tmp_path / "pids")).split()]

    await parent.kill()

    assert [identity(pid) for pid in pids] == [None, None]


async def test_a_child_is_asked_to_end_before_it_is_made_to(child, tmp_path):
    polite = child(
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "pathlib.Path('up').write_text('up')\n"
        "time.sleep(600)"
    )
    polite.spawn()
    await _written(tmp_path / "up")

    await polite.stop(grace=30)

    assert polite.exit_code == 7


async def test_a_child_that_will_not_end_is_made_to(child, tmp_path):
    deaf = child(
        "import pathlib, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "pathlib.Path('up').write_text('up')\n"
        "time.sleep(600)"
    )
    deaf.spawn()
    await _written(tmp_path / "up")

    await deaf.stop(grace=0.1)

    assert deaf.exit_code == -signal.SIGKILL


async def test_output_goes_to_the_log_of_every_run(child, tmp_path):
    talker = child("print('said')")
    for _ in range(2):
        talker.spawn()
        await talker.wait()

    assert (tmp_path / "log").read_text() == "said\nsaid\n"


def test_a_process_that_took_over_a_recorded_id_is_left_alone():
    with subprocess.Popen(["sleep", "600"]) as stranger:
        end_recorded({stranger.pid: "another time"}, grace=0.1)

        assert stranger.poll() is None
        kill_tree(stranger.pid)


def test_a_recorded_process_is_ended():
    with subprocess.Popen(["sleep", "600"]) as ours:
        end_recorded({ours.pid: identity(ours.pid)}, grace=10)

        assert identity(ours.pid) is None


def test_a_living_process_has_the_same_identity_twice():
    assert identity(os.getpid()) == identity(os.getpid()) is not None
