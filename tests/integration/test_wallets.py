"""Wallets as callers and admins meet them: balances, ledgers page by page, grants, adjustments, prices."""

import asyncio
from collections import Counter
from uuid import UUID

import pytest
from api_client import api_settings, opened

from reelgate_api.settings import Settings
from reelgate_common import audit, auth, keys
from reelgate_common.domain import pricing
from reelgate_common.domain.job import Operation

GRANTS = "/api/wallets/wallet/grants"
ADJUSTMENTS = "/api/wallets/wallet/adjustments"
LEDGER = "/api/wallets/wallet/ledger"


@pytest.fixture
def open_api(database_url, broker):
    return lambda **overrides: opened(api_settings(database_url, broker, **{"auth_mode": "required"} | overrides))


@pytest.fixture
def make_key(cast):
    async def make(*scopes, wallets=None):
        _, key = await cast(keys.create_key, "tests", scopes=scopes, wallets=wallets)
        return {"Authorization": f"Bearer {key}"}

    return make


@pytest.fixture
async def api(open_api, make_key):
    """The API as an admin calls it."""
    async with open_api() as client:
        client.headers.update(await make_key(auth.JOBS, auth.ADMIN))
        yield client


def assert_problem(answer, status, code):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code
    return answer.json()


@pytest.fixture
async def assert_books_balance(db):
    """After each test here: every balance is the sum of its ledger."""
    yield
    assert await audit.verify(db) == []


pytestmark = pytest.mark.usefixtures("assert_books_balance")


# Grants ---------------------------------------------------------------------------------------------


async def test_a_grant_opens_a_wallet_never_seen(api, stored):
    answer = await api.post(GRANTS, json={"amount": 100, "reference": "invoice 1", "description": "Top-up"})

    assert answer.status_code == 201
    entry = answer.json()
    assert (
        entry.items()
        >= {
            "wallet_address": "wallet",
            "transaction_type": "grant",
            "amount": 100,
            "reference": "invoice 1",
            "description": "Top-up",
        }.items()
    )
    assert await stored.balance() == 100
    [shown] = (await api.get(LEDGER)).json()["entries"]
    assert shown == {name: entry.get(name) for name in shown}


async def test_a_grant_adds_to_what_is_there(api, fund, stored):
    await fund(amount=7)

    await api.post(GRANTS, json={"amount": 5, "reference": "r"})

    assert await stored.balance() == 12


async def test_a_grant_gives_what_it_says_and_no_welcome_credits(open_api, make_key, stored):
    key = await make_key(auth.ADMIN)

    async with open_api(signup_credits=40) as api:
        await api.post(GRANTS, json={"amount": 5, "reference": "r"}, headers=key)

    assert await stored.balance() == 5


@pytest.mark.parametrize("path", [GRANTS, ADJUSTMENTS])
@pytest.mark.parametrize(
    ("more", "headers"),
    [({"reference": "r"}, {}), ({}, {"Idempotency-Key": "k"}), ({"reference": "r"}, {"Idempotency-Key": "k"})],
)
async def test_the_same_reference_again_moves_nothing_and_answers_the_same(api, fund, stored, path, more, headers):
    await fund()
    body = {"amount": 5, "description": "Top-up"} | more

    first, again = [await api.post(path, json=body, headers=headers) for _ in range(2)]

    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert await stored.balance() == 105


async def test_of_many_at_once_with_one_reference_one_counts(api, stored):
    answers = await asyncio.gather(*(api.post(GRANTS, json={"amount": 5, "reference": "r"}) for _ in range(20)))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert Counter("idempotent-replayed" in answer.headers for answer in answers) == {True: 19, False: 1}
    assert await stored.balance() == 5


@pytest.mark.parametrize(("path", "amount"), [(GRANTS, 6), (ADJUSTMENTS, 5), ("/api/wallets/other/grants", 5)], ids=str)
async def test_a_reference_that_stands_for_another_movement_is_refused(api, stored, path, amount):
    await api.post(GRANTS, json={"amount": 5, "reference": "r"})

    answer = await api.post(path, json={"amount": amount, "reference": "r"})

    assert_problem(answer, 422, "idempotency_mismatch")
    assert await stored.rows("SELECT wallet_address, credits FROM credits") == [
        {"wallet_address": "wallet", "credits": 5}
    ]


