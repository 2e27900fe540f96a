"""HTTP out: the callback service, to which the API hands on the callback path where no gateway does."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Self

from yarl import URL

from reelgate_common import wire
from reelgate_common.domain.errors import Unavailable

_SECONDS = 14  # Kie.ai waits 15 s for an answer


class CallbackService:
    """Hands a request on as it is, and its answer back."""

    def __init__(self, out: wire.Wire, base_url: str) -> None:
        self._wire = out
        self._base = str(URL(base_url))

    @classmethod
    @asynccontextmanager
    async def open(cls, base_url: str) -> AsyncIterator[Self]:
        """A client for the length of the block."""
        async with wire.Wire.open() as out:
            yield cls(out, base_url)

    async def forward(
        self, method: str, path: str, *, query: str, headers: Mapping[str, str], body: bytes
    ) -> wire.Reply:
        """The callback service's own answer; Unavailable when there is none."""
        url = f"{self._base}{path}?{query}"
        try:
            return await self._wire.ask(method, url, seconds=_SECONDS, headers=headers, body=body)
        except wire.BROKEN as error:
            raise Unavailable(f"the callback service is away: {type(error).__name__}") from error
