"""Who may call what: every route there is, by everybody who might.

A new route fails `test_every_route_stands_in_the_table` until it has its line in ENDPOINTS.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from api_client import api_settings
from fastapi.routing import iter_route_contexts
from serving import serving
from wallet import Wallet

from reelgate_api.app import create_app
from reelgate_api.settings import Settings
from reelgate_common import auth, keys
from reelgate_common.auth import ADMIN, JOBS, READ
from reelgate_common.domain.job import JobStatus

ANYONE = "anyone"
CRON = "cron"  # who knows CRON_SECRET

OWNER, STRANGER = Wallet(1), Wallet(2)
MINE, THEIRS = OWNER.address, STRANGER.address
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Endpoint:
    """What callers get. The words in braces are of the fixture `things`."""

    method: str
    path: str  # as the route has it
    needs: str  # a scope, ANYONE or CRON
    right: int  # to a key that has the scope and the wallet, and nothing more
    others: int  # to a key like it of another wallet
    id: str = field(default="", kw_only=True)  # what stands for {id}
    query: str = field(default="", kw_only=True)
    json: Any = field(default=None, kw_only=True)
    session: int | None = field(default=None, kw_only=True)  # to a session of the wallet; None: as the key
    others_session: int | None = field(default=None, kw_only=True)  # of another wallet; None: as the other key
    makes_own_webhook: bool = field(default=False, kw_only=True)  # for whoever has a key


JOB = {"wallet_address": "{mine}", "image_urls": ["https://images.example/cat.png"]}
OPENAI_JOB = {"wallet_address": "{mine}", "prompt": "A cat", "model": "veo3_fast"}
HOOK = {"url": "https://hooks.example/new"}
SPAN = {"from": "2026-01-01T00:00:00Z", "to": "2027-01-01T00:00:00Z"}
FILL = {"amount": 5, "reference": "r"}
KEY = {"name": "shop", "scopes": ["jobs"], "wallets": ["w"]}
NO_SESSIONS: dict[str, Any] = {"session": 403, "others_session": 403}

E = Endpoint
ENDPOINTS = [
    E("POST", "/api/video/generate", JOBS, 202, 403, json=JOB),
    E("POST", "/api/video/jobs/{id}/extend", JOBS, 202, 404, id="{done}", json={"prompt": "More"}),
    E("POST", "/api/video/jobs/{id}/upgrade", JOBS, 202, 404, id="{done}", json={"resolution": "4k"}),
    E("GET", "/api/video/jobs/{id}", READ, 200, 404, id="{done}"),
    E("POST", "/api/video/jobs/{id}/cancel", JOBS, 200, 404, id="{pending}"),
    E("GET", "/api/video/jobs/{id}/timeline", READ, 200, 404, id="{done}"),
    E("GET", "/api/video/jobs/{id}/receipt", READ, 200, 404, id="{done}"),
    E("GET", "/api/video/jobs/{id}/content", READ, 409, 404, id="{pending}"),
    E("HEAD", "/api/video/jobs/{id}/content", READ, 409, 404, id="{pending}"),
    E("DELETE", "/api/video/jobs/{id}/content", JOBS, 200, 404, id="{done}"),
    E("GET", "/api/video/jobs", READ, 200, 200),
    E("GET", "/api/video/jobs/{id}/events", READ, 200, 404, id="{pending}"),
    E("POST", "/api/video/manual-callback", JOBS, 400, 404, json={"taskId": "{task}"}),
    E("POST", "/api/video/images", JOBS, 400, 400),
    E("GET", "/api/wallets/{wallet_address}", READ, 200, 404),
    E("GET", "/api/wallets/{wallet_address}/ledger", READ, 200, 404),
    E("GET", "/api/wallets/{wallet_address}/events", READ, 200, 404),
    E("POST", "/api/wallets/{wallet_address}/grants", ADMIN, 201, 403, json=FILL),
    E("POST", "/api/wallets/{wallet_address}/adjustments", ADMIN, 201, 403, json=FILL),
    E("GET", "/api/prices", READ, 200, 200),
    E("POST", "/api/webhooks", JOBS, 201, 201, json=HOOK, makes_own_webhook=True, **NO_SESSIONS),
    E("GET", "/api/webhooks", READ, 200, 200, **NO_SESSIONS),
    E("GET", "/api/webhooks/secret", JOBS, 200, 200, makes_own_webhook=True, **NO_SESSIONS),
    E("GET", "/api/webhooks/deliveries/{id}", READ, 200, 404, id="{delivery}", **NO_SESSIONS),
    E("POST", "/api/webhooks/deliveries/{id}/replay", JOBS, 202, 404, id="{delivery}", **NO_SESSIONS),
    E("GET", "/api/webhooks/{id}", READ, 200, 404, id="{webhook}", **NO_SESSIONS),
    E("PATCH", "/api/webhooks/{id}", JOBS, 200, 404, id="{webhook}", json={"disabled": True}, **NO_SESSIONS),
    E("DELETE", "/api/webhooks/{id}", JOBS, 204, 404, id="{webhook}", **NO_SESSIONS),
    E("POST", "/api/webhooks/{id}/rotate-secret", JOBS, 200, 404, id="{webhook}", **NO_SESSIONS),
    E("POST", "/api/webhooks/{id}/test", JOBS, 202, 404, id="{webhook}", **NO_SESSIONS),
    E("GET", "/api/webhooks/{id}/deliveries", READ, 200, 404, id="{webhook}", **NO_SESSIONS),
    E("POST", "/api/webhooks/{id}/replay", JOBS, 202, 404, id="{webhook}", json=SPAN, **NO_SESSIONS),
    E("POST", "/api/keys", ADMIN, 201, 403, json=KEY),
    E("GET", "/api/keys", ADMIN, 200, 403),
    E("GET", "/api/keys/{id}", ADMIN, 200, 403, id="{key}"),
    E("DELETE", "/api/keys/{id}", ADMIN, 204, 403, id="{key}"),
    E("GET", "/api/operations/overview", ADMIN, 200, 403),
    E("GET", "/api/operations/search", ADMIN, 200, 403, query="?q={task}"),
    E("GET", "/api/operations/dead-letters", ADMIN, 200, 403),
    E("POST", "/api/operations/dead-letters/{id}/replay", ADMIN, 404, 403, id="{pending}"),
    E("POST", "/api/operations/pause", ADMIN, 204, 403, json={"reason": "a test"}),
    E("POST", "/api/operations/resume", ADMIN, 204, 403),
    E("GET", "/api/auth/caller", READ, 200, 200),
    E("DELETE", "/api/auth/session", JOBS, 403, 403, session=204, others_session=204),
    E("POST", "/v1/videos", JOBS, 200, 403, json=OPENAI_JOB),
    E("GET", "/v1/videos", READ, 200, 200),
    E("GET", "/v1/videos/{id}", READ, 200, 404, id="{done}"),
    E("DELETE", "/v1/videos/{id}", JOBS, 200, 404, id="{done}"),
    E("GET", "/v1/videos/{id}/content", READ, 409, 404, id="{pending}"),
    E("GET", "/api/cron/process-video-jobs", CRON, 200, 401),
    E("POST", "/api/auth/nonce", ANYONE, 200, 200),
    E("POST", "/api/auth/sign-in", ANYONE, 400, 400, json={}),
    E("GET", "/api/video/kie-ai-callback", ANYONE, 503, 503),  # no callback service stands behind it here
    E("POST", "/api/video/kie-ai-callback", ANYONE, 503, 503),
    E("GET", "/api/video/files/{id}/{name}", ANYONE, 404, 404, id="{done}"),  # for whoever has the link
    E("HEAD", "/api/video/files/{id}/{name}", ANYONE, 404, 404, id="{done}"),
    E("GET", "/api/status", ANYONE, 200, 200),
    E("GET", "/", ANYONE, 404, 404),  # for programs; browsers are sent to the console
    E("GET", "/console", ANYONE, 200, 200),
    E("GET", "/console/{name}", ANYONE, 200, 200),
    E("GET", "/openapi.json", ANYONE, 200, 200),
    E("GET", "/docs", ANYONE, 200, 200),
    E("GET", "/docs/{name}", ANYONE, 404, 404),
    E("GET", "/healthz", ANYONE, 200, 200),
    E("GET", "/readyz", ANYONE, 200, 200),
    E("GET", "/metrics", ANYONE, 200, 200),
]
GUARDED = [endpoint for endpoint in ENDPOINTS if endpoint.needs != ANYONE]
FOR_KEYS = [endpoint for endpoint in GUARDED if endpoint.needs != CRON]


def name(endpoint):
    return f"{endpoint.method} {endpoint.path}"


def test_every_route_stands_in_the_table():
    app = create_app(Settings.model_construct(public_base_url="https://gateway.example"))
    routes = [
        f"{method} {route.path}"
        for route in iter_route_contexts(app.routes)
        for method in route.methods - ({"HEAD"} if "GET" in route.methods else set())
    ]

    assert sorted(map(name, ENDPOINTS)) == sorted(routes)


@pytest.fixture
async def client(database_url, broker):
    settings = api_settings(database_url, broker, auth_mode="required", cron_secret="cr0n")
    async with serving(create_app(settings)) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        yield client


@pytest.fixture
def bearer(cast):
    async def make(scope, *, wallets, **more):
        _, key = await cast(keys.create_key, "tests", scopes=[scope], wallets=wallets, **more)
        return {"Authorization": f"Bearer {key}"}

    return make


@pytest.fixture
async def owner(bearer):
    return await bearer(JOBS, wallets=[MINE])


@pytest.fixture
async def things(client, make_job, owner, cast):
    """What is the owner's, and nobody else may see or touch."""
    pending, sent, done = [
        await make_job(status, wallet_address=MINE)
        for status in (JobStatus.PENDING, JobStatus.PROCESSING, JobStatus.COMPLETED)
    ]
    hook = (await client.post("/api/webhooks", json={"url": "https://hooks.example/x"}, headers=owner)).json()
    test = (await client.post(f"/api/webhooks/{hook['id']}/test", headers=owner)).json()
    secret = (await client.get("/api/webhooks/secret", headers=owner)).json()
    key, _ = await cast(keys.create_key, "to be revoked", scopes=[JOBS], wallets=None)
    return {
        "mine": MINE,
        "pending": pending.id,
        "done": done.id,
        "task": sent.task_id,
        "webhook": hook["id"],
        "delivery": test["delivery_id"],
        "secret": secret["secret"],
        "key": key.id,
    }


