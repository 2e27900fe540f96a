"""A real server on loopback."""

import asyncio
import contextlib
import socket
from contextlib import asynccontextmanager

import uvicorn


@asynccontextmanager
async def serving(app, *, lifespan="on"):
    """As `service.run` does, but the signals belong to pytest; its base URL."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, lifespan=lifespan, http="httptools", access_log=False, log_config=None, ws="none")
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(20):
            while not server.started:
                assert not running.done(), "the server did not start"
                await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
