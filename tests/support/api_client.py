"""The API's app in this process, called over HTTP without a socket."""

from contextlib import asynccontextmanager

import httpx

from reelgate_api.app import create_app
from reelgate_api.settings import Settings


def api_settings(database_url, broker, **overrides):
    """What an API needs, as somebody would run it who asks nobody for a key and has no vendor."""
    values = {
        "database_url": database_url,
        "amqp_url": broker.amqp_url,
        "kie_ai_api_key": "kie-key",
        "kie_ai_api_endpoint": "http://127.0.0.1:9",
        "public_base_url": "http://localhost:3000",
        "auth_mode": "open",
    }
    return Settings(**values | overrides)


@asynccontextmanager
async def calling(app, parts, **options):
    """A client of an app whose lifespan is open; its routes are given these parts."""

    async def with_parts(scope, receive, send):
        await app({**scope, "state": {"parts": parts}}, receive, send)

    transport = httpx.ASGITransport(with_parts, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api", **options) as client:
        yield client


@asynccontextmanager
async def opened(settings):
    """A client of an API with these settings, and its lifespan around it."""
    app = create_app(settings)
    async with app.router.lifespan_context(app) as state, calling(app, state["parts"]) as client:
        yield client
