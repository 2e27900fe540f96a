"""HTTP in: API keys. All of it needs the scope admin."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Response

from reelgate_api.dependencies import AdminDep, Cursor, PageSize, PartsDep, id_in_path
from reelgate_api.documented import MADE, answers
from reelgate_api.handlers import parse_uuid
from reelgate_api.idempotency.once import OnceDep
from reelgate_api.keys import handlers
from reelgate_api.keys.schemas import KeyBody, KeyMade, Keys, KeyView
from reelgate_api.problems import responses
from reelgate_common.db import Connection

router = APIRouter(prefix="/api/keys", tags=["keys"])

KeyId = Annotated[str, id_in_path("The key's id, not the key.")]


@router.post(
    "",
    status_code=201,
    operation_id="create_key",
    responses=answers(201, *MADE) | responses(400, 401, 403, 409, 413, 422, 503),
)
async def create_key(body: KeyBody, once: OnceDep, _: AdminDep, response: Response) -> KeyMade:
    """Make an API key. The key itself is shown here only; a repeat with the same Idempotency-Key shows null for it."""

    async def create(tx: Connection) -> KeyMade:
        made, key = await handlers.create(tx, body.model_dump())
        return KeyMade(key=key, **asdict(made))

    made = await once(create, KeyMade, not_kept=frozenset({"key"}))
    response.headers["Location"] = f"/api/keys/{made.id}"
    return made


@router.get("", operation_id="list_keys", responses=responses(400, 401, 403, 503))
async def list_keys(
    _: AdminDep,
    parts: PartsDep,
    limit: PageSize = 50,
    cursor: Cursor = None,
) -> Keys:
    """Every API key there is or was, the newest first."""
    page, next_cursor = await handlers.list_page(limit=limit, cursor=cursor, db=parts.db)
    return Keys(keys=[KeyView(**asdict(key)) for key in page], next_cursor=next_cursor)


@router.get("/{id}", operation_id="get_key", responses=responses(400, 401, 403, 404, 503))
async def get_key(id: KeyId, _: AdminDep, parts: PartsDep) -> KeyView:  # noqa: A002
    """What is known about an API key, and when it was used last."""
    return KeyView(**asdict(await handlers.get(parse_uuid(id, "id"), db=parts.db)))


@router.delete("/{id}", status_code=204, operation_id="revoke_key", responses=responses(400, 401, 403, 404, 503))
async def revoke_key(id: KeyId, caller: AdminDep, parts: PartsDep) -> None:  # noqa: A002
    """Revoke an API key: the next request with it is refused. Its open streams end within a minute.

    A key cannot revoke itself.
    """
    await handlers.revoke(parse_uuid(id, "id"), caller=caller, db=parts.db)
