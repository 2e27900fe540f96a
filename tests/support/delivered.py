"""A message as the broker gives it out."""

from aiormq import spec
from aiormq.abc import DeliveredMessage
from pamqp.header import ContentHeader

from reelgate_common.bus import Delivery


class Acks:
    """A channel that takes acks."""

    def __init__(self):
        self.acked = []

    async def basic_ack(self, tag):
        self.acked.append(tag)


def delivered(body=b"", headers=None, *, channel=None):
    """A delivery with these headers; None: the message has none."""
    header = ContentHeader(properties=spec.Basic.Properties(message_id="m1", headers=headers))
    return Delivery(DeliveredMessage(spec.Basic.Deliver(delivery_tag=1), header, body, channel))
