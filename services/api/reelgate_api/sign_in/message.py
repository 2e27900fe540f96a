"""EIP-4361 messages: read strictly, and held against what this gateway expects of them."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from reelgate_common.domain.errors import InvalidInput

# A wallet's clock may be wrong. A message older than the nonce it names can live is nobody's honest one.
CLOCK_SKEW = timedelta(minutes=5)

_ASCII = re.compile(r"[\n\x20-\x7e]*")
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)"
_MESSAGE = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?(?P<domain>[^\s/?#@]+)"
    r" wants you to sign in with your Ethereum account:\n"
    r"(?P<address>0x[0-9A-Fa-f]{40})\n"
    r"\n"
    r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;= -]+\n)?"  # the statement: for the person who signs
    r"\n"
    r"URI: (?P<uri>\S+)\n"
    r"Version: (?P<version>\d+)\n"
    r"Chain ID: (?P<chain_id>\d{1,78})\n"
    r"Nonce: (?P<nonce>[A-Za-z0-9]{8,128})\n"
    rf"Issued At: (?P<issued_at>{_TIME})"
    rf"(?:\nExpiration Time: (?P<expiration_time>{_TIME}))?"
    rf"(?:\nNot Before: (?P<not_before>{_TIME}))?"
    r"(?:\nRequest ID: [A-Za-z0-9._~!$&'()*+,;=:@%-]*)?"
    r"(?:\nResources:(?:\n- \S+)*)?"
)


@dataclass(frozen=True, kw_only=True)
class Message:
    """What a message says."""

    scheme: str | None
    domain: str
    address: str
    uri: str
    version: str
    chain_id: int
    nonce: str
    issued_at: datetime
    expiration_time: datetime | None
    not_before: datetime | None


def parse(text: str) -> Message:
    """Read a message; InvalidInput for whatever is not exactly one."""
    found = _MESSAGE.fullmatch(text) if _ASCII.fullmatch(text) else None
    if found is None:
        raise _wrong("must be an EIP-4361 message, its lines ended by LF alone")
    said: dict[str, Any] = found.groupdict()
    times = {name: _moment(said[name]) for name in ("issued_at", "expiration_time", "not_before")}
    return Message(**said | times | {"chain_id": int(said["chain_id"])})


def _wrong(what: str) -> InvalidInput:
    return InvalidInput("message", f"message {what}")


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _wrong("holds a time that does not exist") from None


def check(message: Message, *, base_url: str, chain_id: int | None, now: datetime, nonce_valid_for: timedelta) -> None:
    """Raise InvalidInput unless the message is for this gateway and for now. What it proves is another matter."""
    from eth_utils.address import to_checksum_address  # noqa: PLC0415 -- 5 MB that nobody pays before one signs in

    public = urlsplit(base_url)
    scheme = message.scheme or public.scheme
    if _origin(f"{scheme}://{message.domain}") != _origin(base_url):
        raise _wrong(f"must be for the domain {public.netloc}")
    if _origin(message.uri) != _origin(base_url):
        raise _wrong(f"must have a URI that begins with {base_url}")
    if message.version != "1":
        raise _wrong("must have the Version 1")
    if chain_id is not None and message.chain_id != chain_id:
        raise _wrong(f"must have the Chain ID {chain_id}")
    if message.address != to_checksum_address(message.address):
        raise _wrong("must spell the address with its checksum (EIP-55)")
    _check_times(message, now, nonce_valid_for)


def _check_times(message: Message, now: datetime, nonce_valid_for: timedelta) -> None:
    if not now - nonce_valid_for - CLOCK_SKEW <= message.issued_at <= now + CLOCK_SKEW:
        raise _wrong("must have been issued just now: look at the clock, or make a new one")
    if message.expiration_time is not None and message.expiration_time <= now:
        raise _wrong("has expired: make a new one")
    if message.not_before is not None and message.not_before > now:
        raise _wrong("is not valid yet")


def _origin(url: str) -> tuple[str, str, int | None] | None:
    """Scheme, host and port, however they are written; None for what has none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, port or {"http": 80, "https": 443}.get(parts.scheme)
