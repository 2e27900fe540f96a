"""Webhooks of the gateway, by the rules of Standard Webhooks."""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping

from pydantic import ValidationError

from reelgate_client.errors import ConfigurationError, InvalidWebhook
from reelgate_client.models import Event

_TOLERANCE_SECONDS = 300
_PREFIX = "whsec_"


def verify(body: bytes | str, headers: Mapping[str, str], secret: str) -> Event:
    """The webhook, if it was signed with this secret within five minutes; else InvalidWebhook.

    `body` must be what came, byte for byte. The same webhook may come again: its `id` tells.
    """
    raw = body.encode() if isinstance(body, str) else body
    given = {name.lower(): value for name, value in headers.items()}
    try:
        sent_id, sent_at, signatures = (given[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
    except KeyError as missing:
        raise InvalidWebhook(f"the header {missing.args[0]} is missing") from None
    if not (
        sent_at.isascii()
        and sent_at.isdigit()
        and len(sent_at) < 16
        and abs(time.time() - int(sent_at)) <= _TOLERANCE_SECONDS
    ):
        raise InvalidWebhook("the timestamp is more than five minutes off")
    expected = _signature(f"{sent_id}.{sent_at}.".encode() + raw, secret)
    # Each of them is compared, in constant time: while a secret is changed over there are two.
    matches = [hmac.compare_digest(expected, signature.encode()) for signature in signatures.split()]
    if not any(matches):
        raise InvalidWebhook("the signature is not by this secret")
    try:
        return Event.model_validate(json.loads(raw) | {"id": sent_id})
    except (ValueError, TypeError, ValidationError) as error:
        raise InvalidWebhook("signed, but not readable") from error


def _signature(signed: bytes, secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ConfigurationError("secret must be the one the gateway gave: whsec_ and base64")
    return b"v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256))
