"""API keys as admins make and end them, and what holding one means."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from api_client import api_settings, opened

from reelgate_common import auth, keys

KEYS = "/api/keys"
BODY = {"name": "shop", "scopes": ["jobs"], "wallets": ["wallet"]}
PRICES = "/api/prices"  # for whoever may read


@pytest.fixture
def open_api(database_url, broker):
    return lambda **overrides: opened(api_settings(database_url, broker, **{"auth_mode": "required"} | overrides))


@pytest.fixture
def bearer(cast):
    async def make(*scopes, wallets=None, **more):
        made, key = await cast(keys.create_key, "tests", scopes=scopes, wallets=wallets, **more)
        return made, {"Authorization": f"Bearer {key}"}

    return make


@pytest.fixture
async def admin(bearer):
    return await bearer(auth.ADMIN)


@pytest.fixture
async def api(open_api, admin):
    """The API as an admin calls it."""
    async with open_api() as client:
        client.headers.update(admin[1])
        yield client


def with_key(key):
    return {"Authorization": b"Bearer " + (key if isinstance(key, bytes) else key.encode())}


async def make(api, **body):
    answer = await api.post(KEYS, json=BODY | body)
    assert answer.status_code == 201, answer.text
    return answer.json()


# Made once, shown once ------------------------------------------------------------------------------


async def test_a_new_key_is_shown_with_everything_about_it(api):
    ends = (datetime.now(UTC) + timedelta(days=1)).isoformat()

    answer = await api.post(KEYS, json=BODY | {"expires_at": ends})

    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{KEYS}/{made['id']}"
    assert answer.headers["cache-control"] == "no-store"
    assert re.fullmatch("rg_live_[0-9a-f]{64}", made["key"])
    assert made["key"].startswith(made["prefix"])
    assert (made["name"], made["scopes"], made["wallets"], made["test"]) == ("shop", ["jobs"], ["wallet"], False)
    assert datetime.fromisoformat(made["expires_at"]) == datetime.fromisoformat(ends)
    assert (made["last_used_at"], made["revoked_at"]) == (None, None)


async def test_the_key_is_in_no_later_answer_no_row_and_no_log(api, stored, capsys):
    made = await make(api)
    secret = made["key"].removeprefix(made["prefix"])

    one, page = await api.get(f"{KEYS}/{made['id']}"), await api.get(KEYS)

    assert one.json() == {name: value for name, value in made.items() if name != "key"}
    assert page.json()["keys"][0] == one.json()
    kept = [str(await stored.rows(f"SELECT * FROM {table}")) for table in ("api_keys", "idempotency_keys")]
    said = "".join(capsys.readouterr())
    assert made["id"] in said  # it is logged that a key was made
    assert [text for text in (one.text, page.text, said, *kept) if secret in text] == []


async def test_a_repeat_with_the_same_idempotency_key_makes_no_second_key_and_shows_none(api, stored):
    headers = {"Idempotency-Key": "k"}

    first, again = [await api.post(KEYS, json=BODY, headers=headers) for _ in range(2)]

    assert again.status_code == 201
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json() | {"key": None}
    assert await stored.value("SELECT count(*) FROM api_keys WHERE name = 'shop'") == 1
    assert first.json()["key"] not in str(await stored.rows("SELECT * FROM idempotency_keys"))


async def test_a_test_key_says_so_and_works_alike(api):
    made = await make(api, test=True)

    assert made["key"].startswith("rg_test_")
    assert made["test"] is True
    assert (await api.get(PRICES, headers=with_key(made["key"]))).status_code == 200


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"wallets": ...}, "wallets"),
        ({"wallets": []}, "wallets"),
        ({"wallets": ["a b"]}, "wallets[0]"),
        ({"wallets": "wallet"}, "wallets"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["metrics"]}, "scopes[0]"),
        ({"scopes": ...}, "scopes"),
        ({"name": ""}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"name": ...}, "name"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2999-01-01T00:00:00"}, "expires_at"),
        ({"expire_at": "2999-01-01T00:00:00Z"}, "expire_at"),
    ],
    ids=str,
)
async def test_a_bad_request_names_the_field_and_makes_no_key(api, stored, change, field):
    body = {name: value for name, value in (BODY | change).items() if value is not ...}

    answer = await api.post(KEYS, json=body)

    assert (answer.status_code, answer.json()["field"]) == (400, field), answer.text
    assert await stored.count("api_keys") == 1


async def test_a_key_for_every_wallet_must_be_asked_for(api):
    assert (await make(api, wallets=None))["wallets"] is None


async def test_the_database_refuses_scopes_that_mean_nothing(cast):
    for scopes in ([], ["metrics"], ["jobs", "metrics"]):
        with pytest.raises(asyncpg.CheckViolationError):
            await cast(keys.create_key, "tests", scopes=scopes, wallets=None)


# Looked at ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 5, 6, 7])
async def test_pages_together_are_all_keys_newest_first(api, limit):
    made = [(await make(api, name=f"key {n}"))["id"] for n in range(5)]

    found, cursor = [], {}
    while cursor is not None:
        page = (await api.get(KEYS, params={"limit": limit} | cursor)).json()
        found += [key["id"] for key in page["keys"]]
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else None

    assert found[:5] == made[::-1]
    assert len(found) == 6  # the admin's own


@pytest.mark.parametrize(("query", "field"), [("cursor=x", "cursor"), ("limit=0", "limit"), ("limit=201", "limit")])
async def test_a_bad_page_is_400_naming_the_field(api, query, field):
    answer = await api.get(f"{KEYS}?{query}")

    assert (answer.status_code, answer.json()["field"]) == (400, field)


async def test_a_key_from_before_prefixes_is_shown_without_one(api, stored):
    """As code of the release before writes it."""
    await stored.run(
        "INSERT INTO api_keys (id, name, key_hash, scopes, wallets) VALUES ($1, 'old', 'x', '{jobs}', NULL)",
        key_id := uuid4(),
    )

    shown = (await api.get(f"{KEYS}/{key_id}")).json()

    assert (shown["prefix"], shown["test"]) == (None, False)


# Ended ----------------------------------------------------------------------------------------------


async def test_a_revoked_key_is_refused_at_once_in_every_process(api, open_api):
    made = await make(api)
    key = with_key(made["key"])
    async with open_api() as another:
        assert (await another.get(PRICES, headers=key)).status_code == 200

        answer = await api.delete(f"{KEYS}/{made['id']}")

        assert answer.status_code == 204
        assert (await another.get(PRICES, headers=key)).status_code == 401
        assert (await api.get(PRICES, headers=key)).status_code == 401


async def test_revoking_again_changes_nothing(api):
    made = await make(api)
    await api.delete(f"{KEYS}/{made['id']}")
    first = (await api.get(f"{KEYS}/{made['id']}")).json()

    again = await api.delete(f"{KEYS}/{made['id']}")

    assert again.status_code == 204
    assert first["revoked_at"] is not None
    assert (await api.get(f"{KEYS}/{made['id']}")).json() == first


@pytest.mark.parametrize(("key_id", "status"), [(str(UUID(int=1)), 404), ("x", 400)])
async def test_a_key_that_is_not_there_cannot_be_shown_or_revoked(api, key_id, status):
    assert (await api.get(f"{KEYS}/{key_id}")).status_code == status
    assert (await api.delete(f"{KEYS}/{key_id}")).status_code == status


async def test_a_key_cannot_revoke_itself(api, admin):
    answer = await api.delete(f"{KEYS}/{admin[0].id}")

    assert answer.status_code == 403
    assert (await api.get(KEYS)).status_code == 200


async def test_a_key_ends_when_it_was_said_to(api, stored):
    made = await make(api, expires_at=(datetime.now(UTC) + timedelta(days=1)).isoformat())
    key = with_key(made["key"])
    assert (await api.get(PRICES, headers=key)).status_code == 200

    await stored.run("UPDATE api_keys SET expires_at = now() WHERE id = $1", UUID(made["id"]))

    assert (await api.get(PRICES, headers=key)).status_code == 401


async def test_an_ended_key_and_one_that_never_was_are_answered_alike(api):
    made = await make(api)
    await api.delete(f"{KEYS}/{made['id']}")

    answers = [
        await api.get(PRICES, headers=with_key(key))
        for key in (made["key"], "rg_live_" + "0" * 64, "rg_live_x", b"\xe9")
    ]

    assert len({(answer.status_code, answer.text) for answer in answers}) == 1


# What scopes mean -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "statuses"),
    [(auth.READ, (200, 403, 403)), (auth.JOBS, (200, 202, 403)), (auth.ADMIN, (200, 202, 200))],
)
async def test_each_scope_includes_the_lesser(open_api, bearer, fund, scope, statuses):
    await fund()
    _, key = await bearer(scope)
    job = {"wallet_address": "wallet", "image_urls": ["https://images.example/cat.png"]}

    async with open_api() as api:
        read = await api.get(PRICES, headers=key)
        create = await api.post("/api/video/generate", json=job, headers=key)
        operate = await api.get(KEYS, headers=key)

    assert (read.status_code, create.status_code, operate.status_code) == statuses


async def test_where_nobody_is_asked_nobody_is_an_admin(open_api):
    async with open_api(auth_mode="open") as api:
        assert (await api.get(PRICES)).status_code == 200
        assert (await api.get(KEYS)).status_code == 403


# When it was used -----------------------------------------------------------------------------------


async def test_the_time_of_use_is_kept_to_within_a_minute(api, stored):
    made = await make(api)
    key = with_key(made["key"])
    used = "SELECT last_used_at FROM api_keys WHERE id = $1"
    await api.get(PRICES, headers=key)
    first = await stored.value(used, UUID(made["id"]))

    await api.get(PRICES, headers=key)
    again = await stored.value(used, UUID(made["id"]))
    await stored.run("UPDATE api_keys SET last_used_at = now() - interval '61 s' WHERE id = $1", UUID(made["id"]))
    await api.get(PRICES, headers=key)

    assert first is not None
    assert again == first
    assert await stored.value(used, UUID(made["id"])) > first


async def test_nobody_waits_to_note_the_time_of_use(api, db):
    made = await make(api)
    async with db.transaction() as tx:
        await tx.execute("SELECT FROM api_keys WHERE id = $1 FOR UPDATE", UUID(made["id"]))

        answer = await asyncio.wait_for(api.get(PRICES, headers=with_key(made["key"])), 3)

    assert answer.status_code == 200
