"""The routes that answer ordinary requests directly: as FastAPI would have."""

import json
from uuid import UUID

import pytest
from api_client import api_settings, opened
from fastapi.routing import APIRoute

from reelgate_common import auth, keys
from reelgate_common.domain.job import JobStatus

GENERATE = "/api/video/generate"
BODY = {"wallet_address": "wallet", "prompt": "A cat", "image_urls": ["https://images.example/cat.png"]}
WHOLE = {
    **BODY,
    "aspect_ratio": "portrait",
    "model": "veo3_lite",
    "generation_type": "REFERENCE_2_VIDEO",
    "resolution": "1080p",
    "duration": 8,
    "watermark": "W",
    "seeds": 12345,
    "enable_translation": False,
    "metadata": {"deep": [{"a": None, "b": 1.5, "c": -0.0, "d": 1e300, "e": True, "f": "ü€😀", "g": 2**70}]},
    "client_reference_id": "r",
    "expires_in": 60,
    "unknown": 1,
}
# The path that nobody takes directly: a parameter that no route has.
AROUND = {"around": "1"}


@pytest.fixture
async def api(database_url, broker):
    async with opened(api_settings(database_url, broker, auth_mode="required", rate_limit_per_key=10_000)) as client:
        yield client


@pytest.fixture
async def make_key(cast):
    async def make(*scopes, wallets=None):
        _, key = await cast(keys.create_key, "tests", scopes=scopes, wallets=wallets)
        return {"Authorization": f"Bearer {key}"}

    return make


@pytest.fixture
async def key(make_key):
    return await make_key(auth.JOBS)


def _told(answer):
    """Everything a caller is told, but for what is each answer's own."""
    body = answer.json() if answer.content else None
    own = UUID(body.pop("job_id")) if answer.status_code == 202 else None
    headers = dict(answer.headers) | {"x-request-id": "its own"}
    if own:
        headers["location"] = headers["location"].replace(str(own), "its own")
    headers.pop("ratelimit", None)  # counts down
    return answer.status_code, body, headers


async def _both(api, method, path, **options):
    return [_told(await api.request(method, path, params=params, **options)) for params in (None, AROUND)]


BODIES = {
    "ordinary": BODY,
    "everything": WHOLE,
    "text only": {"wallet_address": "wallet", "prompt": "A cat", "generation_type": "TEXT_2_VIDEO", "duration": 4},
    "no prompt": {**BODY, "prompt": None},
    "no wallet": {"prompt": "A cat"},
    "a wallet of another kind": {**BODY, "wallet_address": 7},
    "another's wallet": {**BODY, "wallet_address": "others"},
    "an empty wallet": {**BODY, "wallet_address": "unknown"},
    "images that are none": {**BODY, "image_urls": "https://images.example/cat.png"},
    "nine images": {**BODY, "image_urls": BODY["image_urls"] * 9},
    "a private image": {**BODY, "image_urls": ["http://127.0.0.1/cat.png"]},
    "a ratio nobody has": {**BODY, "aspect_ratio": "square"},
    "a number as a text": {**BODY, "seeds": "12345"},
    "a number with a fraction": {**BODY, "seeds": 12345.0},
    "a duration with a fraction": {**BODY, "duration": 8.0},
    "a truth for a number": {**BODY, "expires_in": True},
    "a number for a truth": {**BODY, "enable_translation": 1},
    "a duration with the wrong type": {**BODY, "duration": 4},
    "metadata that is no object": {**BODY, "metadata": [1]},
    "a webhook that is no URL": {**BODY, "webhook_url": "x"},
    "a list": [],
    "null": None,
}
RAW = {
    "no body": b"",
    "no JSON": b"{",
    "two values": b"{} {}",
    "not UTF-8": b'{"wallet_address": "\xff"}',
    "UTF-16": json.dumps(BODY).encode("utf-16"),
    "a mark before it": b"\xef\xbb\xbf" + json.dumps(BODY).encode(),
    "half a surrogate pair": json.dumps({**BODY, "prompt": "\ud800"}).encode(),
    "NUL": json.dumps({**BODY, "prompt": "\x00"}).encode(),
    "NUL in metadata": json.dumps({**BODY, "metadata": {"a": "\x00"}}).encode(),
    "NaN": json.dumps({**BODY, "metadata": {"a": float("nan")}}).encode(),
    "infinity": json.dumps({**BODY, "metadata": {"a": 1}}).replace("1}", "1e999}").encode(),
    "a control character": b'{"wallet_address": "wallet", "prompt": "a\nb"}',
    "a member that comes twice": b'{"wallet_address": "others", ' + json.dumps(BODY).encode()[1:],
    "metadata that come twice": json.dumps({**BODY, "metadata": {}}).replace("{}", '{"a": 1, "b": 2, "a": 3}').encode(),
    "a zero below zero": json.dumps({**BODY, "metadata": {}}).replace("{}", '{"a": -0, "b": 0E2}').encode(),
    "numbers of many digits": json.dumps({**BODY, "metadata": {}})
    .replace("{}", '{"a": [9007199254740993.0, 2.2250738585072011e-308, 1e-400, 0.1000000000000000055511151231257827]}')
    .encode(),
    "a long number": json.dumps({**BODY, "metadata": {}}).replace("{}", '{"a": ' + "9" * 5000 + "}").encode(),
    "nested deeply": json.dumps({**BODY, "metadata": {}})
    .replace("{}", '{"a": ' + "[" * 300 + "]" * 300 + "}")
    .encode(),
}


