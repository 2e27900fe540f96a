"""Idempotency-Key: a request that is repeated, at once or later, anywhere, has its effect once."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import asyncpg
import httpx
import pytest
from api_client import api_settings, calling, opened

from reelgate_api.accepting.handlers import Acceptor
from reelgate_api.app import create_app
from reelgate_api.idempotency.in_flight import InFlight
from reelgate_common import auth, keys
from reelgate_common.domain.job import JobStatus

GENERATE = "/api/video/generate"
HOOKS = "/api/webhooks"
BODY = {"wallet_address": "wallet", "prompt": "A cat", "image_urls": ["https://images.example/cat.png"]}
HOOK = {"url": "https://example.com/hook"}
KEY = {"Idempotency-Key": "k"}


@pytest.fixture
def open_api(database_url, broker):
    return lambda **overrides: opened(api_settings(database_url, broker, **overrides))


@pytest.fixture
async def api(open_api):
    async with open_api() as client:
        yield client


@pytest.fixture
async def hurried(database_url, broker):
    """An API where a repeat is told at once that the first is under way."""
    app = create_app(api_settings(database_url, broker))
    async with app.router.lifespan_context(app) as state:
        known = state["parts"]
        hurried = Acceptor(known.db, known.relay, known.settings, known.limiter, in_flight=InFlight(patience_seconds=0))
        parts = replace(known, acceptor=hurried)
        async with calling(app, parts) as client:
            yield client


@pytest.fixture
async def keyed(open_api, cast):
    """A client with an API key, to whom webhooks belong."""
    _, key = await cast(keys.create_key, "tests", scopes=(auth.JOBS,), wallets=None)
    async with open_api(auth_mode="required", webhook_allow_private=True) as client:
        client.headers["Authorization"] = f"Bearer {key}"
        yield client


@pytest.fixture
async def held(database_url, eventually):
    """Hold a wallet, so that a request for it stands still in the database, and tell when one does."""

    @asynccontextmanager
    async def hold():
        holder = await asyncpg.connect(database_url)

        async def stands():
            return await holder.fetchval(
                "SELECT count(*) = 1 FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )

        try:
            async with holder.transaction():
                await holder.execute("SELECT FROM credits FOR UPDATE")
                yield lambda: eventually(stands)
        finally:
            await holder.close()

    return hold


def told(answer):
    return answer.status_code, answer.json().get("code")


def is_replay(answer):
    return answer.headers.get("idempotent-replayed") == "true"


# Jobs -----------------------------------------------------------------------------------------------


async def test_a_thousand_equal_requests_at_once_to_two_replicas_make_one_job(open_api, fund, stored, monkeypatch):
    # A thousand callers in one process with two replicas: how long that takes is not what this is about.
    monkeypatch.setitem(InFlight.__init__.__kwdefaults__, "patience_seconds", 60)
    await fund()
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(open_api()) for _ in range(2)]
        asked = (replicas[n % 2].post(GENERATE, json=BODY, headers=KEY, timeout=60) for n in range(1000))
        answers = await asyncio.gather(*asked)

    assert Counter(answer.status_code for answer in answers) == {202: 1000}
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert Counter(map(is_replay, answers)) == {True: 999, False: 1}
    assert await stored.count("video_jobs") == 1
    assert await stored.balance() == 96


async def test_a_repeat_waits_for_the_first_and_gets_its_job(api, fund, held):
    await fund()
    async with held() as one_stands:
        asking = [asyncio.create_task(api.post(GENERATE, json=BODY, headers=KEY)) for _ in range(5)]
        await one_stands()
    answers = await asyncio.gather(*asking)

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    assert sorted(map(is_replay, answers)) == [False, True, True, True, True]


async def test_after_a_long_wait_a_repeat_is_told_to_come_again(hurried, fund, held, stored):
    await fund()
    async with held() as one_stands:
        asking = asyncio.create_task(hurried.post(GENERATE, json=BODY, headers=KEY))
        await one_stands()
        early = await hurried.post(GENERATE, json=BODY, headers=KEY)
    first = await asking
    again = await hurried.post(GENERATE, json=BODY, headers=KEY)

    assert told(early) == (409, "idempotency_in_flight")
    assert early.headers["retry-after"] == "2"
    assert (first.status_code, again.status_code) == (202, 202)
    assert (is_replay(again), again.json()) == (True, first.json())
    assert await stored.count("video_jobs") == 1


async def test_another_request_with_the_key_is_refused_once_the_first_is_known(api, fund, held):
    await fund()
    async with held() as one_stands:
        asking = asyncio.create_task(api.post(GENERATE, json=BODY, headers=KEY))
        await one_stands()
        other = asyncio.create_task(api.post(GENERATE, json=BODY | {"prompt": "A dog"}, headers=KEY))

    assert (await asking).status_code == 202
    assert told(await other) == (422, "idempotency_mismatch")


async def test_a_request_held_up_elsewhere_is_409_and_leaves_nothing(api, fund, database_url, stored):
    """As by a process that stands still inside its transaction."""
    await fund()
    holder = await asyncpg.connect(database_url)
    try:
        await holder.execute(
            "BEGIN; INSERT INTO idempotency_keys (owner, key, request_hash, job_id)"
            " VALUES ('wallet:wallet', 'k', '', gen_random_uuid())"
        )
        held_up = await api.post(GENERATE, json=BODY, headers=KEY)
    finally:
        await holder.close()

    assert told(held_up) == (409, "idempotency_in_flight")
    assert await stored.balance() == 100
    again = await api.post(GENERATE, json=BODY, headers=KEY)
    assert (again.status_code, is_replay(again)) == (202, False)


async def test_a_request_that_was_refused_does_not_use_up_its_key(api, fund, stored):
    await fund(amount=3)
    refused = await asyncio.gather(*(api.post(GENERATE, json=BODY, headers=KEY) for _ in range(5)))
    await fund(amount=97)
    answer = await api.post(GENERATE, json=BODY | {"prompt": "A dog"}, headers=KEY)

    assert {told(one) for one in refused} == {(402, "insufficient_credits")}
    assert (answer.status_code, is_replay(answer)) == (202, False)
    assert await stored.balance() == 96


async def test_keys_of_two_owners_do_not_meet(api, fund):
    await fund("a")
    await fund("b")
    answers = await asyncio.gather(
        *(api.post(GENERATE, json=BODY | {"wallet_address": wallet}, headers=KEY) for wallet in ("a", "b"))
    )

    assert [is_replay(answer) for answer in answers] == [False, False]


@pytest.mark.parametrize("action", ["extend", "upgrade"])
async def test_what_is_done_with_a_video_is_done_once(api, fund, make_job, stored, action):
    source = await make_job(JobStatus.COMPLETED)
    body = {"extend": {"prompt": "On"}, "upgrade": {"resolution": "1080p"}}[action]
    path = f"/api/video/jobs/{source.id}/{action}"
    answers = await asyncio.gather(*(api.post(path, json=body, headers=KEY) for _ in range(20)))

    assert len({answer.text for answer in answers}) == 1
    assert Counter(map(is_replay, answers)) == {True: 19, False: 1}
    assert await stored.count("video_jobs") == 2


# What is not a job ----------------------------------------------------------------------------------


async def test_a_webhook_is_made_once_and_its_secret_told_again(keyed):
    answers = await asyncio.gather(*(keyed.post(HOOKS, json=HOOK, headers=KEY) for _ in range(8)))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}
    assert Counter(map(is_replay, answers)) == {True: 7, False: 1}
    assert len((await keyed.get(HOOKS)).json()["webhooks"]) == 1


async def test_a_body_is_the_same_however_it_is_written(keyed):
    bodies = b'{"url": "https://a.example", "events": null}', b'{"events":null,"url":"https://a.example"}'
    headers = KEY | {"Content-Type": "application/json"}
    first, again = [await keyed.post(HOOKS, content=body, headers=headers) for body in bodies]

    assert first.status_code == 201
    assert (is_replay(again), again.json()) == (True, first.json())


async def test_a_key_stands_for_one_request_only(keyed, fund):
    await fund()
    made = (await keyed.post(HOOKS, json=HOOK, headers=KEY)).json()
    job = await keyed.post(GENERATE, json=BODY, headers={"Idempotency-Key": "job"})
    misused = [
        await keyed.post(HOOKS, json={"url": "https://example.com/other"}, headers=KEY),
        await keyed.post(f"{HOOKS}/{made['id']}/test", headers=KEY),
        await keyed.post(GENERATE, json=BODY, headers=KEY),
        await keyed.post(HOOKS, json=HOOK, headers={"Idempotency-Key": "job"}),
    ]

    assert job.status_code == 202
    assert {told(answer) for answer in misused} == {(422, "idempotency_mismatch")}
    assert len((await keyed.get(HOOKS)).json()["webhooks"]) == 1


async def test_without_a_key_two_requests_are_two(keyed):
    made = [(await keyed.post(HOOKS, json=HOOK)).json()["id"] for _ in range(2)]

    assert len(set(made)) == 2


async def test_a_refused_webhook_does_not_use_up_its_key(keyed):
    refused = await keyed.post(HOOKS, json={"url": "no URL"}, headers=KEY)
    made = await keyed.post(HOOKS, json=HOOK, headers=KEY)

    assert (refused.status_code, made.status_code, is_replay(made)) == (400, 201, False)


async def test_a_secret_is_rotated_once_so_the_one_before_it_stays_valid(keyed):
    made = (await keyed.post(HOOKS, json=HOOK)).json()
    path = f"{HOOKS}/{made['id']}/rotate-secret"
    rotated, again = [await keyed.post(path, headers=KEY) for _ in range(2)]
    later = await keyed.post(path, headers={"Idempotency-Key": "next"})

    assert (is_replay(again), again.json()) == (True, rotated.json())
    assert len({made["secret"], rotated.json()["secret"], later.json()["secret"]}) == 3


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[" * 60_000], ids=["none", "text", "deep"])
async def test_a_body_that_is_not_read_may_be_anything(keyed, body):
    made = (await keyed.post(HOOKS, json=HOOK)).json()
    path = f"{HOOKS}/{made['id']}/test"
    answers = [await keyed.post(path, content=body, headers=KEY) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()


async def test_a_grant_that_is_under_way_elsewhere_is_409(open_api, cast, database_url, stored):
    _, key = await cast(keys.create_key, "admin", scopes=(auth.JOBS, auth.ADMIN), wallets=None)
    holder = await asyncpg.connect(database_url)
    try:
        async with open_api(auth_mode="required") as admin, holder.transaction():
            await holder.execute("INSERT INTO credits (wallet_address) VALUES ('wallet')")
            admin.headers.update({"Authorization": f"Bearer {key}"} | KEY)
            answer = await admin.post("/api/wallets/wallet/grants", json={"amount": 5})
    finally:
        await holder.close()

    assert told(answer) == (409, "idempotency_in_flight")
    assert await stored.count("credit_transactions") == 0


async def test_the_first_that_is_cut_off_leaves_its_place_to_the_next(api, fund, held):
    await fund()
    async with held() as one_stands:
        first = asyncio.create_task(api.post(GENERATE, json=BODY, headers=KEY))
        await one_stands()
        second = asyncio.create_task(api.post(GENERATE, json=BODY, headers=KEY))
        first.cancel()
        await asyncio.wait([first])
    answer = await second

    assert isinstance(answer, httpx.Response)
    assert answer.status_code == 202
