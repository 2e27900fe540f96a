"""Every answer tells browsers to do as little with it as they can."""

import httpx
from api_client import api_settings, opened
from fastapi.routing import iter_route_contexts

from reelgate_api.app import create_app as create_api
from reelgate_api.settings import Settings as ApiSettings
from reelgate_callback.app import create_app as create_callback
from reelgate_callback.settings import Settings as CallbackSettings

NEEDED = {"database_url": "x", "amqp_url": "x", "kie_ai_api_key": "x", "public_base_url": "https://video.example"}
ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


def paths():
    for context in iter_route_contexts(create_api(ApiSettings(**NEEDED)).routes):
        for method in sorted((context.methods or {"GET"}) - {"HEAD"}):
            yield method, context.path


async def test_every_answer_of_every_route_says_what_it_is_not_for(database_url, broker):
    settings = api_settings(database_url, broker, public_base_url="https://video.example", auth_mode="required")
    asked = [*paths(), ("GET", "/nowhere"), ("BREW", "/coffee")]
    async with opened(settings) as client:
        for method, path in asked:
            async with client.stream(method, path.replace("{", "").replace("}", "")) as answer:
                said = dict(answer.headers)
            assert ALWAYS.items() <= said.items(), (method, path)
            assert "default-src 'none'" in said["content-security-policy"], (method, path)
            assert "frame-ancestors 'none'" in said["content-security-policy"], (method, path)
            assert said["strict-transport-security"] == "max-age=31536000", (method, path)
            assert said["cache-control"] in {"no-store", "no-cache"}, (method, path)
            assert "server" not in said, (method, path)

    assert len(asked) > 40


async def test_without_tls_nobody_is_told_to_come_with_it(database_url, broker):
    async with opened(api_settings(database_url, broker)) as client:
        assert "strict-transport-security" not in (await client.get("/healthz")).headers


async def test_the_callback_service_says_so_too():
    app = create_callback(CallbackSettings(**NEEDED))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://callback") as client:
        answer = await client.get("/nowhere")

    assert ALWAYS.items() <= dict(answer.headers).items()


async def test_no_answer_leads_to_the_host_a_request_claims(database_url, broker):
    async with opened(api_settings(database_url, broker)) as client:
        for path in ("/console/", "/api/status/", "/docs/"):
            answer = await client.get(path, headers={"Host": "evil.example"})
            assert answer.status_code == 404
            assert "location" not in answer.headers
