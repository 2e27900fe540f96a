"""Signatures as Standard Webhooks defines them (standardwebhooks.com, symmetric scheme `v1`)."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

_PREFIX = "whsec_"


def headers(webhook_id: UUID, at: datetime, body: str, *, secrets: Sequence[str]) -> dict[str, str]:
    """The three headers of a request; it is signed with each secret, so that a receiver may know either."""
    timestamp = str(int(at.timestamp()))
    content = f"{webhook_id}.{timestamp}.{body}".encode()
    return {
        "webhook-id": str(webhook_id),
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_sign(secret, content) for secret in secrets),
    }


def _sign(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    return f"v1,{base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()}"
