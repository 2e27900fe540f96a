"""Retries that OpenAI's client sends by itself: they say only how many times it tried before."""

import asyncio
from datetime import timedelta
from uuid import UUID

import httpx
import openai
import pytest
from fault_proxy import FaultProxy, Toward
from yarl import URL

from reelgate_api.openai import repository
from reelgate_reconciler import repository as reconciler_repository

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")

PATH = "/v1/videos"
CAT = {"prompt": "A cat"}


@pytest.fixture
async def post(api_url, key, fund):
    """Send a request as the client would, by hand; the id of its video."""
    await fund()
    async with httpx.AsyncClient(base_url=api_url, trust_env=False, timeout=30) as http:

        async def send(retry=0, body=CAT, key=key, **headers):
            sent = {"Authorization": f"Bearer {key}", "x-stainless-retry-count": str(retry)}
            answer = await http.post(PATH, json=body, headers=sent | headers)
            assert answer.status_code == 200, answer.text
            return answer.json()["id"]

        yield send


async def test_a_retry_is_the_request_it_repeats(post, stored):
    first = await post()

    assert {await post(1), await post(2), await post(3)} == {first}
    assert await stored.balance() == 96


async def test_a_retry_says_that_it_is_one(post, api_url, key):
    await post()

    async with httpx.AsyncClient(base_url=api_url, trust_env=False) as http:
        answer = await http.post(
            PATH, json=CAT, headers={"Authorization": f"Bearer {key}", "x-stainless-retry-count": "1"}
        )

    assert answer.headers["idempotent-replayed"] == "true"


async def test_equal_requests_are_two_videos(post, stored):
    assert len({await post(), await post(), await post()}) == 3
    assert await stored.balance() == 88


async def test_a_retry_whose_original_never_came_makes_the_video(post, stored):
    made = await post(1)

    assert await post(2) == made
    assert await stored.balance() == 96


async def test_a_new_request_after_such_a_retry_is_a_new_video(post):
    assert await post(1) != await post(0)


async def test_a_retry_repeats_only_the_same_fields(post, stored):
    first = await post()

    others = [
        await post(1, body=CAT | {"seconds": "4"}),
        await post(1, body={"prompt": "A dog"}),
        await post(1, body=CAT | {"metadata": {"n": 1}}),
    ]

    assert len({first, *others}) == 4


async def test_what_is_left_out_equals_its_default(post):
    assert await post() == await post(1, body=CAT | {"seconds": "8", "size": "1280x720", "model": "veo3_fast"})


async def test_a_retry_repeats_only_requests_of_the_same_key(post, make_key):
    assert await post() != await post(1, key=await make_key())


async def test_a_retry_repeats_nothing_older_than_a_client_waits(post, stored):
    first = await post()
    await stored.run("UPDATE blind_requests SET seen_at = now() - interval '10 minutes'")
    within = await post(1)
    await stored.run("UPDATE blind_requests SET seen_at = now() - interval '12 minutes'")

    assert (within, await post(1) == first) == (first, False)


@pytest.mark.parametrize("count", ["", "-1", "x", "99999999999"])
async def test_a_count_that_is_none_is_an_original(post, count):
    assert await post() != await post(count)


async def test_retries_of_equal_requests_each_find_their_own(post):
    """Three variants are asked for at once, and all three answers are lost."""
    made = {await post() for _ in range(3)}

    assert {await post(1) for _ in range(3)} == made
    assert {await post(2) for _ in range(3)} == made


async def test_retries_at_once_make_one_video(post, stored):
    assert len(set(await asyncio.gather(*(post(1) for _ in range(8))))) == 1
    assert (await stored.count("video_jobs"), await stored.balance()) == (1, 96)


async def test_originals_at_once_stay_as_many(post, stored):
    assert len(set(await asyncio.gather(*(post() for _ in range(8))))) == 8
    assert await stored.balance() == 100 - 8 * 4


