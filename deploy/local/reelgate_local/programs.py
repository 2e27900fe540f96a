"""Where the servers' programs are on this machine, and which account may run them."""

import os
import pwd
import re
import shutil
from pathlib import Path

from reelgate_local.process import Account

_HOMEBREW = ("/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew")


def find_postgres() -> Path | None:
    """The folder holding `postgres` and `initdb`: the newest there is."""
    candidates = [
        *Path("/usr/lib/postgresql").glob("*/bin"),
        *Path("/usr").glob("pgsql-*/bin"),
        *(folder for brew in _HOMEBREW for folder in Path(brew).glob("opt/postgresql*/bin")),
    ]
    candidates.sort(key=_version, reverse=True)
    if on_path := shutil.which("initdb"):
        candidates.insert(0, Path(on_path).resolve().parent)
    for folder in candidates:
        if all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb")):
            return folder
    return None


def find_rabbitmq() -> Path | None:
    """RabbitMQ's own start script, never a distribution's wrapper that changes account and folder."""
    candidates = [
        Path("/usr/lib/rabbitmq/bin/rabbitmq-server"),
        *(Path(brew) / "opt/rabbitmq/sbin/rabbitmq-server" for brew in _HOMEBREW),
    ]
    on_path = shutil.which("rabbitmq-server") or shutil.which("rabbitmq-server", path="/usr/sbin:/usr/local/sbin")
    if on_path:
        candidates.append(Path(on_path).resolve())
    for script in candidates:
        if os.access(script, os.X_OK) and (script.parent / "rabbitmq-env").exists() and shutil.which("erl"):
            return script
    return None


def find_epmd() -> str | None:
    """Erlang's port mapper, beside the runtime when it is not on the path."""
    if on_path := shutil.which("epmd"):
        return on_path
    erl = shutil.which("erl")
    beside = sorted(Path(erl).resolve().parents[1].glob("**/erts-*/bin/epmd")) if erl else []
    return str(beside[-1]) if beside else None


def account(*names: str) -> Account | None:
    """As root, the first of these accounts that exists; otherwise None: the servers run as we do."""
    if os.geteuid() != 0:
        return None
    for name in names:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    return None


def _version(folder: Path) -> int:
    numbers = re.findall(r"\d+", folder.parent.name)
    return int(numbers[-1]) if numbers else 0
