"""What routes are given: the parts opened by the app, the caller, header values."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

from fastapi import Depends, Header, Path, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from reelgate_api.accepting.handlers import Acceptor
from reelgate_api.callers import Callers
from reelgate_api.custody.handlers import Files
from reelgate_api.jobs.lookup import Lookup
from reelgate_api.jobs.pace import Pace
from reelgate_api.limits.handlers import Limiter
from reelgate_api.live.hub import Hub, Permit
from reelgate_api.operations.handlers import Operations
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
    callers: Callers
    lookup: Lookup
    bus: Bus
    relay: Relay
    verifier: Verifier
    callback_service: CallbackService | None
    vendor_watch: VendorWatch
    limiter: Limiter
    acceptor: Acceptor
    kie: KieClient
    files: Files
    hub: Hub
    pace: Pace
    operations: Operations
    signatures: asyncio.Lock = field(default_factory=asyncio.Lock)  # of wallets: each keeps a processor busy
    image_places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_IMAGES_AT_ONCE))


def id_in_path(description: str) -> Any:
    """An id that is a UUID, as a route takes it."""
    example = "01890a5d-ac96-774b-bcce-b302099a8057"
    return Path(description=description, examples=[example], json_schema_extra={"format": "uuid"})


JobId = Annotated[str, id_in_path("The job's id.")]

_CURSOR = "next_cursor of an earlier answer: where to go on."
PageSize = Annotated[int, Query(ge=1, le=200, description="At most so many.", examples=[50])]
Cursor = Annotated[str | None, Query(description=_CURSOR, examples=["AYkKXayWd0uzArzCC4JJ2w"])]


class State(TypedDict):
    """What the lifespan hands to each request."""

    parts: Parts


async def get_parts(request: Request) -> Parts:
    """The parts opened by the lifespan."""
    parts: Parts = request.state.parts
    return parts


PartsDep = Annotated[Parts, Depends(get_parts)]


_credential = HTTPBearer(
    auto_error=False, scheme_name="credential", description="An API key (rg_live_…), or a session's token (rgs_…)."
)
_cron_secret = HTTPBearer(auto_error=False, scheme_name="cron_secret", description="CRON_SECRET.")


async def get_token(given: Annotated[HTTPAuthorizationCredentials | None, Depends(_credential)]) -> str | None:
    """The bearer credential that was sent."""
    return given.credentials.strip() or None if given else None


Token = Annotated[str | None, Depends(get_token)]


async def get_caller(request: Request, parts: PartsDep, token: Token) -> Caller:
    """Who asks, and may do this kind of thing; NotAuthenticated without a good credential unless AUTH_MODE is open."""
    return await find_caller(parts, token, auth.READ if request.method in {"GET", "HEAD"} else auth.JOBS)


async def find_caller(parts: Parts, token: str | None, scope: str) -> Caller:
    """Who asks, if that may do what needs this scope."""
    if token is None:
        if parts.settings.auth_mode == "open":
            return auth.ANYONE
        raise NotAuthenticated("Send an API key or a session's token: Authorization: Bearer rg_live_…")
    if token.startswith(auth.SESSION_PREFIX) and not parts.settings.session_seconds:
        raise NotAuthenticated("Signing in with a wallet is turned off here")
    return _with_scope(await parts.callers.find(token), scope)


def _with_scope(caller: Caller, scope: str) -> Caller:
    if not caller.may(scope):
        raise NotAllowed(f"This needs a key with the scope {scope}")
    return caller


CallerDep = Annotated[Caller, Depends(get_caller)]  # who may read, or where something changes: may have jobs


async def get_jobs_caller(caller: CallerDep) -> Caller:
    """Who may have jobs, also where nothing changes."""
    return _with_scope(caller, auth.JOBS)


JobsDep = Annotated[Caller, Depends(get_jobs_caller)]


async def get_admin(caller: CallerDep) -> Caller:
    """Who may do what operators do."""
    if not caller.is_admin:
        raise NotAllowed("This needs a key with the scope admin that is bound to no wallets")
    return caller


AdminDep = Annotated[Caller, Depends(get_admin)]


async def check_cron_secret(
    parts: PartsDep, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_cron_secret)]
) -> None:
    """Only who knows CRON_SECRET; with none set, nobody."""
    secret = parts.settings.cron_secret
    said = given.credentials.strip() if given else ""
    if secret is None or not secrets.compare_digest(said.encode(), secret.get_secret_value().encode()):
        raise NotAuthenticated("Unauthorized")


async def get_idempotency_key(
    idempotency_key: Annotated[
        str | None,
        Header(
            description="Yours, new for each request; the same again has its effect once. 1-255 ASCII characters.",
            examples=["order-1047"],
        ),
    ] = None,
) -> str | None:
    """The Idempotency-Key header, checked."""
    return check_idempotency_key(idempotency_key)


def check_idempotency_key(idempotency_key: str | None) -> str | None:
    """The key, or InvalidInput."""
    if idempotency_key is None:
        return None
    if not 0 < len(idempotency_key) <= _MAX_IDEMPOTENCY_KEY or not idempotency_key.isascii():
        raise InvalidInput("Idempotency-Key", f"Idempotency-Key must be 1-{_MAX_IDEMPOTENCY_KEY} ASCII characters")
    return idempotency_key


IdempotencyKey = Annotated[str | None, Depends(get_idempotency_key)]


async def get_permit(parts: PartsDep, caller: CallerDep, token: Token) -> AsyncIterator[Permit]:
    """A place for a live stream, until its response has ended."""
    with parts.hub.permit(token, caller) as permit:
        yield permit


PermitDep = Annotated[Permit, Depends(get_permit)]
