"""A running simulator, a receiver for its callbacks, and a client that drives both."""

import asyncio
import contextlib
import itertools
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio
import uvicorn

from reelgate_simulator.config import Config
from reelgate_simulator.server import server_for

VIDEO_SECONDS = 0.04
HEADERS = {"Authorization": "Bearer any-key"}


def pytest_collection_modifyitems(items):
    """Share one event loop per module, so that one server serves a whole module."""
    for item in items:
        if item.path.parent.name == "simulator" and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="module"), append=False)


async def until(condition: Callable[[], bool], *, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition never came true"
        await asyncio.sleep(0.005)


class Receiver:
    """An ASGI application that keeps every callback and answers what the test wants."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.numbers = itertools.count(1)
        self.clear()

    def clear(self):
        self.query = f"attempt={next(self.numbers)}"
        self.url = f"{self.base}/callback?{self.query}"
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.answers: list[int] = []
        self.hold = asyncio.Event()
        self.hold.set()

    async def __call__(self, scope, receive, send):
        raw = b""
        while (message := await receive())["type"] == "http.request":
            raw += message["body"]
            if not message.get("more_body"):
                break
        status = 200
        if scope["query_string"].decode() == self.query:  # no straggler of an earlier test
            self.keep(raw, scope)
            await self.hold.wait()
            status = self.answers.pop(0) if self.answers else 200
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    def keep(self, raw, scope):
        self.bodies.append(json.loads(raw))
        self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        self.times.append(time.monotonic())

    async def wait_for(self, count: int = 1) -> list[dict[str, Any]]:
        await until(lambda: len(self.bodies) >= count)
        return self.bodies


class Kie:
    """Calls the simulator as a client of the vendor would, and turns its knobs."""

    def __init__(self, http: httpx.AsyncClient, receiver: Receiver) -> None:
        self.http = http
        self.receiver = receiver

    async def generate(self, prompt: str = "a cat", *, headers=None, **fields) -> httpx.Response:
        body = {"prompt": prompt, "callBackUrl": self.receiver.url} | fields
        return await self.http.post("/api/v1/veo/generate", json=body, headers=headers or {})

    async def create(self, prompt: str = "a cat", **fields) -> str:
        answer = (await self.generate(prompt, **fields)).json()
        assert answer["code"] == 200, answer
        return answer["data"]["taskId"]

    async def record(self, task_id: str) -> dict[str, Any]:
        return (await self.http.get("/api/v1/veo/record-info", params={"taskId": task_id})).json()

    async def ended(self, task_id: str) -> dict[str, Any]:
        end = time.monotonic() + 20
        while True:
            data = (await self.record(task_id))["data"]
            if data["successFlag"]:
                return data
            assert time.monotonic() < end, "the task never ended"
            await asyncio.sleep(0.01)

    async def credit(self) -> float:
        return (await self.http.get("/api/v1/chat/credit")).json()["data"]

    async def stats(self) -> dict[str, Any]:
        return (await self.http.get("/sim/stats")).json()

    async def tasks(self) -> list[dict[str, Any]]:
        return (await self.http.get("/sim/tasks")).json()["tasks"]

    async def configure(self, **changes) -> dict[str, Any]:
        answer = await self.http.post("/sim/config", json=changes)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextlib.asynccontextmanager
async def serving(server: uvicorn.Server, listener: socket.socket):
    server.capture_signals = contextlib.nullcontext  # the signals belong to pytest
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await until(lambda: server.started)
    yield
    server.should_exit = True
    await task


def listen() -> tuple[socket.socket, str]:
    # asyncio turns Nagle's delay off only for sockets that name their protocol.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_receiver():
    listener, base = listen()
    receiver = Receiver(base)
    config = uvicorn.Config(receiver, ws="none", lifespan="off", access_log=False, log_level="warning")
    async with serving(uvicorn.Server(config), listener):
        yield receiver


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def base_url():
    listener, base = listen()
    config = Config(
        public_url=base,
        video_seconds=VIDEO_SECONDS,
        sends_per_window=0,
        submit_timeout_seconds=0.2,
        callback_retry_seconds=0.05,
        callback_timeout_seconds=10,
    )
    async with serving(server_for(config, host="127.0.0.1", port=0), listener):
        yield base


@pytest_asyncio.fixture(loop_scope="module")
async def receiver(module_receiver):
    module_receiver.clear()
    return module_receiver


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_http(base_url):
    async with httpx.AsyncClient(base_url=base_url, headers=HEADERS, trust_env=False, timeout=30) as http:
        yield http


@pytest_asyncio.fixture(loop_scope="module")
async def kie(module_http, receiver):
    await module_http.post("/sim/reset")
    return Kie(module_http, receiver)