async def test_idempotency_keys_of_two_admins_do_not_meet(api, make_key, stored):
    other = await make_key(auth.ADMIN)
    key = {"Idempotency-Key": "k"}

    await api.post(GRANTS, json={"amount": 5}, headers=key)
    await api.post(GRANTS, json={"amount": 5}, headers=other | key)

    assert await stored.balance() == 10


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"amount": 0, "reference": "r"}, "amount"),
        ({"amount": -1, "reference": "r"}, "amount"),
        ({"amount": 1_000_000_001, "reference": "r"}, "amount"),
        ({"amount": 10**30, "reference": "r"}, "amount"),
        ({"amount": 1.5, "reference": "r"}, "amount"),
        ({"amount": "5", "reference": "r"}, "amount"),
        ({"amount": True, "reference": "r"}, "amount"),
        ({"reference": "r"}, "amount"),
        ({"amount": 5}, "reference"),
        ({"amount": 5, "reference": ""}, "reference"),
        ({"amount": 5, "reference": "x" * 256}, "reference"),
        ({"amount": 5, "reference": "a\x00b"}, "reference"),
        ({"amount": 5, "refrence": "r"}, "refrence"),
        ({"amount": 5, "reference": "r", "description": 7}, "description"),
    ],
    ids=str,
)
async def test_a_bad_grant_is_400_naming_the_field(api, stored, body, field):
    problem = assert_problem(await api.post(GRANTS, json=body), 400, "invalid_input")

    assert problem["field"] == field
    assert await stored.count("credits") == 0


@pytest.mark.parametrize("wallet", ["x" * 129, "a%20b", "%C3%A9", "a%00b"])
async def test_a_wallet_that_no_job_could_name_is_not_opened(api, stored, wallet):
    answer = await api.post(f"/api/wallets/{wallet}/grants", json={"amount": 5, "reference": "r"})

    assert assert_problem(answer, 400, "invalid_input")["field"] == "wallet_address"
    assert await stored.count("credits") == 0


# Adjustments ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", [5, -5, -100])
async def test_an_adjustment_corrects_a_balance_up_or_down(api, fund, stored, amount):
    await fund(amount=100)

    answer = await api.post(ADJUSTMENTS, json={"amount": amount, "reference": "r"})

    assert answer.status_code == 201
    assert answer.json()["transaction_type"] == "adjustment"
    assert await stored.balance() == 100 + amount


async def test_an_adjustment_below_zero_changes_nothing(api, fund, stored):
    await fund(amount=100)

    answer = await api.post(ADJUSTMENTS, json={"amount": -101, "reference": "r"})

    assert assert_problem(answer, 409, "balance_too_low")["balance"] == 100
    assert (await stored.balance(), await stored.count("credit_transactions")) == (100, 1)


async def test_adjustments_at_once_never_go_below_zero(api, fund, stored):
    await fund(amount=50)

    answers = await asyncio.gather(
        *(api.post(ADJUSTMENTS, json={"amount": -10, "reference": f"r{n}"}) for n in range(20))
    )

    assert Counter(answer.status_code for answer in answers) == {201: 5, 409: 15}
    assert await stored.balance() == 0


async def test_an_adjustment_opens_no_wallet(api, stored):
    answer = await api.post(ADJUSTMENTS, json={"amount": 5, "reference": "r"})

    assert_problem(answer, 404, "not_found")
    assert await stored.count("credits") == 0


async def test_an_adjustment_by_nothing_is_400(api, fund):
    await fund()

    problem = assert_problem(await api.post(ADJUSTMENTS, json={"amount": 0, "reference": "r"}), 400, "invalid_input")

    assert problem["error"] == "amount must not be 0"


