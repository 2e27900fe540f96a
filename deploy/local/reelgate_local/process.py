"""One child process with its own group and log, and the means to end it and all it began."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Account:
    """The account a server runs as, when not ours."""

    name: str
    uid: int
    gid: int


@dataclass
class Child:
    """A program run in its own process group, its output appended to one log."""

    command: list[str]
    env: dict[str, str]
    cwd: Path
    log: Path
    account: Account | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def spawn(self) -> int:
        """Start the program and return its process id."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                env=self.env,
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C in the terminal is ours to pass on, in our order
                user=self.account.uid if self.account else None,
                group=self.account.gid if self.account else None,
                extra_groups=[] if self.account else None,
            )
        return self._process.pid

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs or before it began."""
        return self._process.poll() if self._process else None

    async def wait(self) -> int:
        """Wait for the end; what it left in its group ends with it."""
        if self._process is None:
            return 0
        process = self._process
        await _until(lambda: process.poll() is not None)
        kill_group(process.pid)
        return process.returncode

    async def stop(self, sign: signal.Signals = signal.SIGTERM, *, grace: float = 10.0) -> None:
        """Ask it to end; after `grace` seconds, end it."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(sign)
        try:
            await asyncio.wait_for(self.wait(), grace)
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End it and every process below it at once, as a power cut would."""
        if self._process is None:
            return
        victims = kill_tree(self._process.pid) if self._process.poll() is None else {}
        await self.wait()
        await _until(lambda: all(identity(pid) != who for pid, who in victims.items()))


def identity(pid: int) -> str | None:
    """What tells this process from a later one with the same id; None when it runs no more."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            state, *rest = stat.read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if state in "ZX" else rest[18]  # field 22: start time in ticks since boot
    answer = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return None if not answer or answer.startswith("Z") else answer.partition(" ")[2].strip()


def end_recorded(processes: dict[int, str], *, grace: float) -> None:
    """End processes known by id and identity, gently first; others' are never touched."""

    def alive() -> list[int]:
        return [pid for pid, who in processes.items() if identity(pid) == who]

    for pid in alive():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while alive() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    for pid in alive():
        kill_tree(pid)
    while alive():
        time.sleep(_POLL_SECONDS)


def kill_tree(pid: int) -> dict[int, str]:
    """SIGKILL a process, its group and its descendants (PostgreSQL's lead sessions of their own).

    Returns the descendants by identity: they are dying, not yet gone.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)  # nothing is born between the count and the kill
    below = {child: who for child in _descendants(pid) if (who := identity(child))}
    for victim in [pid, *below]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    kill_group(pid)
    return below


def kill_group(pid: int) -> None:
    """SIGKILL what is left of the group this process led."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    parents = _parents()
    found: list[int] = []
    level = [pid]
    while level:
        level = [child for child, parent in parents.items() if parent in level]
        found += level
    return found


def _parents() -> dict[int, int]:
    """Process id → parent's id, of every process."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            found[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    if not found:  # macOS has no /proc
        table = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        found = {int(pid): int(parent) for pid, parent in (line.split() for line in table.splitlines())}
    return found


async def _until(condition: Callable[[], bool]) -> None:
    # Polled: a waiter bound to an event loop would not survive tests, where each brings its own loop.
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(_POLL_SECONDS)
