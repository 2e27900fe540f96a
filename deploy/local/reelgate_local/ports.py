"""Choosing ports that stay ours across restarts."""

import fcntl
import random
import socket
import tempfile
from pathlib import Path
from typing import TextIO

from reelgate_local.errors import LocalError

# Below the range the kernel hands out to outgoing connections (32768 up on Linux, 49152 up on macOS):
# there, any client could sit on our port at the moment a part wants it back.
_LOWEST, _HIGHEST = 15_000, 32_000
_TRIES = 200

_claimed: dict[int, TextIO] = {}  # open and locked as long as this process runs

_PLACES = (
    (socket.AF_INET, "127.0.0.1"),
    (socket.AF_INET, "0.0.0.0"),  # noqa: S104 - never served: finds those who listen on every address
    (socket.AF_INET6, "::1"),  # `localhost` may mean this one first
)


def is_free(port: int) -> bool:
    """Whether nobody listens on this port under any name of this machine."""
    return all(_can_bind(family, host, port) for family, host in _PLACES)


def choose(preferred: int | None = None, *, avoid: set[int] | None = None) -> int:
    """A free port: the preferred one if possible, else a random one, never one of `avoid`."""
    taken = avoid or set()
    if preferred is not None and preferred not in taken and is_free(preferred) and _claim(preferred):
        return preferred
    for _ in range(_TRIES):
        port = random.randint(_LOWEST, _HIGHEST)  # noqa: S311 - spreads stacks apart, keeps no secret
        if port not in taken and port not in _claimed and is_free(port) and _claim(port):
            return port
    raise LocalError(f"no free port found between {_LOWEST} and {_HIGHEST}")


def _claim(port: int) -> bool:
    """Keep a port from other stacks until this process ends: between the choice and the bind it looks free."""
    if port in _claimed:
        return True
    try:
        file = (Path(tempfile.gettempdir()) / f"reelgate-port-{port}.lock").open("a")
    except OSError:  # another user's
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    _claimed[port] = file
    return True


def _can_bind(family: socket.AddressFamily, host: str, port: int) -> bool:
    try:
        probe = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        return True  # a machine without this family has nobody listening on it
    with probe:
        # The servers bind with the same option: connections still closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return family == socket.AF_INET6 and not _has_ipv6_loopback()
    return True


def _has_ipv6_loopback() -> bool:
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True
