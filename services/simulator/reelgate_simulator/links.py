"""Links to download a video by, which expire: the address, when it ends, and a signature."""

import hashlib
import hmac
import secrets
import time
from typing import Final
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from reelgate_simulator.simulator import Simulator

_KEY: Final = secrets.token_bytes(32)


def link_to(simulator: Simulator, url: str) -> str | None:
    """Return a link to one of the vendor's own videos; None for any other address."""
    name = url.removeprefix(f"{simulator.config.public_url}/media/")
    if name == url or not simulator.has_video(name):
        return None
    expires = str(int(time.time() + simulator.config.link_seconds))
    return f"{url}?{urlencode({'Expires': expires, 'Signature': _sign(name, expires)})}"


def is_good(name: str, query: QueryParams) -> bool:
    """Whether a video may be fetched: by its plain address always, by a link until that expires."""
    if "Expires" not in query:
        return True
    expires, signature = query["Expires"], query.get("Signature", "")
    is_ours = hmac.compare_digest(_sign(name, expires).encode(), signature.encode())
    return is_ours and time.time() < int(expires)


def _sign(name: str, expires: str) -> str:
    return hmac.new(_KEY, f"{name}.{expires}".encode(), hashlib.sha256).hexdigest()
