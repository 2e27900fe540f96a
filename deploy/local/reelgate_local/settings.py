"""The environment the five processes get, and the file that tells others about the stack."""

import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import urlsplit

from reelgate_local.errors import LocalError
from reelgate_local.record import replace

# Demo scale: a job is done in seconds, and every deadline can be seen to work. The caller's own values win.
# A vendor that is not on this machine takes its time and real money: it gets the deadlines meant for it.
DEMO_SCALE = {
    "SUBMIT_LEASE_SECONDS": "5",
    "SUBMIT_UNKNOWN_DEADLINE": "15",
    "FIRST_POLL_SECONDS": "3",
    "EMPTY_RESULT_GRACE_SECONDS": "3",
    "WEBHOOK_ALLOW_PRIVATE": "true",  # a developer's receiver is on this machine too
}
DEFAULTS = {
    "SIM_VIDEO_SECONDS": "2",
    "SIM_CREDITS": "1000000000",  # the vendor's account shall not run dry unless a scenario says so
    "SIM_REFERENCE_IMAGE_LIMIT": "8",  # as many as the guide, and so the api, allows
    "SIGNUP_CREDITS": "1000",
    "AUTH_MODE": "required",
    "API_WORKERS": "1",
    "LOG_FORMAT": "console",
}
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Addresses:
    """Where the parts and servers of one stack are."""

    api: str
    callback: str
    simulator: str  # empty when the caller named an endpoint
    database: str
    broker: str


def for_services(caller: Mapping[str, str], addresses: Addresses) -> dict[str, str]:
    """The caller's environment over demo-scale defaults, wired to this stack's addresses."""
    endpoint = addresses.simulator or caller["KIE_AI_API_ENDPOINT"]
    defaults = DEFAULTS | (DEMO_SCALE if _is_here(endpoint) else {})
    given = {name: value for name, value in caller.items() if value or name not in defaults}
    env = {
        **defaults,
        "CRON_SECRET": secrets.token_hex(16),
        "KIE_WEBHOOK_HMAC_KEY": secrets.token_hex(16),
        **given,
        "DATABASE_URL": addresses.database,
        "AMQP_URL": addresses.broker,
        "CALLBACK_SERVICE_URL": addresses.callback,
        "PYTHONUNBUFFERED": "1",
    }
    if not (given.get("PUBLIC_BASE_URL") or given.get("NEXT_PUBLIC_BASE_URL")):
        env["PUBLIC_BASE_URL"] = addresses.api
        env.setdefault("CALLBACK_BASE_URL", addresses.callback)  # as the gateways of compose and Kubernetes lead it
    env["KIE_AI_API_ENDPOINT"] = endpoint
    env["KIE_AI_API_KEY"] = given.get("KIE_AI_API_KEY") or _free_key(endpoint)
    return env


def _is_here(endpoint: str) -> bool:
    return urlsplit(endpoint).hostname in _LOOPBACK


def _free_key(endpoint: str) -> str:
    """A key for a simulator or stand-in on this machine; Kie.ai itself wants a real one."""
    if _is_here(endpoint):
        return "local-simulator"
    raise LocalError(f"KIE_AI_API_ENDPOINT is {endpoint}: set KIE_AI_API_KEY too")


@dataclass
class StackFile:
    """The contents of stack.env; a field is a line of the same name in capitals."""

    api_url: str
    callback_url: str
    simulator_url: str
    database_url: str
    amqp_url: str
    api_key: str
    admin_key: str
    cron_secret: str
    pid_api: str = ""
    pid_submitter: str = ""
    pid_callback: str = ""
    pid_reconciler: str = ""
    pid_simulator: str = ""

    def write(self, path: Path) -> None:
        """Replace the file; a shell can source it."""
        lines = (
            f"{entry.name.upper()}={shlex.quote(value) if (value := getattr(self, entry.name)) else ''}\n"
            for entry in fields(self)
        )
        replace(path, "".join(lines))

    @classmethod
    def read(cls, path: Path) -> "StackFile | None":
        """What the file says; None when no stack is up."""
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        pairs = (line.partition("=") for line in text.splitlines())
        return cls(**{name.lower(): "".join(shlex.split(value)) for name, _, value in pairs})
