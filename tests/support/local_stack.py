"""Whole stacks as a user starts them, each with servers of its own."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

from gateway import Gateway

ROOT = Path(__file__).parents[2]


class Stack(Gateway):
    """A stack started by `reelgate_local up`."""

    def __init__(self, name: str, settings: dict[str, str]) -> None:
        private = {"DATABASE_URL", "AMQP_URL", "TEST_VHOSTS", "KIE_AI_API_ENDPOINT"}
        inherited = {key: value for key, value in os.environ.items() if key not in private}
        self.environ = inherited | settings | {"STACK": name}
        self.home = ROOT / ".local" / name

    def up(self) -> None:
        self._command("up")

    def down(self) -> None:
        self._command("down")

    def _command(self, verb: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "reelgate_local", verb],
            env=self.environ,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    @property
    def env(self) -> dict[str, str]:
        lines = (self.home / "stack.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def pid(self, service: str) -> int:
        return int(self.env[f"PID_{service.upper()}"])

    def server(self, program: str) -> int:
        """The process of one of the stack's own servers."""
        recorded = json.loads((self.home / "running.json").read_text())["processes"]
        return next(pid for pid in map(int, recorded) if _runs(pid, program))


def _runs(pid: int, program: str) -> bool:
    """Whether a process, or one below it in its group, is this program."""
    table = subprocess.run(["ps", "-eo", "pgid=,args="], capture_output=True, text=True, check=True).stdout
    return any(line.split()[0] == str(pid) and program in line for line in table.splitlines())


@contextlib.contextmanager
def running(name: str, **settings: str):
    stack = Stack(f"e2e-{name}-{os.getpid()}", settings)
    stack.up()
    try:
        yield stack
    finally:
        stack.down()
