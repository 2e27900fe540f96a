"""A page's own server: its files, and the API passed through with a key that the page never sees."""

import asyncio
import contextlib

import httpx
import uvicorn

_NOT_PASSED = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "authorization"}
_HTML = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<div id="root"></div><script src="/{}"></script>"""


class PageServer:
    """An ASGI app. What it passed on stands in `requests`, what is under way in `open`."""

    def __init__(self, files: dict[str, bytes], api: httpx.AsyncClient) -> None:
        self.files = files  # a name → a script; the page of a script is /page/<name>
        self.api = api
        self.streams = "pass"  # "refuse": as a server that only knows the guide's five paths; "hold": says nothing
        self.requests: list[str] = []
        self.open = 0
        self.url = ""

    @classmethod
    @contextlib.asynccontextmanager
    async def serving(cls, files: dict[str, bytes], port: int, *, api: str, key: str):
        """Serve on this port until the end of the block."""
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=api, headers=headers, timeout=90) as client:
            app = cls(files, client)
            server = uvicorn.Server(
                uvicorn.Config(app, port=port, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
            )
            app.url = f"http://127.0.0.1:{port}"
            running = asyncio.create_task(server.serve())
            while not server.started:  # noqa: ASYNC110 -- it tells nobody
                await asyncio.sleep(0.01)
            try:
                yield app
            finally:
                server.should_exit = True
                await running

    async def __call__(self, scope, receive, send) -> None:
        path = scope["path"]
        if path.startswith("/api/"):
            await self._pass(scope, receive, send)
        elif path.startswith("/page/"):
            html = _HTML.format(path.removeprefix("/page/")).encode()
            await _answer(send, 200, {"content-type": "text/html"}, html)
        else:
            script = self.files.get(path[1:])
            await _answer(send, 200 if script else 404, {"content-type": "text/javascript"}, script or b"")

    async def _pass(self, scope, receive, send) -> None:
        self.requests.append(f"{scope['method']} {scope['path']}")
        is_stream = scope["path"].endswith("/events")
        if is_stream and self.streams == "refuse":
            await _answer(send, 404, {"content-type": "text/html"}, b"<h1>Not here</h1>")
            return
        self.open += 1
        try:
            body = await _body(receive)
            held = is_stream and self.streams == "hold"
            passing = asyncio.create_task(asyncio.Event().wait() if held else self._forward(scope, body, send))
            leaving = asyncio.create_task(receive())  # returns when the browser has gone
            await asyncio.wait({passing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            for task in (passing, leaving):
                task.cancel()
            await asyncio.gather(passing, leaving, return_exceptions=True)
        finally:
            self.open -= 1

    async def _forward(self, scope, body, send) -> None:
        headers = [(name, value) for name, value in scope["headers"] if name.decode() not in _NOT_PASSED]
        target = scope["path"] + ("?" + scope["query_string"].decode() if scope["query_string"] else "")
        async with self.api.stream(scope["method"], target, headers=headers, content=body) as answer:
            kept = {name: value for name, value in answer.headers.items() if name not in _NOT_PASSED}
            await _start(send, answer.status_code, kept)
            async for chunk in answer.aiter_bytes():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _body(receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _start(send, status, headers) -> None:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})


async def _answer(send, status, headers, body) -> None:
    await _start(send, status, headers)
    await send({"type": "http.response.body", "body": body})
