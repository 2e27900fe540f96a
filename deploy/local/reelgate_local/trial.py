"""Running a command, usually pytest, with servers of its own."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from reelgate_local import servers
from reelgate_local.errors import StartError, tail
from reelgate_local.layout import CHECKOUT, Stack
from reelgate_local.record import Record, held

_VHOSTS = tuple(f"test-{number}" for number in range(8))  # one a worker: parallel tests share no queue
_PREFIX = "test-"


def run(command: list[str], say: Callable[[str], None], root: Path = CHECKOUT) -> int:
    """Run the command with DATABASE_URL and AMQP_URL of servers that are gone afterwards."""
    _clear_abandoned(root)
    servers.install_missing(os.environ, say)
    stack = Stack(f"{_PREFIX}{os.getpid()}", root)
    with held(stack.lock):
        try:
            return asyncio.run(_run(command, stack, say))
        except StartError as failure:
            say(f"{failure}\n{tail(failure.log) if failure.log else ''}")
            return 1
        finally:
            shutil.rmtree(stack.home, ignore_errors=True)


async def _run(command: list[str], stack: Stack, say: Callable[[str], None]) -> int:
    database = servers.database(os.environ, stack.home)
    broker = servers.broker(os.environ, stack.home, vhosts=_VHOSTS)
    ours = [server for server in (database, broker) if server]
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"}
    env.pop("TEST_VHOSTS", None)
    try:
        if ours:
            say(f"starting {' and '.join(server.name for server in ours)} for the tests")
        await servers.start_all(ours)
        _record(ours, stack)
        if database:
            env[servers.DATABASE] = database.admin_url
        if broker:
            env |= {servers.BROKER: broker.url, "TEST_VHOSTS": str(len(_VHOSTS))}
        return await _attend(command, env)
    finally:
        await servers.destroy_all(ours)


def _record(ours: list[servers.Server], stack: Stack) -> None:
    pids = [pid for server in ours for pid in server.pids]
    Record.of(pids, [server.data for server in ours if server.data]).write(stack.record)


async def _attend(command: list[str], env: dict[str, str]) -> int:
    """Wait for the command, passing on signals; its exit code, as a shell would tell it."""
    process = await asyncio.create_subprocess_exec(*command, env=env)
    loop = asyncio.get_running_loop()
    # A terminal sends Ctrl-C to the command as well: we only have to outlive it.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    loop.add_signal_handler(signal.SIGTERM, process.terminate)
    code = await process.wait()
    return code if code >= 0 else 128 - code


def _clear_abandoned(root: Path) -> None:
    """End what earlier runs left behind whose own end was too sudden for it."""
    for folder in (root / ".local").glob(f"{_PREFIX}*"):
        stack = Stack(folder.name, root)
        with held(stack.lock) as free:
            if free and (record := Record.read(stack.record)):
                record.end()
            if free:
                shutil.rmtree(stack.home, ignore_errors=True)
