"""What processes cost, as Linux counts it: processor time and resident memory, with all they started."""

import os
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def _stat(pid: int) -> list[str]:
    # The name in brackets may hold spaces: what counts comes after it.
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def tree(pids: Iterable[int]) -> list[int]:
    """These processes and all below them."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
                continue
    found, waiting = [], list(pids)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """Processor time so far, that of children which have ended included."""
    ticks = 0
    for pid in tree(pids):
        try:
            ticks += sum(map(int, _stat(pid)[11:15]))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return ticks / _TICKS


def resident_mb(pids: Iterable[int]) -> float:
    """Memory in use now. What processes share counts once for each of them."""
    pages = 0
    for pid in tree(pids):
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return pages * _PAGE / 1_000_000


class Meter:
    """Processor time of named groups of processes, since it was made."""

    def __init__(self, groups: dict[str, list[int]]) -> None:
        """Begin to count."""
        self._groups = groups
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        return {name: cpu_seconds(pids) for name, pids in self._groups.items()}

    def read(self) -> dict[str, float]:
        """Seconds spent by each group until now."""
        return {name: seconds - self._before[name] for name, seconds in self._now().items()}
