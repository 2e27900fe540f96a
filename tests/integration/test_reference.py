"""The page at /docs shows the OpenAPI document, with nothing from elsewhere."""

import re

import pytest
from api_client import api_settings, opened


@pytest.fixture
async def api(database_url, broker):
    async with opened(api_settings(database_url, broker)) as client:
        yield client


async def test_the_page_and_all_that_it_names_come_from_here(api):
    page = await api.get("/docs")
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    files = [await api.get(f"/{name}") for name in named if not name.startswith("data:")]

    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert len(files) == 3
    assert {file.status_code for file in files} == {200}
    assert not any("//" in name for name in named)
    assert 'url: "openapi.json"' in files[-1].text
    assert (await api.get("/openapi.json")).json()["info"]["title"] == "Reelgate"


async def test_the_page_may_load_nothing_from_elsewhere_and_run_nothing_inline(api):
    page = await api.get("/docs")
    policy = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))

    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=", page.text)


@pytest.mark.parametrize("name", ["none.js", "index.html", "..%2froutes.py", "%00"])
async def test_no_other_file_is_served(api, name):
    answer = await api.get(f"/docs/{name}")

    assert answer.status_code == 404


async def test_every_method_of_a_path_is_told_to_one_who_uses_another(api):
    answers = [await api.put(path) for path in ("/api/webhooks", "/api/webhooks/secret", "/v1/videos", "/healthz")]

    assert [answer.status_code for answer in answers] == [405] * 4
    assert [answer.headers["allow"] for answer in answers] == ["GET, POST", "GET", "GET, POST", "GET, HEAD"]


async def test_a_page_of_a_named_origin_may_change_things_and_read_what_we_answer(database_url, broker):
    async with opened(api_settings(database_url, broker, cors_allow_origins=["https://app.example"])) as api:
        asked = {"Origin": "https://app.example", "Access-Control-Request-Headers": "authorization, idempotency-key"}
        preflights = [
            await api.options("/api/webhooks/x", headers=asked | {"Access-Control-Request-Method": method})
            for method in ("GET", "POST", "PATCH", "DELETE", "PUT")
        ]
        answer = await api.get("/healthz", headers=asked)

    assert [one.status_code for one in preflights] == [200, 200, 200, 200, 400]
    exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert exposed >= {"ETag", "Location", "Retry-After", "RateLimit", "RateLimit-Policy", "Idempotent-Replayed"}
