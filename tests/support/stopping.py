"""How long a process may take to stop, by the limits that the code itself uses."""

from reelgate_common import bus, service
from reelgate_submitter.app import drain_seconds
from reelgate_submitter.settings import Settings

_LINKS_AND_POOL = 10  # two connections to the broker and the pool are closed after the rest


def seconds(name: str) -> float:
    """At the longest, from SIGTERM on, with the settings that nobody changed."""
    needed = {"database_url": "x", "amqp_url": "x", "kie_ai_api_key": "x", "public_base_url": "https://x.example"}
    drain = drain_seconds(Settings(**needed)) if name == "submitter" else bus.DRAIN_SECONDS
    return service._STOP_SECONDS + drain + bus.CANCEL_SECONDS + _LINKS_AND_POOL
