"""HTTP in for live streams."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Header, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from reelgate_api import handlers
from reelgate_api.dependencies import CallerDep, JobId, PartsDep, PermitDep
from reelgate_api.live import handlers as live
from reelgate_api.live.feed import moment
from reelgate_api.problems import responses
from reelgate_api.wallets import handlers as wallets
from reelgate_api.wallets.schemas import WalletAddress
from reelgate_common.domain.errors import InvalidInput, Unavailable

log = structlog.get_logger(__name__)

router = APIRouter(tags=["live"])

LastEventId = Annotated[
    str | None, Header(description="The id of the last event received: tells first what came after it.", examples=["3"])
]
_HEADERS = {"X-Accel-Buffering": "no"}  # keeps nginx from collecting them
_DIGITS = 16  # microseconds since 1970, for 250 years to come


class EventStream(StreamingResponse):
    """Events already encoded, once for everyone who gets them."""

    media_type = "text/event-stream"
    body_iterator: AsyncGenerator[bytes, None]

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send until the events or the client end; either way nothing stays behind.

        Starlette's own has a task group for that, which takes several kB for as long as the stream is open.
        """
        here = asyncio.current_task()
        assert here is not None  # noqa: S101 -- a server runs each request in one
        is_open = True

        def end(_: asyncio.Task[None]) -> None:
            if is_open:  # who leaves just as the last event is told ends nothing any more
                here.cancel()

        leaving = asyncio.create_task(self.listen_for_disconnect(receive))
        leaving.add_done_callback(end)
        async with aclosing(self.body_iterator):
            try:
                await self.stream_response(send)
            except asyncio.CancelledError:
                if not leaving.done() or here.uncancel():  # somebody else asked for it
                    raise
            finally:
                is_open = False
                leaving.cancel()

    async def stream_response(self, send: Send) -> None:
        """End when the database is away: the client comes back and goes on where it was."""
        try:
            await super().stream_response(send)
        except Unavailable as error:
            log.warning("stream_cut_short", error=str(error))
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _seen(last_event_id: str | None) -> int | None:
    if last_event_id is None:
        return None
    if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) <= _DIGITS):
        raise InvalidInput("Last-Event-ID", "Last-Event-ID must be the id of an event of this stream")
    return int(last_event_id)


@router.get(
    "/api/video/jobs/{id}/events",
    status_code=200,
    response_class=EventStream,
    operation_id="follow_video",
    responses={**responses(400, 401, 403, 404, 503), 204: {"description": "Everything was told: do not come back."}},
)
async def follow_video(
    *,
    id: JobId,  # noqa: A002
    caller: CallerDep,
    parts: PartsDep,
    permit: PermitDep,
    last_event_id: LastEventId = None,
) -> Any:
    """What happens to a job, as it happens (server-sent events). Ends when it is delivered or refunded.

    The first event is `job`, how it stands; with Last-Event-ID it is whatever came after that event.
    """
    seen = _seen(last_event_id)
    job = await handlers.get(handlers.parse_uuid(id, "id"), caller=caller, db=parts.db)
    if live.has_all(job, seen):
        return Response(status_code=204)
    return EventStream(live.follow_job(job, seen, permit=permit), headers=_HEADERS)


@router.get(
    "/api/wallets/{wallet_address}/events",
    status_code=200,
    response_class=EventStream,
    operation_id="follow_wallet",
    responses=responses(400, 401, 403, 404, 503),
)
async def follow_wallet(
    wallet_address: WalletAddress,
    caller: CallerDep,
    parts: PartsDep,
    permit: PermitDep,
    last_event_id: LastEventId = None,
) -> Any:
    """What happens to the jobs of a wallet from now on, as it happens (server-sent events).

    With Last-Event-ID, from that event on: nothing is left out, and what lies around it may come twice.
    """
    seen = _seen(last_event_id)
    await wallets.balance(wallet_address, caller=caller, db=parts.db)
    since = moment(seen) if seen is not None else None
    return EventStream(live.follow_wallet(wallet_address, since, permit=permit), headers=_HEADERS)
