"""Use cases of signing in with a wallet: a nonce, a session for a signed message, its end."""

import asyncio
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from reelgate_api.limits.handlers import Limiter
from reelgate_api.settings import Settings
from reelgate_api.sign_in import message as messages
from reelgate_api.sign_in import repository
from reelgate_common.auth import SESSION_PREFIX, Caller
from reelgate_common.db import Database
from reelgate_common.domain.errors import NotAllowed, NotAuthenticated, NotFound

log = structlog.get_logger(__name__)

_NONCE_VALID = timedelta(minutes=10)  # time for a person to find the wallet's window
# Of everybody, all replicas together. Whose attempt it is nobody knows before the signature is looked at, which
# takes 5 ms of a core: a flood keeps others from signing in, but costs no more than a twentieth of a core.
_ATTEMPTS = {"gateway:sign-in": 600}


@dataclass(frozen=True, kw_only=True)
class Session:
    """A session as its holder is told, once."""

    token: str
    wallet_address: str
    expires_at: datetime


async def make_nonce(*, db: Database, settings: Settings) -> tuple[str, datetime]:
    """A nonce for one message, and until when it is good."""
    _check_open(settings)
    nonce = secrets.token_hex(16)
    async with db.connection() as connection:
        return nonce, await repository.keep_nonce(connection, nonce, valid_for=_NONCE_VALID)


def _check_open(settings: Settings) -> None:
    if not settings.session_seconds:
        raise NotFound("Signing in with a wallet is turned off here")


async def sign_in(
    text: str, signature: str, *, db: Database, settings: Settings, limiter: Limiter, alone: asyncio.Lock
) -> Session:
    """Open a session for the wallet that signed the message. Signatures are looked at one at a time, `alone`.

    InvalidInput tells what is wrong with what the message says, which is no secret. What does not prove anything is
    NotAuthenticated, whatever the reason. RateLimited leaves the nonce good, and nothing is signed in vain.
    """
    _check_open(settings)
    message = messages.parse(text)
    messages.check(
        message,
        base_url=settings.public_base_url,
        chain_id=settings.sign_in_chain_id,
        now=datetime.now(UTC),
        nonce_valid_for=_NONCE_VALID,
    )
    await limiter.count(_ATTEMPTS)
    async with alone:
        is_theirs = await asyncio.to_thread(_signer, text, signature) == message.address
    token = SESSION_PREFIX + secrets.token_hex(32)
    until = None
    if is_theirs:
        async with db.connection() as connection:
            until = await repository.open_session(
                connection,
                token,
                message.address,
                nonce=message.nonce,
                valid_for=timedelta(seconds=settings.session_seconds),
                not_after=message.expiration_time,
            )
    if until is None:
        raise NotAuthenticated("The signature is not this address's, or the nonce is used or too old: sign a new one")
    log.info("session_opened")
    return Session(token=token, wallet_address=message.address, expires_at=until)


def _signer(text: str, signature: str) -> str | None:
    from reelgate_api.sign_in.signature import signer  # noqa: PLC0415 -- as in `messages.check`

    return signer(text, signature)


async def sign_out(token: str | None, *, caller: Caller, db: Database) -> None:
    """End the session that asks; NotAllowed for a key, which is no session."""
    if token is None or not caller.is_session:
        raise NotAllowed("Only a session can be ended here: an API key is revoked by an admin")
    async with db.connection() as connection:
        await repository.end_session(connection, token)
