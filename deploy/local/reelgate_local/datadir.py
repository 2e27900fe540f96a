"""Where a private server keeps its data."""

import os
import shutil
import tempfile
from pathlib import Path

from reelgate_local.process import Account


def make(home: Path, name: str, account: Account | None) -> Path:
    """A new private directory: under `home`, or where another account can reach it."""
    if account is None:
        folder = home / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        return folder
    # Above a checkout there may be folders, such as /root, that no other account may pass.
    folder = Path(tempfile.mkdtemp(prefix=f"reelgate-{name}-", dir="/var/tmp"))
    os.chown(folder, account.uid, account.gid)
    return folder


def write(path: Path, text: str, account: Account | None, *, mode: int = 0o600) -> None:
    """Write a file its server can read, and nobody else."""
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    if account:
        os.chown(path, account.uid, account.gid)


def remove(folder: Path) -> None:
    """Remove a server's data, whoever owns it."""
    shutil.rmtree(folder, ignore_errors=True)