async def test_an_idempotency_key_says_more_than_the_count(post):
    first = await post(**{"Idempotency-Key": "one"})

    assert await post(3, **{"Idempotency-Key": "two"}) != first
    assert await post(3, **{"Idempotency-Key": "one"}) == first


async def test_a_retry_waits_for_its_original_that_is_still_being_stored(post, stored, db, eventually):
    """The wallet is held: the original waits for it in the middle of its transaction."""
    async with db.transaction() as tx:
        await tx.execute("SELECT FROM credits FOR UPDATE")
        original = asyncio.create_task(post())
        await eventually(lambda: stored.waiting("transactionid"))
        retry = asyncio.create_task(post(1))
        await eventually(lambda: stored.waiting("advisory"))

    assert await original == await retry
    assert await stored.balance() == 96


async def test_an_original_that_its_retry_overtook_takes_the_retrys_video(post, stored, monkeypatch):
    """The original is here, but slow: it comes to the store only when the retry has been there."""
    overtaken, come = asyncio.Event(), asyncio.Event()
    lock = repository.lock_same

    async def slow(tx, owner, request_hash, *, alone):
        if not alone:
            come.set()
            await overtaken.wait()
        await lock(tx, owner, request_hash, alone=alone)

    monkeypatch.setattr(repository, "lock_same", slow)
    original = asyncio.create_task(post())
    await come.wait()
    made = await post(1)
    overtaken.set()

    assert await original == made
    assert await stored.balance() == 96
    assert await post(0) != made  # somebody who asks now means another one


async def test_an_answer_that_was_lost_makes_no_second_video(make_client, key, api_url, fund, stored):
    """The client's own retry, over a line that broke just when the answer came."""
    await fund()
    async with (
        FaultProxy.open("127.0.0.1", URL(api_url).port) as proxy,
        make_client(key, base=f"http://127.0.0.1:{proxy.port}") as client,
    ):
        trap = proxy.trap(b"openai-poll-after-ms", Toward.CLIENT)
        creating = asyncio.create_task(client.videos.with_raw_response.create(prompt="A cat"))
        await trap.sprung.wait()
        await proxy.heal()
        proxy.cut()
        answer = await creating

    assert answer.retries_taken == 1
    assert answer.headers["idempotent-replayed"] == "true"
    assert (await stored.count("video_jobs"), await stored.balance()) == (1, 96)
    assert await stored.status(UUID(answer.parse().id)) == "pending"


async def test_a_request_whose_sender_has_gone_makes_nothing(make_client, key, api_url, fund, stored, eventually):
    """The network held the original until its sender had given up and its retry had made the video."""
    await fund()
    async with (
        FaultProxy.open("127.0.0.1", URL(api_url).port) as proxy,
        make_client(key, base=f"http://127.0.0.1:{proxy.port}", max_retries=0, timeout=0.5) as gone,
        make_client(key) as client,
    ):
        proxy.freeze(Toward.SERVER)
        with pytest.raises(openai.APITimeoutError):
            await gone.videos.create(prompt="A cat")
        video = await client.videos.create(prompt="A cat", extra_headers={"x-stainless-retry-count": "1"})
        await proxy.heal()
        await eventually(lambda: not proxy._connections)

    assert [row["id"] for row in await stored.rows("SELECT id FROM video_jobs")] == [UUID(video.id)]


async def test_what_nobody_repeats_any_more_is_forgotten(post, stored, cast):
    await post()
    await post()
    await stored.run(
        "UPDATE blind_requests SET seen_at = now() - interval '2 hours' WHERE job_id = ("
        "SELECT min(job_id::text)::uuid FROM blind_requests)"
    )

    deleted = await cast(reconciler_repository.delete_blind_requests, older_than=timedelta(hours=1), limit=10)

    assert (deleted, await stored.count("blind_requests"), await stored.count("video_jobs")) == (1, 1, 2)
