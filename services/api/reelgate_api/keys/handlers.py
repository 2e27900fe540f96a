"""Use cases of API keys: make, look, revoke. Admins only, which the routes see to."""

from datetime import UTC, datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

from reelgate_api import cursor as cursors
from reelgate_common import keys
from reelgate_common.auth import Caller
from reelgate_common.db import Connection, Database
from reelgate_common.domain.errors import InvalidInput, NotAllowed, NotFound
from reelgate_common.keys import Key


async def create(tx: Connection, wanted: dict[str, Any]) -> tuple[Key, str]:
    """Make a key; the key itself is returned here, and never again."""
    if wanted["expires_at"] is not None and wanted["expires_at"] <= datetime.now(UTC):
        raise InvalidInput("expires_at", "expires_at must be in the future")
    return await keys.create_key(tx, **wanted)


async def list_page(*, limit: int, cursor: str | None, db: Database) -> tuple[list[Key], str | None]:
    """A page of keys, newest first, and the cursor of the next, if there is one."""
    before = cursors.decode(cursor) if cursor is not None else None
    async with db.connection() as connection:
        found = await keys.list_keys(connection, before=before, limit=limit + 1)
    return cursors.first(found, limit, id_of=attrgetter("id"))


async def get(key_id: UUID, *, db: Database) -> Key:
    """A key; NotFound when there is none."""
    async with db.connection() as connection:
        key = await keys.find_key(connection, key_id)
    if key is None:
        raise NotFound("API key not found")
    return key


async def revoke(key_id: UUID, *, caller: Caller, db: Database) -> None:
    """End a key. Not the caller's own: whoever does that by mistake could be the last admin."""
    if str(key_id) == caller.key_id:
        raise NotAllowed("A key cannot revoke itself: use another admin key, or `reelgate keys revoke`")
    async with db.connection() as connection:
        if not await keys.revoke_key(connection, key_id):
            raise NotFound("API key not found")
