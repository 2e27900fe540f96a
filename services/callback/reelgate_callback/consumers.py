"""AMQP in: which queue goes to which handler."""

from reelgate_callback.handlers import Hints
from reelgate_callback.settings import Settings
from reelgate_common import topology
from reelgate_common.bus import Subscription
from reelgate_common.consumer import subscription
from reelgate_common.messages import CallbackReceived
from reelgate_common.service import Core
from reelgate_common.verification import Verifier


def build(core: Core, verifier: Verifier, settings: Settings) -> list[Subscription]:
    """Hints are verified a few at a time."""
    return [
        subscription(
            topology.CALLBACK_RECEIVED,
            CallbackReceived,
            Hints(core.db, verifier).verify,
            publisher=core.bus.publisher,
            prefetch=settings.verifications_in_flight,
        )
    ]
