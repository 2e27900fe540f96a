"""Where the gateway is, and how it is asked."""

import ipaddress
import os
from dataclasses import dataclass, field
from typing import Self, TypedDict

import httpx

from reelgate_client.errors import ConfigurationError


class Options(TypedDict, total=False):
    """How a client asks."""

    timeout: float
    """Seconds for one call with all its repeats: 120. Waiting for a job has a time of its own."""
    max_retries: int
    """How often a request is repeated: 5."""
    allow_plain_http: bool
    """Whether the key may be sent unencrypted to another machine."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Checked, and without the key in its text."""

    base_url: str
    api_key: str | None = field(repr=False)
    timeout: float
    max_retries: int

    @classmethod
    def of(
        cls,
        base_url: str | None,
        api_key: str | None,
        *,
        timeout: float = 120.0,
        max_retries: int = 5,
        allow_plain_http: bool = False,
    ) -> Self:
        """What was given, and REELGATE_URL and REELGATE_API_KEY for what was not."""
        url = _read_url(base_url or os.environ.get("REELGATE_URL") or "")
        key = (api_key or os.environ.get("REELGATE_API_KEY") or "").strip() or None
        if key and not (key.isascii() and key.isprintable() and " " not in key):
            raise ConfigurationError("api_key must be one word of visible ASCII characters")
        if key and url.scheme == "http" and not allow_plain_http and not _is_loopback(url.host):
            raise ConfigurationError(
                f"over plain http anyone on the way to {url.host} could read the API key: use https, "
                "or pass allow_plain_http=True"
            )
        return cls(base_url=str(url).rstrip("/"), api_key=key, timeout=timeout, max_retries=max_retries)

    @property
    def trust_env(self) -> bool:
        """Whether a proxy may stand between: not on the way to this machine, where it could read the key."""
        return not _is_loopback(httpx.URL(self.base_url).host)

    @property
    def headers(self) -> dict[str, str]:
        """Of every request."""
        said = {"User-Agent": "reelgate-client"}
        return said | {"Authorization": f"Bearer {self.api_key}"} if self.api_key else said


def _read_url(text: str) -> httpx.URL:
    if not text:
        raise ConfigurationError("base_url is missing: pass it, or set REELGATE_URL")
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        raise ConfigurationError("base_url cannot be read: it should look like https://video.example.com") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise ConfigurationError("base_url must be an http(s) URL, such as https://video.example.com")
    if url.userinfo or url.query or url.fragment:
        raise ConfigurationError("base_url must be an address only: no password, query or fragment")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
