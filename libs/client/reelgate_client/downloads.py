"""A video's file onto the disk: whole, or not at all."""

import os
import secrets
from pathlib import Path
from typing import BinaryIO

import httpx

from reelgate_client import calls
from reelgate_client.errors import ReelgateError
from reelgate_client.retries import Tries, refused, unreachable
from reelgate_client.settings import Settings
from reelgate_client.steps import Flow, Open, Read, Request, Stream


def download(job_id: str, path: Path, settings: Settings) -> Flow[Path]:
    """Save the video of a finished job. The path has the whole file or what it had before."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield from _fill(file, job_id, settings)
        os.replace(part, path)  # noqa: PTH105 -- says what it does
    finally:
        part.unlink(missing_ok=True)
    return path


def _fill(file: BinaryIO, job_id: str, settings: Settings) -> Flow[None]:
    """Fetch the file; after a cut, from where it broke off if the gateway can go on there."""
    tries = Tries(settings)
    etag: str | None = None
    while True:
        have = file.tell()
        resumed = {"Range": f"bytes={have}-"} | ({"If-Range": etag} if etag else {}) if have else {}
        try:
            stream: Stream = yield Open(calls.content(job_id, resumed), tries.seconds(Request.patience))
            if stream.response.is_success:
                etag = stream.response.headers.get("etag")
                yield from _write(file, stream, have)
                return
            problem: ReelgateError = refused(stream.response)
        except httpx.TransportError as error:
            problem = unreachable(error, settings)
        if file.tell() > have:
            tries.went_on()
        yield from tries.again(problem)


def _write(file: BinaryIO, stream: Stream, have: int) -> Flow[None]:
    goes_on = stream.response.headers.get("content-range", "").startswith(f"bytes {have}-")
    if have and not goes_on:
        file.seek(0)
        file.truncate()
    while (chunk := (yield Read(stream))) is not None:
        file.write(chunk)  # also under async: a chunk is small, and a disk is quicker than a line
