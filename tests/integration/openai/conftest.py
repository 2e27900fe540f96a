"""The gateway behind a real server on loopback, driven by OpenAI's own client; and a host of videos."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import openai
import pytest
from serving import serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from reelgate_api.app import create_app
from reelgate_api.settings import Settings
from reelgate_common import auth, keys

MOVIE = bytes(range(256)) * 1024


@dataclass
class Host:
    """Where Kie.ai keeps videos: serves one movie, whole or in part, and misbehaves as told."""

    url: str = ""
    asked: list = field(default_factory=list)  # headers of each request
    status: int = 200  # of every answer, if not 200
    redirect: str = ""
    breaks_after: int = 0  # bytes
    given: int = 0  # bytes handed to the server so far
    uploads: list = field(default_factory=list)  # bodies of files handed over
    refuses: bool = False  # files
    ended: asyncio.Event = field(default_factory=asyncio.Event)  # an endless movie was let go of

    async def movie(self, request: Request) -> Response:
        self.asked.append(dict(request.headers))
        if self.redirect:
            return RedirectResponse(self.redirect)
        if self.status != 200:
            return Response(status_code=self.status)
        if wanted := request.headers.get("range"):
            start, end = wanted.removeprefix("bytes=").split("-")
            first, last = int(start), int(end or len(MOVIE) - 1)
            if first >= len(MOVIE):
                return Response(status_code=416, headers={"Content-Range": f"bytes */{len(MOVIE)}"})
            place = {"Content-Range": f"bytes {first}-{last}/{len(MOVIE)}", "Accept-Ranges": "bytes"}
            return Response(MOVIE[first : last + 1], 206, place, media_type="video/mp4")
        return Response(MOVIE, headers={"Accept-Ranges": "bytes", "ETag": '"one"', "Set-Cookie": "a=b"})

    async def upload(self, request: Request) -> Response:
        """Kie.ai's file host, which here names a new URL each time."""
        async with request.form() as form:
            self.uploads.append(await form["file"].read())
        if self.refuses:
            return JSONResponse({"success": False, "code": 400, "msg": "We do not like it"})
        url = f"{self.url}/kieai/{len(self.uploads)}.png"
        return JSONResponse({"success": True, "code": 200, "msg": "ok", "data": {"downloadUrl": url}})

    async def endless(self, scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"99999999999")]})

        async def give() -> None:
            while not self.breaks_after or self.given < self.breaks_after:
                await send({"type": "http.response.body", "body": MOVIE, "more_body": True})
                self.given += len(MOVIE)

        giving = asyncio.create_task(give())
        try:
            if self.breaks_after:
                await giving
                return
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            giving.cancel()
            self.ended.set()

    @property
    def movie_url(self) -> str:
        return f"{self.url}/movie.mp4"


class Endless:
    """A class, so that Starlette takes it for an application."""

    def __init__(self, host: Host) -> None:
        self.host = host

    async def __call__(self, scope, receive, send) -> None:
        await self.host.endless(scope, receive, send)


@pytest.fixture
async def host():
    """A host of videos, which the gateway trusts as it does its vendor."""
    made = Host()
    routes = [
        Route("/movie.mp4", made.movie),
        Route("/endless.mp4", Endless(made)),
        Route("/api/file-stream-upload", made.upload, methods=["POST"]),
    ]
    app = Starlette(routes=routes)
    async with serving(app, lifespan="off") as made.url:
        yield made


@pytest.fixture
def serve_api(database_url, broker, host):
    """Serve the API with these settings; its base URL."""

    def serve(**overrides):
        values = {
            "database_url": database_url,
            "amqp_url": broker.amqp_url,
            "kie_ai_api_key": "kie-key",
            "kie_ai_api_endpoint": host.url,
            "public_base_url": "http://localhost:3000",
        }
        return serving(create_app(Settings(**values | overrides)))

    return serve


@pytest.fixture
async def api_url(serve_api):
    async with serve_api() as url:
        yield url


@pytest.fixture
def make_key(cast):
    async def make(*, wallets=("wallet",), scopes=(auth.JOBS,)):
        return (await cast(keys.create_key, "tests", scopes=scopes, wallets=wallets))[1]

    return make


@pytest.fixture
async def key(make_key):
    """A key bound to one wallet."""
    return await make_key()


@pytest.fixture
def make_client(api_url):
    """OpenAI's own client, unmodified."""

    @asynccontextmanager
    async def make(key, *, base=api_url, **options):
        async with openai.AsyncOpenAI(base_url=f"{base}/v1", api_key=key, **options) as client:
            yield client

    return make


@pytest.fixture
async def client(make_client, key):
    async with make_client(key) as made:
        yield made


@pytest.fixture
def movie():
    return MOVIE
