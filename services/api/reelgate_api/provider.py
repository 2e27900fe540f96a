"""HTTP out: the callback service, to which the API hands on the callback path where no gateway does."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Self

import httpx

from reelgate_common import wire
from reelgate_common.domain.errors import Unavailable

_SECONDS = 14  # Kie.ai waits 15 s for an answer


class CallbackService:
    """Hands a request on as it is, and its answer back."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    @classmethod
    @asynccontextmanager
    async def open(cls, base_url: str) -> AsyncIterator[Self]:
        """A client for the length of the block."""
        transport = wire.Transport()
        async with httpx.AsyncClient(base_url=base_url, timeout=_SECONDS, transport=transport, trust_env=False) as http:
            yield cls(http)

    async def forward(
        self, method: str, path: str, *, query: str, headers: Mapping[str, str], body: bytes
    ) -> httpx.Response:
        """The callback service's own answer; Unavailable when there is none."""
        try:
            return await self._http.request(
                method, httpx.URL(path, query=query.encode()), headers=dict(headers), content=body
            )
        except httpx.HTTPError as error:
            raise Unavailable(f"the callback service is away: {type(error).__name__}") from error
