"""HTTP in: the page and its files, all of them from here."""

from importlib.resources import files
from pathlib import Path as File
from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import FileResponse

from reelgate_common.domain.errors import NotFound

router = APIRouter(include_in_schema=False)

_OURS = files("reelgate_api.reference") / "static"
_SWAGGER = files("fastapi_swagger") / "resources"
_FILES = {
    "start.js": _OURS / "start.js",
    "swagger-ui.css": _SWAGGER / "swagger-ui.css",
    "swagger-ui-bundle.js": _SWAGGER / "swagger-ui-bundle.js",
}
_HEADERS = {
    # Swagger UI writes style attributes.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}


@router.get("/docs")
async def get_page() -> FileResponse:
    """The page."""
    return FileResponse(File(str(_OURS / "index.html")), headers=_HEADERS)


@router.get("/docs/{name}")
async def get_file(name: Annotated[str, Path()]) -> FileResponse:
    """A file of the page."""
    if name not in _FILES:
        raise NotFound("There is no such file")
    return FileResponse(File(str(_FILES[name])), headers=_HEADERS)
