"""Kie.ai's webhook signature: base64(HMAC-SHA256(key, taskId + "." + timestamp)). The body is not signed."""

import base64
import hashlib
import hmac
import time
from enum import StrEnum

_WINDOW_SECONDS = 300  # what Standard Webhooks allow; the vendor names none


class Signature(StrEnum):
    """What a webhook's signature says. None of them decides anything: record-info does."""

    GOOD = "good"
    BAD = "bad"
    OLD = "old"
    MISSING = "missing"


def sign(key: str, task_id: str, timestamp: str) -> str:
    """The signature Kie.ai would send."""
    digest = hmac.digest(key.encode(), f"{task_id}.{timestamp}".encode(), hashlib.sha256)
    return base64.b64encode(digest).decode()


def check(key: str, task_id: str, *, timestamp: str | None, signature: str | None) -> Signature:
    """Compare in constant time; a timestamp more than five minutes off is OLD."""
    if not timestamp or not signature:
        return Signature.MISSING
    if not hmac.compare_digest(sign(key, task_id, timestamp).encode(), signature.encode()):
        return Signature.BAD
    readable = timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12
    if not readable or abs(time.time() - int(timestamp)) > _WINDOW_SECONDS:
        return Signature.OLD
    return Signature.GOOD