# Who may --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [GRANTS, ADJUSTMENTS])
async def test_only_admins_move_credits(open_api, make_key, fund, stored, path):
    await fund()
    body = {"amount": 5, "reference": "r"}

    async with open_api() as api:
        nobody = await api.post(path, json=body)
        owner = await api.post(path, json=body, headers=await make_key(auth.JOBS, wallets=["wallet"]))
        bound = await api.post(path, json=body, headers=await make_key(auth.ADMIN, wallets=["wallet"]))
    async with open_api(auth_mode="open") as api:
        anyone = await api.post(path, json=body)

    assert_problem(nobody, 401, "unauthorized")
    assert_problem(owner, 403, "forbidden")
    assert_problem(bound, 403, "forbidden")
    assert_problem(anyone, 403, "forbidden")
    assert await stored.balance() == 100


# The ledger -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8])
async def test_pages_together_are_the_whole_ledger_newest_first(api, limit):
    for n in range(7):
        await api.post(GRANTS, json={"amount": n + 1, "reference": f"r{n}"})
    await api.post("/api/wallets/other/grants", json={"amount": 9, "reference": "other"})

    amounts, cursor, pages = [], {}, 0
    while cursor is not None:
        page = (await api.get(LEDGER, params={"limit": limit} | cursor)).json()
        amounts += [entry["amount"] for entry in page["entries"]]
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else None
        pages += 1

    assert amounts == [7, 6, 5, 4, 3, 2, 1]
    assert pages == -(-7 // limit)


async def test_what_comes_meanwhile_does_not_shift_the_pages(api):
    for n in range(4):
        await api.post(GRANTS, json={"amount": n + 1, "reference": f"r{n}"})

    first = (await api.get(LEDGER, params={"limit": 2})).json()
    await api.post(GRANTS, json={"amount": 9, "reference": "meanwhile"})
    second = (await api.get(LEDGER, params={"limit": 2, "cursor": first["next_cursor"]})).json()

    assert [entry["amount"] for entry in second["entries"]] == [2, 1]
    assert second["next_cursor"] is None


@pytest.mark.parametrize("cursor", ["", "x", "=", "é", "A" * 21, "A" * 22 + "=", "A" * 5000, str(UUID(int=1))])
async def test_a_cursor_nobody_gave_is_400(api, fund, cursor):
    await fund()

    problem = assert_problem(await api.get(LEDGER, params={"cursor": cursor}), 400, "invalid_input")

    assert problem["field"] == "cursor"


async def test_a_cursor_opens_nobody_elses_ledger(api, make_key):
    for n in range(2):
        await api.post(GRANTS, json={"amount": n + 1, "reference": f"r{n}"})
    cursor = (await api.get(LEDGER, params={"limit": 1})).json()["next_cursor"]

    answer = await api.get(LEDGER, params={"cursor": cursor}, headers=await make_key(auth.JOBS, wallets=["other"]))

    assert_problem(answer, 404, "not_found")


# Prices ---------------------------------------------------------------------------------------------


async def test_the_prices_shown_are_what_jobs_are_charged(open_api, make_key):
    key = await make_key(auth.JOBS, wallets=["wallet"])

    async with open_api() as api:
        shown = (await api.get("/api/prices", headers=key)).json()["prices"]
        nobody = await api.get("/api/prices")

    settings = Settings(database_url="x", amqp_url="x", kie_ai_api_key="x", public_base_url="http://localhost")
    charged = [
        pricing.price(
            settings.prices,
            Operation(price["operation"]),
            model=price["model"] or "veo3",
            resolution=price["resolution"] or "4k",
        )
        for price in shown
    ]
    assert [price["credits"] for price in shown] == charged
    assert {price["operation"] for price in shown} == set(Operation)
    assert shown[0].keys() == {"operation", "model", "resolution", "credits"}
    assert_problem(nobody, 401, "unauthorized")


async def test_what_has_no_price_is_not_listed(open_api):
    async with open_api(auth_mode="open", credits_per_video='{"veo3": {"1080p": 9}}', credits_per_upgrade={}) as api:
        shown = (await api.get("/api/prices")).json()["prices"]

    assert shown == [{"operation": "generate", "model": "veo3", "resolution": "1080p", "credits": 9}]
