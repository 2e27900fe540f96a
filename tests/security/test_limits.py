"""What a stranger may cost: a real server, and requests that no client of ours would send."""

import asyncio
import contextlib
import json

import pytest
from api_client import api_settings
from serving import serving

from reelgate_api.app import create_app

GENERATE = "POST /api/video/generate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture
async def server(database_url, broker):
    """Host and port of an API that anybody may call."""
    async with serving(create_app(api_settings(database_url, broker))) as url:
        yield url.removeprefix("http://").split(":")


async def say(server, *parts):
    """The status of the answer to these bytes; None when the connection was closed without one."""
    reader, writer = await asyncio.open_connection(*server)
    try:
        for part in parts:
            writer.write(part.encode() if isinstance(part, str) else part)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            line = await asyncio.wait_for(reader.readline(), 20)
            return int(line.split()[1]) if line else None
    finally:
        writer.close()
    return None


async def is_well(server):
    return await say(server, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") == 200


def body(text):
    return f"{GENERATE}Content-Length: {len(text)}\r\n\r\n{text}"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * 100_000, id="deep lists"),
        pytest.param('{"a":' * 40_000, id="deep objects"),
        pytest.param('{"metadata": ' + "[" * 50_000 + "]" * 50_000 + "}", id="deep metadata"),
        pytest.param('{"wallet_address": "' + "\\ud800" * 20_000 + '"}', id="half characters"),
        pytest.param('{"expires_in": ' + "9" * 5_000 + "}", id="a number of 5,000 digits"),
        pytest.param('{"expires_in": 1e999999}', id="a number that is infinite"),
        pytest.param(json.dumps({f"k{n}": n for n in range(10_000)}), id="10,000 members"),
        pytest.param('{"wallet_address": "w", "wallet_address": 1}', id="a member twice"),
    ],
)
async def test_a_body_made_to_hurt_is_refused(server, text):
    assert await say(server, body(text)) == 400
    assert await is_well(server)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(f"{GENERATE}Content-Length: {'9' * 5_000}\r\n\r\n", id="a length of 5,000 digits"),
        pytest.param(f"{GENERATE}Content-Length: -1\r\n\r\n", id="a negative length"),
        pytest.param(f"{GENERATE}Content-Length: 5\r\nContent-Length: 6\r\n\r\n{{}}", id="two lengths"),
        pytest.param(f"{GENERATE}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{{}}", id="length and chunks"),
        pytest.param(f"GET /{'a' * 500_000} HTTP/1.1\r\nHost: x\r\n\r\n", id="a path of 500 kB"),
        pytest.param(f"GET /api/status HTTP/1.1\r\nX: {'a' * 500_000}\r\n\r\n", id="a header of 500 kB"),
        pytest.param("GET /api/status HTTP/1.1\r\n" + "X: y\r\n" * 50_000 + "\r\n", id="50,000 headers"),
        pytest.param("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS on a plain port"),
        pytest.param("\x00" * 1000 + "\r\n\r\n", id="nothing at all"),
    ],
)
async def test_a_head_made_to_hurt_is_refused_or_the_connection_closed(server, head):
    status = await say(server, head)

    assert status is None or 200 <= status < 500
    assert await is_well(server)


async def test_a_body_that_never_ends_is_cut_off(server):
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"

    status = await say(server, f"{GENERATE}Transfer-Encoding: chunked\r\n\r\n", *([chunk] * 64))

    assert status in {413, None}  # who goes on writing may not get to read it
    assert await is_well(server)


async def test_many_who_send_a_byte_and_wait_keep_nobody_else_out(server):
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(500):
            _, writer = await asyncio.open_connection(*server)
            stack.callback(writer.close)
            writer.write(GENERATE[:20].encode())

        assert await is_well(server)
