"""Which credentials open streams were opened with, and whether they still are what they were."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from reelgate_common import auth
from reelgate_common.auth import Caller
from reelgate_common.db import Database
from reelgate_common.domain.errors import NotAuthenticated, Unavailable

log = structlog.get_logger(__name__)

# Once idle, once round and one heartbeat: a revoked key's streams end within a minute.
_ROUND_SECONDS = 20.0


@dataclass
class Credential:
    """A key or session with streams. `lapsed`: it is no longer good, or for something else."""

    caller: Caller
    streams: int = 0
    lapsed: bool = False


class Credentials:
    """Looks up each credential in use again and again, however many streams it has."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._held: dict[tuple[str, Caller], Credential] = {}

    @contextmanager
    def held(self, secret: str | None, caller: Caller) -> Iterator[Credential]:
        """A credential, watched inside the block; who needed none cannot lose it."""
        if secret is None:
            yield Credential(caller)
            return
        credential = self._held.setdefault((secret, caller), Credential(caller))
        credential.streams += 1
        try:
            yield credential
        finally:
            credential.streams -= 1
            if not credential.streams:
                del self._held[secret, caller]

    async def run(self) -> None:
        """Go round until cancelled."""
        while True:
            held = list(self._held.items())
            for (secret, _), credential in held:
                await self._check(secret, credential)
                await asyncio.sleep(_ROUND_SECONDS / len(held))
            if not held:
                await asyncio.sleep(_ROUND_SECONDS)

    async def _check(self, secret: str, credential: Credential) -> None:
        try:
            async with self._db.connection() as connection:
                credential.lapsed = await auth.find_caller(connection, secret) != credential.caller
        except NotAuthenticated:
            credential.lapsed = True
        except Unavailable as error:
            log.warning("credential_check_put_off", error=str(error))
