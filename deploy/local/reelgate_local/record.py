"""What a stack has running, written down so that a later command can end it, whatever died first."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from reelgate_local import datadir
from reelgate_local.process import end_recorded, identity

_GRACE_SECONDS = 5.0


@dataclass
class Record:
    """Processes by id and identity, and folders outside the checkout."""

    supervisor: int
    processes: dict[int, str] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)

    @classmethod
    def of(cls, pids: list[int], folders: list[Path]) -> "Record":
        """Ourselves as supervisor of these."""
        return cls(os.getpid(), {pid: who for pid in pids if (who := identity(pid))}, folders)

    @classmethod
    def read(cls, path: Path) -> "Record | None":
        """What was written; None when there is nothing."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        processes = {int(pid): who for pid, who in found["processes"].items()}
        return cls(found["supervisor"], processes, [Path(folder) for folder in found["folders"]])

    def write(self, path: Path) -> None:
        """Replace what was written."""
        contents = {
            "supervisor": self.supervisor,
            "processes": self.processes,
            "folders": [str(folder) for folder in self.folders],
        }
        replace(path, json.dumps(contents, indent=1))

    def end(self) -> None:
        """End the recorded processes and remove the folders."""
        end_recorded(self.processes, grace=_GRACE_SECONDS)
        for folder in self.folders:
            datadir.remove(folder)


def replace(path: Path, text: str) -> None:
    """Write a file by rename: a reader sees the old one or the new one, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)  # it may hold keys
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


@contextmanager
def held(lock: Path) -> Iterator[bool]:
    """Try to hold this lock; the kernel lets go of it whatever way we end."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