@pytest.mark.parametrize("body", [*BODIES.values(), *RAW.values()], ids=[*BODIES, *RAW])
async def test_a_body_comes_to_the_same_as_by_fastapi(body, api, make_key, fund, stored):
    headers = await make_key(auth.JOBS, wallets=["wallet", "unknown"]) | {"Content-Type": "application/json"}
    await fund("wallet", 1000)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    direct, around = await _both(api, "POST", GENERATE, content=content, headers=headers)

    assert direct == around
    rows = await stored.rows(
        "SELECT prompt, image_urls, aspect_ratio, model, generation_type, resolution, duration, watermark, seeds, cost,"
        " metadata::text, client_reference_id, enable_translation, expires_at - created_at AS lasts FROM video_jobs"
    )
    assert len(rows) == (2 if direct[0] == 202 else 0)
    assert all(row == rows[0] for row in rows)


HEADERS = {
    "no credential": {"Authorization": ""},
    "another scheme": {"Authorization": "Basic eDp5"},
    "an unknown key": {"Authorization": "Bearer rg_live_unknown"},
    "an unknown session": {"Authorization": "Bearer rgs_unknown"},
    "an empty key of idempotency": {"Idempotency-Key": ""},
    "one that is too long": {"Idempotency-Key": "k" * 256},
    "one that is not ASCII": {"Idempotency-Key": "ü".encode()},
    "another type of content": {"Content-Type": "text/plain"},
    "the type with a charset": {"Content-Type": "application/json; charset=utf-8"},
    "a type like it": {"Content-Type": "application/vnd.api+json"},
}


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS)
async def test_a_header_comes_to_the_same_as_by_fastapi(headers, api, key, fund):
    await fund("wallet", 1000)
    headers = key | {"Content-Type": "application/json"} | headers

    direct, around = await _both(api, "POST", GENERATE, content=json.dumps(BODY).encode(), headers=headers)

    assert direct == around


async def test_a_key_that_may_only_read_makes_nothing_and_reads(api, make_key, make_job):
    headers, job = await make_key(auth.READ), await make_job()

    made = await _both(api, "POST", GENERATE, json=BODY, headers=headers)
    read = await _both(api, "GET", f"/api/video/jobs/{job.id}", headers=headers)

    assert made[0] == made[1]
    assert read[0] == read[1]
    assert (made[0][0], read[0][0]) == (403, 200)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
async def test_another_method_comes_to_the_same_as_by_fastapi(method, api, key):
    direct, around = await _both(api, method, GENERATE, headers=key)

    assert direct == around
    assert direct[0] == 405


async def test_a_repeat_is_the_same_request_whichever_way_it_comes(api, key, fund, stored):
    await fund("wallet", 1000)
    headers = key | {"Idempotency-Key": "k"}

    first = await api.post(GENERATE, json=WHOLE, headers=headers)
    again = [await api.post(GENERATE, json=WHOLE, headers=headers, params=params) for params in (None, AROUND)]
    other = await _both(api, "POST", GENERATE, json=BODY, headers=headers)

    assert first.status_code == 202
    assert {answer.json()["job_id"] for answer in again} == {first.json()["job_id"]}
    assert [answer.headers["idempotent-replayed"] for answer in again] == ["true", "true"]
    assert other[0] == other[1]
    assert other[0][0] == 422
    assert await stored.count("video_jobs") == 1


TAGS = {
    "none": {},
    "its own": {"If-None-Match": '"{version}"'},
    "weak, of several": {"If-None-Match": '"9", W/"{version}"'},
}
TAGS |= {"another": {"If-None-Match": '"9"'}, "any": {"If-None-Match": "*"}, "an empty one": {"If-None-Match": ""}}


@pytest.mark.parametrize("status", ["pending", "completed"])
@pytest.mark.parametrize("headers", TAGS.values(), ids=TAGS)
async def test_a_job_is_read_as_by_fastapi(status, headers, api, key, make_job):
    job = await make_job(JobStatus(status))
    headers = {name: value.format(version=job.version) for name, value in headers.items()}

    direct, around = await _both(api, "GET", f"/api/video/jobs/{job.id}", headers=key | headers)

    assert direct == around
    assert direct[0] in {200, 304}


@pytest.mark.parametrize("id", ["01890a5d-ac96-774b-bcce-b302099a8057", "no-uuid"])
async def test_a_job_that_is_not_there_is_told_as_by_fastapi(id, api, key):  # noqa: A002
    direct, around = await _both(api, "GET", f"/api/video/jobs/{id}", headers=key)

    assert direct == around
    assert direct[0] in {400, 404}


async def test_ordinary_requests_do_without_fastapi(api, key, fund, monkeypatch):
    """And those that are not, do not: or the tests above would compare one way with itself."""
    await fund("wallet", 1000)
    passed = []
    handle = APIRoute.handle

    async def noted(route, scope, receive, send):
        passed.append(scope["path"])
        await handle(route, scope, receive, send)

    monkeypatch.setattr(APIRoute, "handle", noted)

    for params in (None, AROUND):
        made = await api.post(GENERATE, json=BODY, headers=key, params=params)
        path = f"/api/video/jobs/{made.json()['job_id']}"
        assert (await api.get(path, headers=key, params=params)).status_code == 200

    assert passed == [GENERATE, path]
