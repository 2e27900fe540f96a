"""What routes are given: the parts opened by the app, the caller, header values."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, TypedDict

from fastapi import Depends, Header, Request

from reelgate_api.handlers import Accepted
from reelgate_api.idempotency.in_flight import InFlight
from reelgate_api.limits.handlers import Limiter
from reelgate_api.live.hub import Hub, Permit
from reelgate_api.openai.provider import VideoFiles
from reelgate_api.provider import CallbackService
from reelgate_api.settings import Settings
from reelgate_api.vendor_watch import VendorWatch
from reelgate_common import auth
from reelgate_common.auth import Caller
from reelgate_common.bus import Bus
from reelgate_common.db import Database
from reelgate_common.domain.errors import InvalidInput, NotAllowed, NotAuthenticated
from reelgate_common.kie.client import KieClient
from reelgate_common.outbox import Relay
from reelgate_common.verification import Verifier

_MAX_IDEMPOTENCY_KEY = 255
_IMAGES_AT_ONCE = 8  # in a process: each is held in memory while it comes and goes


@dataclass(frozen=True)
class Parts:
    """Everything the API opens at its start."""

    settings: Settings
    db: Database
    bus: Bus
    relay: Relay
    verifier: Verifier
    callback_service: CallbackService | None
    vendor_watch: VendorWatch
    limiter: Limiter
    kie: KieClient
    video_files: VideoFiles
    hub: Hub
    in_flight: InFlight[Accepted] = field(default_factory=InFlight)
    image_places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_IMAGES_AT_ONCE))


class State(TypedDict):
    """What the lifespan hands to each request."""

    parts: Parts


async def get_parts(request: Request) -> Parts:
    """The parts opened by the lifespan."""
    parts: Parts = request.state.parts
    return parts


PartsDep = Annotated[Parts, Depends(get_parts)]


def _bearer(authorization: str | None) -> str | None:
    scheme, _, value = (authorization or "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" and value.strip() else None


async def get_caller(parts: PartsDep, authorization: Annotated[str | None, Header()] = None) -> Caller:
    """Who asks; NotAuthenticated without a good key unless AUTH_MODE is open."""
    key = _bearer(authorization)
    if key is None:
        if parts.settings.auth_mode == "open":
            return auth.ANYONE
        raise NotAuthenticated("Send an API key: Authorization: Bearer rg_live_…")
    async with parts.db.connection() as connection:
        caller = await auth.find_caller(connection, key)
    if not caller.scopes & {auth.JOBS, auth.ADMIN}:
        raise NotAllowed("This key has no scope for jobs")
    return caller


CallerDep = Annotated[Caller, Depends(get_caller)]


async def check_cron_secret(parts: PartsDep, authorization: Annotated[str | None, Header()] = None) -> None:
    """Only who knows CRON_SECRET; with none set, nobody."""
    secret = parts.settings.cron_secret
    given = _bearer(authorization) or ""
    if secret is None or not secrets.compare_digest(given.encode(), secret.get_secret_value().encode()):
        raise NotAuthenticated("Unauthorized")


async def get_idempotency_key(idempotency_key: Annotated[str | None, Header()] = None) -> str | None:
    """The Idempotency-Key header, checked."""
    if idempotency_key is None:
        return None
    if not 0 < len(idempotency_key) <= _MAX_IDEMPOTENCY_KEY or not idempotency_key.isascii():
        raise InvalidInput("Idempotency-Key", f"Idempotency-Key must be 1-{_MAX_IDEMPOTENCY_KEY} ASCII characters")
    return idempotency_key


IdempotencyKey = Annotated[str | None, Depends(get_idempotency_key)]


async def get_permit(
    parts: PartsDep, caller: CallerDep, authorization: Annotated[str | None, Header()] = None
) -> AsyncIterator[Permit]:
    """A place for a live stream, until its response has ended."""
    with parts.hub.permit(_bearer(authorization), caller) as permit:
        yield permit


PermitDep = Annotated[Permit, Depends(get_permit)]
