"""A process that waits for the database at its start: it does not listen yet, and can be told to stop."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import httpx
import pytest
from fault_proxy import FaultProxy
from yarl import URL


@pytest.fixture
async def line(database_url):
    """The way to the database, which begins closed."""
    url = URL(database_url)
    async with FaultProxy.open(url.host, url.port or 5432) as proxy:
        proxy.refuse()
        proxy.url = str(url.with_host("127.0.0.1").with_port(proxy.port))
        yield proxy


@pytest.fixture
async def start(line, broker, unused_tcp_port):
    """Start a command of ours, and wait until it has met the closed way."""
    processes = []

    async def begin(*command):
        settings = {
            "DATABASE_URL": line.url,
            "AMQP_URL": broker.amqp_url.get_secret_value(),
            "KIE_AI_API_KEY": "kie-key",
            "PUBLIC_BASE_URL": "http://localhost:3000",
            "HTTP_PORT": str(unused_tcp_port),
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *command,
            env=os.environ | settings,
            stdout=asyncio.subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # as a shell does for `command &`
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def waits(process):
    async with asyncio.timeout(40):
        while b"database_unreachable" not in await process.stdout.readline():
            assert process.returncode is None


async def test_it_listens_when_it_has_started_and_says_503_itself_while_the_database_is_away(
    start, line, unused_tcp_port, eventually
):
    process = await start("reelgate_callback")
    await waits(process)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{unused_tcp_port}") as client:

        async def is_up():
            try:
                return (await client.get("/healthz")).status_code == 200
            except httpx.ConnectError:
                return False

        assert not await is_up()

        await line.heal()
        await eventually(is_up, seconds=40)
        line.refuse()
        said = await client.post("/api/video/kie-ai-callback", json={"data": {"taskId": "task-1"}})

        assert (said.status_code, said.headers["retry-after"]) == (503, "2")
        assert await is_up()


async def test_it_shows_whether_the_database_answers(start, line, unused_tcp_port, eventually):
    process = await start("reelgate_submitter")
    await waits(process)
    await line.heal()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{unused_tcp_port}") as client:

        async def shows(value):
            try:
                return f"reelgate_database_up {value}" in (await client.get("/metrics")).text
            except httpx.ConnectError:
                return False

        await eventually(lambda: shows("1.0"), seconds=40)
        line.refuse()
        await eventually(lambda: shows("0.0"), seconds=40)
        await line.heal()
        await eventually(lambda: shows("1.0"), seconds=40)


# As the first process of a container it would not end by a signal that it has no handler for.
@pytest.mark.parametrize("command", [("reelgate_callback",), ("reelgate_cli", "migrate")])
async def test_it_has_a_handler_for_the_order_to_stop_while_it_waits(start, command, eventually):
    process = await start(*command)

    def catches_sigterm():
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        return int(re.search(r"^SigCgt:\s*(\w+)", status, re.MULTILINE)[1], 16) >> (signal.SIGTERM - 1) & 1

    await eventually(catches_sigterm, seconds=40)
    process.terminate()

    async with asyncio.timeout(20):
        await process.wait()


async def test_a_stop_while_it_waits_is_a_clean_one(start):
    process = await start("reelgate_callback")
    await waits(process)

    process.terminate()

    async with asyncio.timeout(20):
        assert await process.wait() == 0
