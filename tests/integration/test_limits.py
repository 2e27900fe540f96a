"""How much may be asked: by a key, by a wallet, by everybody, the same through every replica."""

import asyncio
import re
from collections import Counter
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from api_client import api_settings, opened
from prometheus_client import REGISTRY

from reelgate_api.accepting import repository
from reelgate_api.limits import repository as limits
from reelgate_common import auth, keys
from reelgate_common.domain.job import JobStatus

GENERATE = "/api/video/generate"
BODY = {"wallet_address": "wallet", "prompt": "A cat", "image_urls": ["https://images.example/cat.png"]}


@pytest.fixture
def open_api(database_url, broker):
    """A replica of the API with these limits."""
    return lambda **overrides: opened(api_settings(database_url, broker, **overrides))


@pytest.fixture
def make_key(cast):
    async def make(name="tests"):
        _, key = await cast(keys.create_key, name, scopes=(auth.JOBS,), wallets=None)
        return {"Authorization": f"Bearer {key}"}

    return make


@pytest.fixture
def pass_time(stored):
    """Let the limits believe that so many seconds went by."""

    async def run(seconds):
        await stored.run("UPDATE rate_limits SET full_at = full_at - $1::interval", timedelta(seconds=seconds))

    return run


def ask(api, wallet="wallet", **more):
    return api.post(GENERATE, json=BODY | {"wallet_address": wallet}, **more)


def assert_refused(answer, status, code):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code
    assert int(answer.headers["retry-after"]) > 0


# Requests a minute ----------------------------------------------------------------------------------


async def test_a_burst_through_two_replicas_lets_exactly_the_limit_pass(open_api, fund, stored):
    await fund(amount=1000)

    async with open_api(rate_limit_per_wallet=4) as one, open_api(rate_limit_per_wallet=4) as two:
        answers = await asyncio.gather(*(ask(api) for api in [one, two] * 100))

    assert Counter(answer.status_code for answer in answers) == {202: 4, 429: 196}
    assert await stored.count("video_jobs") == 4
    assert await stored.balance() == 1000 - 4 * 4


async def test_a_burst_of_a_key_over_many_wallets_lets_exactly_the_limit_pass(open_api, make_key, fund):
    key = await make_key()
    for n in range(20):
        await fund(f"w{n}")

    async with open_api(auth_mode="required", rate_limit_per_key=5, rate_limit_per_wallet=3) as api:
        answers = await asyncio.gather(*(ask(api, f"w{n % 20}", headers=key) for n in range(200)))

    assert Counter(answer.status_code for answer in answers) == {202: 5, 429: 195}


async def test_a_refused_request_stores_nothing_and_charges_nothing(open_api, fund, stored):
    await fund()
    tables = ("video_jobs", "idempotency_keys", "job_events", "credit_transactions")

    async with open_api(rate_limit_per_wallet=1) as api:
        await ask(api)
        before = [await stored.count(table) for table in tables], await stored.balance()
        refused = await ask(api, headers={"Idempotency-Key": "k"})

    assert_refused(refused, 429, "rate_limited")
    assert ([await stored.count(table) for table in tables], await stored.balance()) == before