def filled(value, things):
    """With what the braces name."""
    if isinstance(value, dict):
        return {name: filled(inner, things) for name, inner in value.items()}
    return value.format(**things) if isinstance(value, str) else value


@pytest.fixture
def call(client, things):
    """The answer to a call: its status and text. Of a stream it is the head that counts."""

    async def send(endpoint, headers):
        path = endpoint.path.format(id=filled(endpoint.id, things), wallet_address=MINE, name="console.css") + filled(
            endpoint.query, things
        )
        body = filled(endpoint.json, things)
        async with client.stream(endpoint.method, path, json=body, headers=headers) as answer:
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                return answer.status_code, ""
            return answer.status_code, (await answer.aread()).decode()

    return send


@pytest.fixture
def state(stored):
    """All that a call could have changed, in one value."""

    async def look():
        tables = {
            "video_jobs": "*",
            "credit_transactions": "*",
            "credits": "*",
            "webhook_endpoints": "*",
            "webhook_deliveries": "*",
            "api_keys": "id, revoked_at",
        }
        return {
            table: sorted(str(row) for row in await stored.rows(f"SELECT {columns} FROM {table}"))
            for table, columns in tables.items()
        }

    return look


@pytest.fixture
def strangers(client, bearer, stored):
    """Everybody who is not the owner or has not the right key, with what they get: name -> headers, status."""

    async def make(endpoint):
        needs = READ if endpoint.needs == CRON else endpoint.needs
        mine = None if needs == ADMIN else [MINE]
        revoked = await bearer(needs, wallets=mine)
        await stored.run(
            "UPDATE api_keys SET revoked_at = now() WHERE key_hash = $1",
            auth.hash_secret(revoked["Authorization"].removeprefix("Bearer ")),
        )
        over = await OWNER.sign_in(client)
        await client.delete("/api/auth/session", headers=over)
        found = {
            "nobody": ({}, 401),
            "an unknown key": ({"Authorization": "Bearer rg_live_" + "0" * 64}, 401),
            "an unknown session": ({"Authorization": "Bearer rgs_" + "0" * 64}, 401),
            "a revoked key": (revoked, 401),
            "an expired key": (await bearer(needs, wallets=mine, expires_at=datetime.now(UTC) - HOUR), 401),
            "a session that was ended": (over, 401),
            "somebody else's key": (await bearer(needs, wallets=[THEIRS]), endpoint.others),
        }
        if endpoint.needs == CRON:
            return found | {"an admin's key": (await bearer(ADMIN, wallets=None), 401)}
        if endpoint.needs == ADMIN:
            found["an admin's key for the wallet only"] = (await bearer(ADMIN, wallets=[MINE]), 403)
        if lesser := {JOBS: READ, ADMIN: JOBS}.get(needs):
            found["a key of the lesser scope"] = (await bearer(lesser, wallets=mine), 403)
        theirs = endpoint.others if endpoint.others_session is None else endpoint.others_session
        return found | {"somebody else's session": (await STRANGER.sign_in(client), theirs)}

    return make


