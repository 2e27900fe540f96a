"""What is not a job is made once for each Idempotency-Key: its answer is kept in the transaction that makes it."""

import contextlib
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Request, Response
from pydantic import BaseModel

from reelgate_api.dependencies import CallerDep, IdempotencyKey, PartsDep
from reelgate_api.idempotency import repository
from reelgate_common.db import Connection, Database
from reelgate_common.domain.errors import IdempotencyMismatch

M = TypeVar("M", bound=BaseModel)


class Once:
    """One request of a caller; with a key, its repeats are answered with the first one's answer."""

    def __init__(
        self, request: Request, response: Response, *, owner: str | None, key: str | None, db: Database
    ) -> None:
        self._request = request
        self._response = response
        self._owner = owner
        self._key = key
        self._db = db

    async def __call__(
        self, act: Callable[[Connection], Awaitable[M]], model: type[M], *, not_kept: frozenset[str] = frozenset()
    ) -> M:
        """The answer of `act`, which runs in a transaction, or of the earlier request with the same key.

        A repeat finds the members `not_kept` null. IdempotencyMismatch when the key was used for something else.
        """
        async with self._db.transaction() as tx:
            if self._key is None or self._owner is None:
                return await act(tx)
            await repository.lock(tx, self._owner, self._key)
            request_hash = await self._hash()
            if earlier := await repository.find(tx, self._owner, self._key):
                return self._replay(model, *earlier, request_hash=request_hash)
            made = await act(tx)
            answer = made.model_dump(mode="json") | dict.fromkeys(not_kept)
            if not await repository.keep(tx, self._owner, self._key, request_hash=request_hash, answer=answer):
                raise IdempotencyMismatch
            return made

    def _replay(self, model: type[M], made_by: bytes, answer: object, *, request_hash: bytes) -> M:
        if answer is None or made_by != request_hash:
            raise IdempotencyMismatch
        self._response.headers["Idempotent-Replayed"] = "true"
        return model.model_validate(answer)

    async def _hash(self) -> bytes:
        """Of the path and the body: as JSON, however it was written, if that is what it is."""
        body = await self._request.body()
        with contextlib.suppress(ValueError, RecursionError):  # of a route that reads no body
            body = json.dumps(json.loads(body), sort_keys=True).encode()
        return hashlib.sha256(f"{self._request.method} {self._request.url.path}\n".encode() + body).digest()


async def get_once(
    *, request: Request, response: Response, key: IdempotencyKey, caller: CallerDep, parts: PartsDep
) -> Once:
    """The request at hand. What has no API key as its owner is not kept."""
    return Once(request, response, owner=caller.key_id, key=key, db=parts.db)


OnceDep = Annotated[Once, Depends(get_once)]
