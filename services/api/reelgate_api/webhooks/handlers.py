"""Use cases of webhooks: endpoints, their secrets, what was delivered, and sending again."""

import base64
import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import structlog

from reelgate_api import cursor as cursors
from reelgate_api.webhooks import repository
from reelgate_api.webhooks.repository import Row, Wanted
from reelgate_common import webhooks
from reelgate_common.addresses import is_private_host
from reelgate_common.auth import Caller
from reelgate_common.db import Connection, Database
from reelgate_common.domain.errors import InvalidInput, NotAllowed, NotAuthenticated, NotFound
from reelgate_common.ids import new_id
from reelgate_common.webhooks import Notice, Target

log = structlog.get_logger(__name__)

_MOST_ENDPOINTS = 20  # of a key: each is a copy of every event
_SECRET_BYTES = 32  # Standard Webhooks: 24 to 64
_OLD_SECRET_VALID = timedelta(hours=24)
_MAX_URL = 2048
_MOST_REPLAYED = 5000  # in one call, so that its statement stays short


def check_url(url: str, *, field: str, allow_private: bool) -> None:
    """Raise InvalidInput unless a webhook may go there. What its name resolves to is judged at each connect."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise InvalidInput(field, f"{field} cannot be read: give a public https URL") from None
    schemes = {"https", "http"} if allow_private else {"https"}
    if parts.scheme not in schemes or not host or len(url) > _MAX_URL or not url.isascii() or not url.isprintable():
        raise InvalidInput(field, f"{field} must be an https URL of at most {_MAX_URL} visible ASCII characters")
    if " " in url or parts.username is not None or parts.password is not None:
        raise InvalidInput(field, f"{field} must carry no space, user name or password: requests are signed instead")
    if not allow_private and is_private_host(host):
        raise InvalidInput(field, f"{field} must be public: nothing is sent to a private or local address")


def _owner(caller: Caller) -> UUID:
    if caller.is_session:
        raise NotAllowed("Webhooks belong to an API key, not to a session")
    if caller.key_id is None:
        raise NotAuthenticated("Webhooks belong to an API key: send one")
    return UUID(caller.key_id)


def _new_secret() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()}"


def _view(row: Row) -> Row:
    return row | {"disabled": row["disabled_at"] is not None}


async def create(tx: Connection, wanted: Wanted, *, caller: Caller, allow_private: bool) -> Row:
    """Make an endpoint; its secret is returned here, and never again."""
    owner = _owner(caller)
    check_url(wanted.url, field="url", allow_private=allow_private)
    secret = _new_secret()
    row = await repository.insert(tx, owner, wanted, secret=secret, most=_MOST_ENDPOINTS)
    if row is None:
        raise InvalidInput(None, f"This key has {_MOST_ENDPOINTS} webhooks already: delete one first")
    log.info("webhook_endpoint_created", endpoint_id=str(row["id"]))
    return _view(row) | {"secret": secret}


async def list_all(*, caller: Caller, db: Database) -> list[Row]:
    """The caller's endpoints."""
    async with db.connection() as connection:
        return [_view(row) for row in await repository.list_endpoints(connection, _owner(caller))]


async def get(endpoint_id: UUID, *, caller: Caller, db: Database) -> Row:
    """An endpoint of the caller; NotFound also for other people's."""
    for row in await list_all(caller=caller, db=db):
        if row["id"] == endpoint_id:
            return row
    raise NotFound("Webhook not found")


async def _lock(tx: Connection, endpoint_id: UUID, caller: Caller) -> Row:
    row = await repository.lock_endpoint(tx, _owner(caller), endpoint_id)
    if row is None:
        raise NotFound("Webhook not found")
    return row


async def change(
    endpoint_id: UUID, changes: Mapping[str, Any], *, caller: Caller, db: Database, allow_private: bool
) -> Row:
    """Change what is named. What waited while it was disabled is sent once it is enabled."""
    if "url" in changes:
        check_url(changes["url"], field="url", allow_private=allow_private)
    async with db.transaction() as tx:
        now = _view(await _lock(tx, endpoint_id, caller))
        wanted = {name: now[name] for name in ("url", "events", "description", "disabled")}
        return _view(await repository.update(tx, endpoint_id, Wanted(**{**wanted, **changes})))