@pytest.mark.parametrize("endpoint", GUARDED, ids=name)
async def test_who_may_not_gets_nothing_and_changes_nothing(call, strangers, things, state, endpoint):
    callers = await strangers(endpoint)
    before = await state()

    answers = {who: await call(endpoint, headers) for who, (headers, _) in callers.items()}

    assert {who: status for who, (status, _) in answers.items()} == {
        who: status for who, (_, status) in callers.items()
    }
    for who, (_, text) in answers.items():
        assert [thing for thing in things.values() if str(thing) in text] == [], who
    after = await state()
    assert after == before | ({"webhook_endpoints": after["webhook_endpoints"]} if endpoint.makes_own_webhook else {})
    assert set(before["webhook_endpoints"]) <= set(after["webhook_endpoints"])


@pytest.mark.parametrize("endpoint", FOR_KEYS, ids=name)
async def test_the_least_key_that_may_is_let_in(call, bearer, owner, stored, endpoint):
    key = owner
    if endpoint.needs != ADMIN:
        await stored.run("UPDATE api_keys SET scopes = $1 WHERE wallets IS NOT NULL", [endpoint.needs])
    else:
        key = await bearer(ADMIN, wallets=None)

    status, text = await call(endpoint, key)

    assert status == endpoint.right, text


@pytest.mark.parametrize("endpoint", [one for one in FOR_KEYS if one.needs != ADMIN], ids=name)
async def test_a_session_may_do_with_its_wallet_what_a_key_may(client, call, endpoint):
    session = await OWNER.sign_in(client)

    status, text = await call(endpoint, session)

    assert status == (endpoint.right if endpoint.session is None else endpoint.session), text


@pytest.mark.parametrize("endpoint", [one for one in ENDPOINTS if one.needs == ADMIN], ids=name)
async def test_no_session_is_an_operators(client, call, endpoint):
    status, _ = await call(endpoint, await OWNER.sign_in(client))

    assert status == 403


@pytest.mark.parametrize("endpoint", [one for one in ENDPOINTS if one.needs in {ANYONE, CRON}], ids=name)
async def test_what_asks_for_no_key_answers(call, endpoint):
    headers = {"Authorization": "Bearer cr0n"} if endpoint.needs == CRON else {}

    status, text = await call(endpoint, headers)

    assert status == endpoint.right, text
