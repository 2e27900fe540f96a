"""The vendor's file host: takes files as a stream, as base64 or by their address, and serves them back."""

import asyncio
import base64
import binascii
import re
from datetime import UTC, datetime
from typing import Any, Final

import httpx
from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from starlette.requests import Request

from reelgate_simulator import files, multipart, submission, validation
from reelgate_simulator.envelope import Envelope, Refusal
from reelgate_simulator.simulator import Simulator
from reelgate_simulator.vendor_routes import Sim

router = APIRouter()
_DATA_URL: Final = re.compile(r"data:[^,]*;base64,")
# What an address from outside can make the client raise, besides its own errors.
_NOT_FETCHED: Final = (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError, ValueError)


@router.post("/api/file-stream-upload")
async def stream_upload(request: Request, simulator: Sim) -> Response:
    """Store the file of a multipart form."""
    _check_door(simulator, request)
    raw = await _body(request, simulator.config.upload_max_bytes)
    form = multipart.read(request.headers.get("content-type", ""), raw)
    if form is None:
        raise _refusal(400, "Content-Type must be multipart/form-data.")
    if "file" not in form:
        raise _refusal(400, "file is required.")
    words = {name: part.text for name, part in form.items() if name != "file"}
    name = words.get("fileName") or form["file"].filename
    content = form["file"].content
    return submission.faulty(simulator, request, lambda: _store(simulator, words | {"fileName": name}, content))


@router.post("/api/file-base64-upload")
async def base64_upload(request: Request, simulator: Sim) -> Response:
    """Store a file that comes as base64, raw or in a data URL."""
    words = await _words(request, simulator)
    data = _required(words, "base64Data")
    try:
        content = base64.b64decode(_DATA_URL.sub("", data, count=1), validate=True)
    except (binascii.Error, ValueError):
        raise _refusal(400, "base64Data is not valid base64.") from None
    return submission.faulty(simulator, request, lambda: _store(simulator, words, content))


@router.post("/api/file-url-upload")
async def url_upload(request: Request, simulator: Sim) -> Response:
    """Fetch a file and store it."""
    words = await _words(request, simulator)
    url = _required(words, "fileUrl")
    content = await _fetch(url, simulator)
    return submission.faulty(simulator, request, lambda: _store(simulator, words, content))


@router.api_route(f"/{files.ROOT}/{{path:path}}", methods=["GET", "HEAD"])
async def stored(path: str, simulator: Sim) -> Response:
    """Serve a file that was handed over, until it expires."""
    file = simulator.files.get(path, simulator.config.upload_seconds)
    if file is None:
        return PlainTextResponse("404 page not found", 404)
    return Response(file.content, media_type=file.media_type)


def _check_door(simulator: Simulator, request: Request) -> None:
    try:
        simulator.check_door(request.headers.get("authorization", ""))
    except Refusal as refusal:
        raise refusal if refusal.http_status != 200 else _refusal(refusal.code, refusal.message) from None


async def _words(request: Request, simulator: Simulator) -> dict[str, Any]:
    _check_door(simulator, request)
    # base64 makes four bytes of three.
    raw = await _body(request, simulator.config.upload_max_bytes * 4 // 3)
    return submission.check_form(request.headers, validation.decode(raw))


async def _body(request: Request, limit: int) -> bytes:
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > limit + 65_536:  # what stands around the file
            raise _too_large()
    return bytes(raw)


async def _fetch(url: str, simulator: Simulator) -> bytes:
    limit = simulator.config.upload_max_bytes
    content = bytearray()
    try:
        async with (
            asyncio.timeout(simulator.config.fetch_timeout_seconds),
            httpx.AsyncClient(follow_redirects=True, trust_env=False, timeout=None) as http,  # noqa: S113 - asyncio.timeout bounds it
            http.stream("GET", url) as answer,
        ):
            answer.raise_for_status()
            async for chunk in answer.aiter_bytes():
                content += chunk
                if len(content) > limit:
                    break
    except _NOT_FETCHED:
        raise _refusal(400, "Failed to download the file from fileUrl.") from None
    return bytes(content)


def _store(simulator: Simulator, words: dict[str, Any], content: bytes) -> Response:
    folder = files.clean(_required(words, "uploadPath"))
    if len(content) > simulator.config.upload_max_bytes:
        raise _too_large()
    if not content:
        raise _refusal(400, "The file is empty.")
    name = words.get("fileName") or files.random_name(files.media_type_of(content, ""))
    if folder is None or not isinstance(name, str) or "/" in name or files.clean(name) is None:
        raise _refusal(400, "uploadPath or fileName is not valid.")
    path, file = simulator.files.put(folder, name, content, lifetime=simulator.config.upload_seconds)
    simulator.stats.uploads += 1
    data = {
        "success": True,
        "fileName": name,
        "filePath": f"{files.ROOT}/{path}",
        "downloadUrl": f"{simulator.config.public_url}/{files.ROOT}/{path}",
        "fileSize": len(content),
        "mimeType": file.media_type,
        "uploadedAt": datetime.fromtimestamp(file.stored_at, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
    }
    return Envelope({"success": True, "code": 200, "msg": "File uploaded successfully", "data": data})


def _required(words: dict[str, Any], name: str) -> str:
    value = words.get(name)
    if not isinstance(value, str) or not value.strip():
        raise _refusal(400, f"{name} is required.")
    return value


def _too_large() -> Refusal:
    return _refusal(400, "The file is too large.")


def _refusal(code: int, message: str) -> Refusal:
    return Refusal(code, message, has_success=True)
