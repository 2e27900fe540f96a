"""Starting and stopping a stack that lives on in the background."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from reelgate_local import servers
from reelgate_local.errors import LocalError, StartError
from reelgate_local.layout import Stack
from reelgate_local.record import Record, held
from reelgate_local.settings import StackFile
from reelgate_local.supervisor import supervise

Say = Callable[[str], None]

_STOP_SECONDS = 60.0
_KILL_SECONDS = 5.0
_OTHER_UP_SECONDS = 180.0  # the longest that a start by someone else may take
_POLL_SECONDS = 0.05


def up(stack: Stack, say: Say, env: Mapping[str, str] = os.environ) -> tuple[StackFile, bool]:
    """Bring a stack up with these settings; returns its file, and whether it was running before."""
    with held(stack.lock) as free:
        if free:
            _clear_leftovers(stack)
    if not free:
        return _wait_for_other(stack), True
    servers.install_missing(env, say)
    shutil.rmtree(stack.logs, ignore_errors=True)
    stack.logs.mkdir(parents=True)
    with _launch(stack, env) as reports:
        supervisor = json.loads(reports.readline())["pid"]
        try:
            _follow(reports, say)
        except BaseException:
            _end(supervisor, reports)
            raise
    found = StackFile.read(stack.env_file)
    if found is None:
        raise LocalError("the stack ended right after its start")
    return found, False


def down(stack: Stack) -> bool:
    """Take a stack down; whether there was one. Nothing of it is left but its logs."""
    with held(stack.lock) as free:
        if free:
            return _clear_leftovers(stack)
    for sign, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
        _signal_supervisor(stack, sign)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with held(stack.lock) as free:
                if free:
                    _clear_leftovers(stack)
                    return True
            time.sleep(_POLL_SECONDS)
    raise LocalError(f"the stack does not stop: see {stack.log('supervisor')}")


def run_supervisor(stack: Stack, report_to: int) -> int:
    """Be the supervisor, in a process of its own that this one does not wait for."""
    if os.fork():
        return 0
    with os.fdopen(report_to, "w", encoding="utf-8", buffering=1) as pipe:

        def report(**what: object) -> None:
            with contextlib.suppress(OSError, ValueError):  # nobody listens any more
                print(json.dumps(what), file=pipe)

        def say(text: str) -> None:
            print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}", flush=True)
            report(step=text)

        def when_up() -> None:
            report(up=True)
            pipe.close()

        report(pid=os.getpid())
        with held(stack.lock) as free:
            if not free:
                report(failed="another `up` of this stack is on its way", log=None)
                return 1
            try:
                asyncio.run(supervise(stack, dict(os.environ), say, when_up))
            except LocalError as failure:
                log = failure.log if isinstance(failure, StartError) else None
                report(failed=str(failure), log=str(log) if log else None)
                return 1
    return 0


def _launch(stack: Stack, env: Mapping[str, str]) -> IO[str]:
    """Start the supervisor; what it reports can be read until it is up or has ended."""
    reading, writing = os.pipe()
    arguments = ("supervise", "--stack", stack.name, "--root", str(stack.root), "--report-to", str(writing))
    with stack.log("supervisor").open("ab") as log:
        try:
            subprocess.run(
                [sys.executable, "-m", "reelgate_local", *arguments],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(writing,),
                start_new_session=True,
                check=True,  # it returns at once: the supervisor is its child, and nobody's to wait for
            )
        finally:
            os.close(writing)
    return os.fdopen(reading, encoding="utf-8")


def _follow(reports: IO[str], say: Say) -> None:
    """Pass on the steps until the stack is up; raise when it is not to be."""
    for line in reports:
        report = json.loads(line)
        if "step" in report:
            say(report["step"])
        elif "up" in report:
            return
        else:
            raise _failure(report["failed"], Path(report["log"]) if report["log"] else None)
    raise LocalError("the supervisor died")


def _failure(text: str, log: Path | None) -> LocalError:
    part, _, reason = text.partition(" ")
    return StartError(part, reason, log) if log else LocalError(text)


def _end(supervisor: int, reports: IO[str]) -> None:
    """Have the supervisor clean up, and wait for its end."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(supervisor, signal.SIGTERM)
    for _ in reports:
        pass


def _wait_for_other(stack: Stack) -> StackFile:
    deadline = time.monotonic() + _OTHER_UP_SECONDS
    while time.monotonic() < deadline:
        if found := StackFile.read(stack.env_file):
            return found
        with held(stack.lock) as free:
            if free:
                break
        time.sleep(_POLL_SECONDS)
    raise LocalError(f"another start of this stack did not succeed: see {stack.log('supervisor')}")


def _signal_supervisor(stack: Stack, sign: signal.Signals) -> None:
    if record := Record.read(stack.record):
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.supervisor, sign)


def _clear_leftovers(stack: Stack) -> bool:
    """End what a supervisor that died left behind; whether there was anything."""
    record = Record.read(stack.record)
    if record:
        record.end()
    stack.record.unlink(missing_ok=True)
    stack.env_file.unlink(missing_ok=True)
    return record is not None
