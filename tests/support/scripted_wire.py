"""In the place of a wire: what Kie.ai answers is said by a test."""

import asyncio
import inspect
import json
from dataclasses import dataclass

from reelgate_common.wire import Reply


@dataclass(frozen=True)
class Request:
    url: str
    headers: dict
    body: bytes


def reply(body, *, status=200):
    """An answer with this text, or with this as JSON."""
    return Reply(status, (body if isinstance(body, str) else json.dumps(body)).encode(), {})


class ScriptedWire:
    """`answer` says what each request comes to. An exception it returns comes after the request was written."""

    def __init__(self, answer):
        self._answer = answer

    async def ask(self, method, url, *, seconds, headers=None, body=b"", before=lambda: None):
        async with asyncio.timeout(seconds):
            said = self._answer(Request(url, dict(headers or {}), body))
            if inspect.isawaitable(said):
                said = await said
        before()
        if isinstance(said, Exception):
            raise said
        return said
