"""The broker's configuration and its first contents: vhosts and one user, loaded as it boots."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

USER = "reelgate"
VHOST = "reelgate"
_SALT = b"rlgt"  # four bytes by RabbitMQ's format; the password is random already


def config(listener: str, definitions_path: Path) -> str:
    """rabbitmq.conf, in the words that 3.10 and 4.x share."""
    return "\n".join(
        (
            f"listeners.tcp.local = {listener}",
            f"load_definitions = {definitions_path}",
            "log.console = true",
            "log.console.level = info",
            "log.file = false",
            "",
        )
    )


def definitions(vhosts: tuple[str, ...], password: str) -> str:
    """Definitions to import: the vhosts, and the user with every permission in each."""
    user: dict[str, Any] = {
        "name": USER,
        "password_hash": _hash(password),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": "administrator",
    }
    everything = {"user": USER, "configure": ".*", "write": ".*", "read": ".*"}
    contents = {
        "users": [user],
        "vhosts": [{"name": vhost} for vhost in vhosts],
        "permissions": [{"vhost": vhost, **everything} for vhost in vhosts],
    }
    return json.dumps(contents, indent=1)


def _hash(password: str) -> str:
    digest = hashlib.sha256(_SALT + password.encode()).digest()
    return base64.b64encode(_SALT + digest).decode()