async def test_what_is_left_is_told_with_each_answer(open_api, make_key, fund):
    await fund()
    limits_set = {"rate_limit_per_key": 3, "rate_limit_per_wallet": 2}

    async with open_api(auth_mode="required", **limits_set) as api:
        key = await make_key()
        answers = [await ask(api, headers=key) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"key";q=3;w=60, "wallet";q=2;w=60'}
    left = [re.sub(r";t=\d+", "", answer.headers["ratelimit"]) for answer in answers]
    assert left == ['"key";r=2, "wallet";r=1', '"key";r=1, "wallet";r=0', '"key";r=1, "wallet";r=0']
    assert answers[-1].json()["violated-policies"] == ["wallet"]
    assert "2 a minute for this wallet" in answers[-1].json()["error"]
    assert answers[-1].headers["ratelimit"].endswith(f";t={answers[-1].headers['retry-after']}")


async def test_what_is_left_is_told_to_each_of_those_that_come_together(open_api, fund):
    await fund(amount=1000)

    async with open_api(rate_limit_per_wallet=50) as api:
        answers = await asyncio.gather(*(ask(api) for _ in range(40)))

    left = [int(re.search(r"r=(\d+)", answer.headers["ratelimit"])[1]) for answer in answers]
    assert sorted(left, reverse=True) == list(range(49, 9, -1))


async def test_retry_after_is_true(open_api, fund, pass_time):
    """Much earlier it is refused again, then it passes: once, since requests come back one by one."""
    await fund()

    async with open_api(rate_limit_per_wallet=2) as api:
        answers = [await ask(api) for _ in range(3)]
        wait = int(answers[-1].headers["retry-after"])
        await pass_time(wait / 2)
        early = await ask(api)
        await pass_time(wait / 2)
        due, again = await ask(api), await ask(api)

    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert 15 < wait <= 30
    assert [early.status_code, due.status_code, again.status_code] == [429, 202, 429]
    assert int(early.headers["retry-after"]) <= wait / 2 + 1


async def test_a_minute_gives_all_of_it_back(open_api, fund, pass_time):
    await fund()

    async with open_api(rate_limit_per_wallet=3) as api:
        first = [(await ask(api)).status_code for _ in range(4)]
        await pass_time(60)
        second = [(await ask(api)).status_code for _ in range(4)]

    assert first == second == [202, 202, 202, 429]


@pytest.mark.parametrize("per_minute", [1, 7, 11, 59, 997])
async def test_a_limit_is_exact_whether_or_not_it_divides_a_minute(db, per_minute):
    async with db.connection() as connection:
        taken = [(await limits.take(connection, {"wallet:w": per_minute}))[0] for _ in range(per_minute)]
        # Whatever came back meanwhile is used up, so that the clock has no part in it.
        await connection.execute("UPDATE rate_limits SET full_at = now() + interval '1 minute'")
        [refused] = await limits.take(connection, {"wallet:w": per_minute})

    assert all(one.counted for one in taken)
    assert taken[0].remaining(per_minute) == per_minute - 1
    assert not refused.counted
    assert refused.remaining(per_minute) == 0


async def test_what_the_wallet_refuses_does_not_count_against_the_key(open_api, make_key, fund):
    """Or else one wallet of a shop could stop all the others."""
    await fund("a")
    await fund("b")

    async with open_api(auth_mode="required", rate_limit_per_key=3, rate_limit_per_wallet=1) as api:
        key = await make_key()
        asked = [(await ask(api, "a", headers=key)).status_code for _ in range(6)]
        other = await ask(api, "b", headers=key)

    assert asked == [202, 429, 429, 429, 429, 429]
    assert other.status_code == 202
    assert '"key";r=1' in other.headers["ratelimit"]


@pytest.fixture
def meet(db, stored, eventually):
    """Take from some limits while another request, which came just before, takes from its own, and then from others."""

    async def take(asked):
        async with db.connection() as connection:
            return await limits.take(connection, asked)

    async def run(before, asked, *, then=None):
        async with db.transaction() as tx:
            await limits.take(tx, before)
            taking = asyncio.create_task(take(asked))
            await eventually(stored.waiting)
            await limits.take(tx, then or {})
        return await taking

    return run


async def test_of_two_that_open_a_limit_of_one_at_once_one_is_refused_for_as_long_as_is_true(meet):
    [second] = await meet({"wallet:w": 1}, {"wallet:w": 1})

    assert not second.counted
    assert (second.remaining(1), second.next_in(1)) == (0, timedelta(minutes=1))


async def test_of_two_that_open_a_limit_of_three_at_once_both_are_counted(meet):
    [second] = await meet({"wallet:w": 3}, {"wallet:w": 3})

    assert second.counted
    assert second.remaining(3) == 1


async def test_what_the_wallet_refuses_at_the_last_moment_does_not_count_against_the_key_either(meet, cast, pass_time):
    both = {"key:k": 5, "wallet:w": 1}
    await cast(limits.take, both)
    await pass_time(60)

    refused = await meet({"wallet:w": 1}, both)
    [key] = await cast(limits.take, {"key:k": 5})

    assert [one.counted for one in refused] == [False, False]
    assert key.remaining(5) == 4


async def test_two_that_share_two_limits_do_not_deadlock(meet):
    taken = await meet({"key:k": 9}, {"wallet:w": 9, "key:k": 9}, then={"wallet:w": 9})

    assert [one.remaining(9) for one in taken] == [7, 7]


async def test_keys_and_wallets_are_counted_apart(open_api, make_key, fund):
    await fund("a")
    await fund("b")

    async with open_api(auth_mode="required", rate_limit_per_key=1) as api:
        keys = [await make_key("one"), await make_key("two")]
        by_key = [(await ask(api, wallet, headers=key)).status_code for key in keys for wallet in ("a", "b")]
    async with open_api(rate_limit_per_wallet=1) as api:
        by_wallet = [(await ask(api, wallet)).status_code for wallet in ("a", "b", "a")]

    assert by_key == [202, 429, 202, 429]
    assert by_wallet == [202, 202, 429]


async def test_a_client_that_lost_its_answer_learns_it_whatever_the_limits(open_api, fund, eventually):
    await fund()
    key = {"Idempotency-Key": "k"}

    async with open_api(rate_limit_per_wallet=1) as api:
        made = await ask(api, headers=key)
        by_rate = await ask(api, headers=key)
        refused = await ask(api, headers={"Idempotency-Key": "another"})
        mismatch = await api.post(GENERATE, json=BODY | {"prompt": "A dog"}, headers=key)
    async with open_api(max_queued_per_wallet=1) as api:
        by_wallets_queue = await ask(api, headers=key)
    async with open_api(max_queued=1) as api:
        await eventually(lambda: full(api))
        by_queue = await ask(api, headers=key)

    assert made.status_code == 202
    for again in (by_rate, by_wallets_queue, by_queue):
        assert again.status_code == 202
        assert again.json()["job_id"] == made.json()["job_id"]
        assert again.headers["idempotent-replayed"] == "true"
    assert_refused(refused, 429, "rate_limited")
    assert mismatch.status_code == 422


async def test_reads_and_cancels_are_not_limited(open_api, fund):
    await fund()

    async with open_api(rate_limit_per_wallet=1) as api:
        job_id = (await ask(api)).json()["job_id"]
        reads = [await api.get(f"/api/video/jobs/{job_id}") for _ in range(5)]
        canceled = await api.post(f"/api/video/jobs/{job_id}/cancel")

    assert {answer.status_code for answer in [*reads, canceled]} == {200}
    assert "ratelimit" not in reads[0].headers


async def test_extensions_count_like_any_job(open_api, make_job):
    job = await make_job(JobStatus.COMPLETED)

    async with open_api(rate_limit_per_wallet=1) as api:
        await ask(api)
        refused = await api.post(f"/api/video/jobs/{job.id}/extend", json={"prompt": "It waves"})

    assert_refused(refused, 429, "rate_limited")


async def test_without_limits_nothing_is_asked_or_told(open_api, fund, stored):
    await fund()
    await stored.run("ALTER TABLE rate_limits RENAME TO rate_limits_away")
    try:
        async with open_api() as api:
            answer = await ask(api)
    finally:
        await stored.run("ALTER TABLE rate_limits_away RENAME TO rate_limits")

    assert answer.status_code == 202
    assert not [name for name in answer.headers if name.startswith("ratelimit")]


# Jobs that wait -------------------------------------------------------------------------------------


async def test_a_burst_leaves_exactly_as_many_jobs_of_a_wallet_waiting_as_may_wait(open_api, fund, stored):
    await fund(amount=1000)

    async with open_api(max_queued_per_wallet=7) as one, open_api(max_queued_per_wallet=7) as two:
        answers = await asyncio.gather(*(ask(api) for api in [one, two] * 60))

    assert Counter(answer.status_code for answer in answers) == {202: 7, 429: 113}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert_refused(refused, 429, "too_many_queued")
    assert await stored.count("video_jobs") == 7
    assert await stored.balance() == 1000 - 7 * 4
    assert await stored.books_balance()


async def test_only_jobs_of_the_wallet_that_wait_are_counted(open_api, make_job, fund):
    for status in JobStatus:
        await make_job(status)
    await make_job(wallet_address="other")
    await make_job(wallet_address="other")

    async with open_api(max_queued_per_wallet=2) as api:
        answers = [await ask(api), await ask(api)]

    assert [answer.status_code for answer in answers] == [202, 429]


async def test_of_a_batch_the_first_are_taken_while_there_is_room(db, fund, make_new, stored):
    await fund("a")
    await fund("b")
    new = [make_new(wallet_address=wallet, key=f"{n}") for n, wallet in enumerate("aabaab")]

    async with db.connection() as connection:
        results = await repository.accept(connection, new, expires_in=timedelta(days=1), max_queued=2)

    assert [one.made for one in results] == [True, True, True, False, False, True]
    assert [one.has_room for one in results] == [True, True, True, False, False, True]
    assert await stored.count("idempotency_keys") == 4
    assert await stored.books_balance()


async def test_a_short_balance_is_said_before_a_full_queue(open_api, fund):
    await fund(amount=4)

    async with open_api(max_queued_per_wallet=1) as api:
        answers = [await ask(api), await ask(api)]

    assert [answer.status_code for answer in answers] == [202, 402]


async def full(api, wallet="nobody"):
    return (await ask(api, wallet)).json()["code"] == "queue_full"


async def test_the_brake_stops_everybody_and_lets_go_when_jobs_were_sent(open_api, make_job, stored, fund, eventually):
    counted = REGISTRY.get_sample_value("reelgate_queue_full_total")
    await fund("fresh")
    for wallet in ("a", "b"):
        await make_job(wallet_address=wallet)

    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(open_api(max_queued=2)) for _ in range(2)]
        for api in replicas:
            await eventually(lambda api=api: full(api))
        refused = await ask(replicas[0], "fresh")
        count = await stored.count("video_jobs")
        for job_id in [row["id"] for row in await stored.rows("SELECT id FROM video_jobs")]:
            await stored.run(
                """
                UPDATE video_jobs SET status = 'canceled', failure_code = 'canceled', completed_at = now(),
                       next_attempt_at = NULL, deadline_at = NULL
                 WHERE id = $1
                """,
                job_id,
            )
        for api in replicas:
            await eventually(lambda api=api: full_no_more(api))

    assert_refused(refused, 503, "queue_full")
    assert count == 2
    # By the objective of accepting it is no failure: as many are counted as were refused so.
    assert REGISTRY.get_sample_value("reelgate_queue_full_total") - counted >= 3


async def full_no_more(api):
    return not await full(api)
