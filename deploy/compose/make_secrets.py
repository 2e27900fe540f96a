"""Makes what the containers need to trust each other, once; and puts what the operator gave where it is read.

Each server gets its own volume: none sees what is not for it. Written by name and rename, so that a start that is
cut short leaves no half a secret.
"""

import os
import re
import secrets
import sys
from pathlib import Path

_VOLUMES = Path("/run/secrets")
# It stands in place of the image's own files, which is where that sends the log to the console.
_BROKER = """\
default_vhost = reelgate
default_user = reelgate
default_pass = {password}
disk_free_limit.absolute = 1GB
log.console = true
log.file = false
"""
_GIVEN = ("KIE_AI_API_KEY", "KIE_WEBHOOK_HMAC_KEY", "CRON_SECRET")


def _write(file: Path, text: str) -> None:
    # Readable for the one container that mounts it: its server runs under a number of its own.
    new = file.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o444)
    new.replace(file)


def _once(file: Path) -> str:
    """The secret in a file, made when there is none."""
    if not file.exists():
        _write(file, secrets.token_hex(32))
    return file.read_text()


def _check_origin(url: str) -> None:
    """The gateway takes it for its own address: with a path behind the name it would answer to nothing else."""
    if not re.fullmatch(r"https?://[\w.-]+(:\d+)?", url):
        sys.exit(f"PUBLIC_BASE_URL is {url}: it must be https://name and nothing behind it, no path and no slash")


def main() -> None:
    """Refuse what cannot work; make what is missing."""
    _check_origin(os.environ["PUBLIC_BASE_URL"])
    ours, postgres, rabbitmq = (_VOLUMES / name for name in ("reelgate", "postgres", "rabbitmq"))
    _once(_VOLUMES / "grafana" / "password")
    database = _once(postgres / "password")
    broker = _once(rabbitmq / "password")
    _write(rabbitmq / "20-reelgate.conf", _BROKER.format(password=broker))
    _write(ours / "DATABASE_URL", f"postgresql://reelgate:{database}@postgres:5432/reelgate")
    _write(ours / "AMQP_URL", f"amqp://reelgate:{broker}@rabbitmq:5672/reelgate")
    for name in _GIVEN:
        if given := os.environ.get(name):
            _write(ours / name, given)
        else:
            (ours / name).unlink(missing_ok=True)
    if not os.environ.get("CRON_SECRET"):
        _write(ours / "CRON_SECRET", _once(ours / "made-cron-secret"))


if __name__ == "__main__":
    main()
