"""The test runner: servers before, the command's own exit code after."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reelgate_local import programs

_GIVEN = {"DATABASE_URL": "postgresql://given", "AMQP_URL": "amqp://given", "TEST_VHOSTS": "3"}


@pytest.fixture
def trial():
    def run(*command, **settings):
        return subprocess.run(
            [sys.executable, "-m", "reelgate_local", "test", "--", *command],
            env={**os.environ, **_GIVEN, **settings},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_the_exit_code_is_the_commands(trial):
    assert trial("python", "-c", "raise SystemExit(5)").returncode == 5


def test_a_command_ended_by_a_signal_tells_which(trial):
    assert trial("sh", "-c", "kill -TERM $$").returncode == 128 + signal.SIGTERM


def test_servers_of_the_caller_are_passed_on_without_test_vhosts(trial):
    done = trial("sh", "-c", "echo $DATABASE_URL $AMQP_URL ${TEST_VHOSTS-none}")

    assert done.stdout == "postgresql://given amqp://given none\n"


@pytest.mark.skipif(not programs.find_postgres(), reason="no PostgreSQL programs here")
def test_a_private_database_may_create_databases_and_is_gone_afterwards(trial):
    source = (
        "import asyncio, asyncpg, os\n"
        "async def main():\n"
        "    connection = await asyncpg.connect(os.environ['DATABASE_URL'])\n"
        "    await connection.execute('CREATE DATABASE made')\n"
        "    print(await connection.fetchval('SHOW data_directory'))\n"
        "asyncio.run(main())\n"
    )
    done = trial("python", "-c", source, DATABASE_URL="")

    assert done.returncode == 0
    assert not Path(done.stdout.split()[-1]).exists()


def test_sigterm_reaches_the_command(tmp_path):
    runner = subprocess.Popen(
        [sys.executable, "-m", "reelgate_local", "test", "--", "sh", "-c", "echo up; exec sleep 600"],
        env={**os.environ, **_GIVEN},
        stdout=subprocess.PIPE,
    )
    with runner:
        assert runner.stdout.readline() == b"up\n"
        runner.terminate()

        assert runner.wait(20) == 128 + signal.SIGTERM
