"""HTTP in: webhooks."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from reelgate_api.dependencies import CallerDep, JobsDep, PartsDep, id_in_path
from reelgate_api.documented import MADE, answers
from reelgate_api.handlers import parse_uuid
from reelgate_api.idempotency.once import OnceDep
from reelgate_api.problems import responses
from reelgate_api.webhooks import handlers
from reelgate_api.webhooks.repository import Wanted
from reelgate_api.webhooks.schemas import (
    Deliveries,
    DeliveryDetail,
    DeliveryView,
    LogQuery,
    Queued,
    RangeBody,
    Replayed,
    Secret,
    WebhookBody,
    WebhookChange,
    WebhookMade,
    Webhooks,
    WebhookView,
)
from reelgate_common.db import Connection

router = APIRouter(prefix="/api/webhooks", tags=["webhooks"])

Id = Annotated[str, id_in_path("Its id.")]


@router.post(
    "",
    status_code=201,
    operation_id="create_webhook",
    responses=answers(201, *MADE) | responses(400, 401, 403, 409, 413, 422, 503),
)
async def create_webhook(
    body: WebhookBody, once: OnceDep, caller: CallerDep, parts: PartsDep, response: Response
) -> WebhookMade:
    """Have the events of your jobs sent to a URL. The secret is shown here only."""

    async def create(tx: Connection) -> WebhookMade:
        wanted = Wanted(**body.model_dump())
        allow_private = parts.settings.webhook_allow_private
        return WebhookMade(**await handlers.create(tx, wanted, caller=caller, allow_private=allow_private))

    made = await once(create, WebhookMade)
    response.headers["Location"] = f"/api/webhooks/{made.id}"
    return made


@router.get("", operation_id="list_webhooks", responses=responses(401, 403, 503))
async def list_webhooks(caller: CallerDep, parts: PartsDep) -> Webhooks:
    """The endpoints of this API key."""
    return Webhooks.model_validate({"webhooks": await handlers.list_all(caller=caller, db=parts.db)})


@router.get("/secret", operation_id="get_webhook_secret", responses=responses(401, 403, 503))
async def get_webhook_secret(caller: JobsDep, parts: PartsDep) -> Secret:
    """What signs for the `webhook_url` of this API key's jobs. With its id it can be rotated, and its log read."""
    return Secret(**await handlers.signing_secret(caller=caller, db=parts.db))


@router.get("/deliveries/{id}", operation_id="get_webhook_delivery", responses=responses(400, 401, 403, 404, 503))
async def get_webhook_delivery(id: Id, caller: CallerDep, parts: PartsDep) -> DeliveryDetail:  # noqa: A002
    """One delivery: what is sent, and every attempt."""
    return DeliveryDetail(**await handlers.delivery(parse_uuid(id, "id"), caller=caller, db=parts.db))


@router.post(
    "/deliveries/{id}/replay",
    status_code=202,
    operation_id="replay_webhook_delivery",
    responses=responses(400, 401, 403, 404, 503),
)
async def replay_webhook_delivery(id: Id, caller: CallerDep, parts: PartsDep) -> DeliveryView:  # noqa: A002
    """Send a delivery again, whatever became of it, under the same webhook-id."""
    return DeliveryView(**await handlers.replay_one(parse_uuid(id, "id"), caller=caller, db=parts.db))


@router.get("/{id}", operation_id="get_webhook", responses=responses(400, 401, 403, 404, 503))
async def get_webhook(id: Id, caller: CallerDep, parts: PartsDep) -> WebhookView:  # noqa: A002
    """An endpoint, and whether it works."""
    return WebhookView(**await handlers.get(parse_uuid(id, "id"), caller=caller, db=parts.db))


@router.patch("/{id}", operation_id="change_webhook", responses=responses(400, 401, 403, 404, 413, 503))
async def change_webhook(id: Id, body: WebhookChange, caller: CallerDep, parts: PartsDep) -> WebhookView:  # noqa: A002
    """Change an endpoint, or enable it again: then what waited meanwhile is sent."""
    changed = await handlers.change(
        parse_uuid(id, "id"),
        body.model_dump(exclude_unset=True),
        caller=caller,
        db=parts.db,
        allow_private=parts.settings.webhook_allow_private,
    )
    return WebhookView(**changed)


@router.delete("/{id}", status_code=204, operation_id="delete_webhook", responses=responses(400, 401, 403, 404, 503))
async def delete_webhook(id: Id, caller: CallerDep, parts: PartsDep) -> None:  # noqa: A002
    """Forget an endpoint and what still waits for it."""
    await handlers.delete(parse_uuid(id, "id"), caller=caller, db=parts.db)


@router.post(
    "/{id}/rotate-secret",
    operation_id="rotate_webhook_secret",
    responses=answers(200, "Idempotent-Replayed") | responses(400, 401, 403, 404, 409, 422, 503),
)
async def rotate_webhook_secret(id: Id, once: OnceDep, caller: CallerDep) -> Secret:  # noqa: A002
    """A new secret. For 24 hours each request is signed with the one before it, too."""
    endpoint_id = parse_uuid(id, "id")

    async def rotate(tx: Connection) -> Secret:
        return Secret(**await handlers.rotate_secret(tx, endpoint_id, caller=caller))

    return await once(rotate, Secret)


@router.post(
    "/{id}/test",
    status_code=202,
    operation_id="test_webhook",
    responses=answers(202, "Idempotent-Replayed") | responses(400, 401, 403, 404, 409, 422, 503),
)
async def test_webhook(id: Id, once: OnceDep, caller: CallerDep) -> Queued:  # noqa: A002
    """Send an event of type webhook.test."""
    endpoint_id = parse_uuid(id, "id")

    async def test(tx: Connection) -> Queued:
        return Queued(delivery_id=await handlers.test(tx, endpoint_id, caller=caller))

    return await once(test, Queued)


@router.get("/{id}/deliveries", operation_id="list_webhook_deliveries", responses=responses(400, 401, 403, 404, 503))
async def list_webhook_deliveries(
    id: Id,  # noqa: A002
    asked: Annotated[LogQuery, Query()],
    caller: CallerDep,
    parts: PartsDep,
) -> Deliveries:
    """The log of an endpoint, newest first."""
    page, following = await handlers.deliveries(parse_uuid(id, "id"), **asked.model_dump(), caller=caller, db=parts.db)
    return Deliveries.model_validate({"deliveries": page, "next_cursor": following})


@router.post(
    "/{id}/replay", status_code=202, operation_id="replay_webhook", responses=responses(400, 401, 403, 404, 413, 503)
)
async def replay_webhook(id: Id, body: RangeBody, caller: CallerDep, parts: PartsDep) -> Replayed:  # noqa: A002
    """Send again what failed in a span of time, or all that was made in it."""
    count, following = await handlers.replay_range(
        parse_uuid(id, "id"),
        start=body.from_,
        end=body.to,
        failed_only=body.state == "failed",
        caller=caller,
        db=parts.db,
    )
    return Replayed(replayed=count, next_from=following)
