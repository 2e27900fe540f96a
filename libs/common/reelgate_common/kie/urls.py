"""URLs as Kie.ai gives them: in which forms, which can be used, and whose they are."""

import json
import re
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

# Host and port as browsers and Python read them alike: no user name, no bracket, no backslash, nothing escaped.
_PLAIN_HOST = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(:[0-9]*)?")


def urls_of(value: Any) -> list[str]:
    """A list, a JSON string of one, or the documented `[http://…]` without quotes."""
    if isinstance(value, str):
        text = value.strip()
        try:
            return urls_of(json.loads(text))
        except (ValueError, RecursionError):
            return [part.strip(" \"'") for part in text.strip("[]").split(",")]
    if isinstance(value, list):
        return [item.strip() for item in value if isinstance(item, str)]
    return []


def is_usable(url: str) -> bool:
    """An http(s) URL with a host, short enough to store."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and len(url) <= 2048 and url.isprintable()
    except ValueError:
        return False


def is_on(url: str, hosts: Collection[str]) -> bool:
    """Whether a usable URL is on one of these hosts; `.example.com` means every name below it.

    A URL whose host browsers and Python may read differently is on none.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # which Python finds wrong differs by its version
        return False
    if not _PLAIN_HOST.fullmatch(parts.netloc):
        return False
    host = (parts.hostname or "").removesuffix(".")
    return any(host.endswith(name) if name.startswith(".") else host == name for name in hosts)
