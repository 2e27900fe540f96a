"""What may be asked of the gateway, by keyword. It checks the values, and its error names the field."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict

from reelgate_client.steps import Listener


class OwnFields(TypedDict, total=False):
    """What every job takes. Without `idempotency_key` each call takes one of its own."""

    idempotency_key: str
    metadata: Mapping[str, Any]
    client_reference_id: str
    expires_in: int


class ExtendFields(OwnFields, total=False):
    """What an extension takes besides its prompt."""

    model: str
    seeds: int
    watermark: str


class VideoFields(ExtendFields, total=False):
    """What a video takes besides its wallet and its prompt."""

    image_urls: Sequence[str]
    aspect_ratio: str
    generation_type: str
    resolution: str
    duration: int
    enable_translation: bool
    webhook_url: str


class WaitedFields(VideoFields, total=False):
    """And when it is waited for."""

    on_progress: Listener
    timeout: float


class ListFields(TypedDict, total=False):
    """Which jobs; each filter narrows the list."""

    wallet_address: str
    status: str | Sequence[str]
    state: str
    model: str
    operation: str
    client_reference_id: str
    created_after: datetime
    created_before: datetime
