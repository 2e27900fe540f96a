"""Who reads a kept video slowly gets it whole; a bucket that sends nothing is given up."""

import asyncio
from datetime import timedelta

import pytest
from serving import serving

from reelgate_common.custody import store as stores
from reelgate_common.custody.store import BucketAway, Store

_PIECE = b"x" * 1024 * 1024
_PIECES = 20  # far more than lies in buffers on the way


class Bucket:
    """An S3 with two files: `whole` comes as fast as it is read, `stalls` stops after its first piece."""

    def __init__(self):
        self.go_on = asyncio.Event()

    async def __call__(self, scope, receive, send):
        size = len(_PIECE) * _PIECES
        told = {
            "content-length": str(size),
            "content-range": f"bytes 0-{size - 1}/{size}",
            "etag": '"one"',
            "last-modified": "Tue, 24 Nov 2026 03:18:13 GMT",
        }
        lines = [(name.encode(), value.encode()) for name, value in told.items()]
        await send({"type": "http.response.start", "status": 206, "headers": lines})
        for _ in range(_PIECES):
            await send({"type": "http.response.body", "body": _PIECE, "more_body": True})
            if scope["path"].endswith("stalls"):
                await self.go_on.wait()
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture
async def bucket(monkeypatch):
    """The store of such a bucket, whose patience with one that sends nothing is short."""
    made = Bucket()
    monkeypatch.setitem(stores._PATIENCE, "read_timeout", timedelta(seconds=0.2))
    monkeypatch.setitem(stores._RETRIES, "max_retries", 0)
    async with serving(made, lifespan="off") as url:
        for name, value in {
            "AWS_ENDPOINT_URL": url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }.items():
            monkeypatch.setenv(name, value)
        yield Store.open("s3://videos")
        made.go_on.set()


async def test_a_slow_reader_gets_it_whole_while_a_silent_bucket_is_given_up(bucket):
    slowly = await bucket.read("whole", 0, len(_PIECE) * _PIECES - 1)
    got = len(await anext(slowly))

    with pytest.raises(BucketAway, match="broke off"):  # as long as that takes, the other reads nothing
        async for _ in await bucket.read("stalls", 0, len(_PIECE) * _PIECES - 1):
            pass
    async for chunk in slowly:
        got += len(chunk)

    assert got == len(_PIECE) * _PIECES


def test_a_request_may_last_as_long_as_somebody_reads():
    assert stores._PATIENCE["timeout"] >= timedelta(hours=20)  # 2 GiB at the slowest pace we serve
