"""Who asks, looked up for all that ask at the same time."""

from collections.abc import Sequence

from reelgate_common import auth
from reelgate_common.auth import Caller
from reelgate_common.batches import Batches
from reelgate_common.db import Database


class Callers:
    """Looks credentials up. Nothing is kept: a key that was revoked opens nothing from then on."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._keys = Batches(self._find_keys, name="keys")

    async def find(self, token: str) -> Caller:
        """Who a key or a session belongs to; NotAuthenticated when it is unknown or over."""
        if not token.startswith(auth.SESSION_PREFIX):
            return auth.known(await self._keys(token))
        async with self._db.connection() as connection:
            return await auth.find_caller(connection, token)

    async def _find_keys(self, keys: Sequence[str]) -> list[Caller | None]:
        async with self._db.connection() as connection:
            return await auth.find_keys(connection, keys)
