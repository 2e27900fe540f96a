"""The console's files, and what a browser may do with them."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from reelgate_api.settings import Settings

_PAGE = "index.html"
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True)
class File:
    """One file as it is served."""

    content: bytes
    media_type: str
    etag: str


@cache
def _files() -> dict[str, File]:
    """Every file there is, by name: no path of a request is ever looked up on the disk."""
    found = {}
    for entry in resources.files("reelgate_api.console").joinpath("static").iterdir():
        content = entry.read_bytes()
        etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        found[entry.name] = File(content, _TYPES[entry.name.rpartition(".")[2]], etag)
    return found


def routes(settings: Settings) -> list[Route]:
    """`/` for browsers, the page, and its files."""
    headers = _headers(settings)

    async def file(request: Request) -> Response:
        found = _files().get(request.path_params.get("name", _PAGE))
        if found is None:
            raise HTTPException(404, "Not Found")
        known = {"ETag": found.etag, **headers}
        if found.etag in request.headers.get("if-none-match", "").replace("W/", "").split(", "):
            return Response(status_code=304, headers=known)
        return Response(found.content, media_type=found.media_type, headers=known)

    paths: dict[str, Callable[[Request], Awaitable[Response]]] = {
        "/": _home,
        "/console": file,
        "/console/{name}": file,
    }
    return [Route(path, endpoint) for path, endpoint in paths.items()]


async def _home(request: Request) -> Response:
    """Programs that ask for `/` are told that nothing is there."""
    if "text/html" not in request.headers.get("accept", ""):
        raise HTTPException(404, "Not Found")
    return RedirectResponse("/console", headers={"Vary": "Accept"})


def _headers(settings: Settings) -> dict[str, str]:
    # The vendor's videos, the bucket's and callers' images are on hosts of their own; a stand-in's have no TLS.
    elsewhere = "https:" if settings.kie_ai_api_endpoint.startswith("https:") else "https: http:"
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": f"'self' blob: {elsewhere}",
        "media-src": f"'self' {elsewhere}",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Cache-Control": "no-cache",  # ask each time; unchanged costs no body
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
    }
