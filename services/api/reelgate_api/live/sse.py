"""The wire format of a stream."""

import random

from fastapi.sse import format_sse_event

from reelgate_api.live.schemas import LiveEvent

KEEP_ALIVE = format_sse_event(comment="keep-alive")
END = format_sse_event(event="end", data_str="{}")
_RETRY_MILLISECONDS = (1000, 5000)


def encode(event: LiveEvent, *, id: str) -> bytes:  # noqa: A002 -- the field's name
    """One event. The id is what a client that comes back sends as Last-Event-ID."""
    return format_sse_event(data_str=event.model_dump_json(), event=event.event, id=id)


def ready(id: str) -> bytes:  # noqa: A002
    """The start of a wallet's stream: from here on nothing is missed."""
    return format_sse_event(data_str="{}", event="ready", id=id)


def retry() -> bytes:
    """When a client should come back: each at another time, so that they do not come all at once."""
    return format_sse_event(retry=random.randint(*_RETRY_MILLISECONDS))  # noqa: S311 -- keeps no secret
