"""Installing the servers on Debian and Ubuntu, without letting them run there on their own."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reelgate_local.errors import LocalError

_POLICY = Path("/usr/sbin/policy-rc.d")
_START_NOTHING = "#!/bin/sh\n# Packages being installed for a local stack start no services.\nexit 101\n"


def can_install() -> bool:
    """Whether this is a machine where we may use apt-get."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None and Path("/etc/debian_version").exists()


def install(packages: list[str], say: Callable[[str], None]) -> None:
    """Install packages, or raise with apt-get's own last words."""
    say(f"installing {' '.join(packages)} with apt-get")
    with _no_service_starts():
        _run("apt-get", "update", "-q")
        _run("apt-get", "install", "-q", "-y", "--no-install-recommends", *packages)


def _run(*command: str) -> None:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = "\n".join((done.stdout + done.stderr).splitlines()[-10:])
        raise LocalError(f"`{' '.join(command)}` failed:\n{words}")


@contextmanager
def _no_service_starts() -> Iterator[None]:
    # A freshly installed server would take its default port; where a policy exists it is not ours to change.
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text(_START_NOTHING, encoding="utf-8")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)