async def delete(endpoint_id: UUID, *, caller: Caller, db: Database) -> None:
    """Forget an endpoint and what still waits for it."""
    async with db.transaction() as tx:
        await _lock(tx, endpoint_id, caller)
        await repository.delete(tx, endpoint_id)
    log.info("webhook_endpoint_deleted", endpoint_id=str(endpoint_id))


async def rotate_secret(tx: Connection, endpoint_id: UUID, *, caller: Caller) -> Row:
    """Give an endpoint a new secret. For a day each request is signed with the old one too."""
    row = await repository.rotate(
        tx, _owner(caller), endpoint_id, secret=_new_secret(), old_valid_for=_OLD_SECRET_VALID
    )
    if row is None:
        raise NotFound("Webhook not found")
    log.info("webhook_secret_rotated", endpoint_id=str(endpoint_id))
    return row


async def signing_secret(*, caller: Caller, db: Database) -> Row:
    """What signs for the `webhook_url` of the caller's jobs."""
    async with db.transaction() as tx:
        return await repository.signing_secret(tx, _owner(caller), fresh=_new_secret())


async def prepare_job(url: str, *, caller: Caller, db: Database, allow_private: bool) -> None:
    """Check a job's own `webhook_url`, and see that there is a secret to sign for it."""
    if caller.key_id is None:
        raise InvalidInput("webhook_url", "webhook_url needs an API key: its secret signs what is sent there")
    check_url(url, field="webhook_url", allow_private=allow_private)
    await signing_secret(caller=caller, db=db)


async def test(tx: Connection, endpoint_id: UUID, *, caller: Caller) -> UUID:
    """Send an endpoint an event about nothing; its delivery shows how that went."""
    row = await _lock(tx, endpoint_id, caller)
    if row["disabled_at"] is not None:
        raise InvalidInput(None, "This webhook is disabled: enable it first")
    data = {"webhook": {"id": str(endpoint_id)}}
    notice = Notice(event_id=new_id(), type=webhooks.TEST, at=datetime.now(UTC), data=data)
    [delivery_id] = await webhooks.deliver(tx, notice, [Target(endpoint_id)])
    return delivery_id


async def deliveries(
    endpoint_id: UUID, *, state: str | None, cursor: str | None, limit: int, caller: Caller, db: Database
) -> tuple[list[Row], str | None]:
    """A page of an endpoint's log, newest first, and the cursor of the next, if there is one."""
    before = cursors.decode(cursor) if cursor is not None else None
    async with db.connection() as connection:
        if not await repository.owns(connection, _owner(caller), endpoint_id):
            raise NotFound("Webhook not found")
        found = await repository.list_deliveries(connection, endpoint_id, state=state, before=before, limit=limit + 1)
    return cursors.first(found, limit, id_of=itemgetter("id"))


async def delivery(delivery_id: UUID, *, caller: Caller, db: Database) -> Row:
    """A delivery of the caller, with what is sent and what was tried."""
    async with db.connection() as connection:
        row = await repository.find_delivery(connection, _owner(caller), delivery_id)
        if row is None:
            raise NotFound("Delivery not found")
        return row | {
            "payload": json.loads(row["body"]),
            "log": await repository.list_attempts(connection, delivery_id),
        }


async def replay_one(delivery_id: UUID, *, caller: Caller, db: Database) -> Row:
    """Send a delivery again, under the same webhook-id, from the start of the schedule."""
    async with db.connection() as connection:
        row = await repository.replay(connection, _owner(caller), delivery_id)
    if row is None:
        raise NotFound("Delivery not found")
    return row


async def replay_range(
    endpoint_id: UUID, *, start: datetime, end: datetime, failed_only: bool, caller: Caller, db: Database
) -> tuple[int, datetime | None]:
    """Send again what was made in [start, end); how many, and where to go on when there are more."""
    if end <= start:
        raise InvalidInput("to", "to must be after from")
    async with db.connection() as connection:
        if not await repository.owns(connection, _owner(caller), endpoint_id):
            raise NotFound("Webhook not found")
        made = await repository.replay_range(
            connection, endpoint_id, start=start, end=end, failed_only=failed_only, limit=_MOST_REPLAYED
        )
    return len(made), max(made) if len(made) == _MOST_REPLAYED else None
