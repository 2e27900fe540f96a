"""Answers that are lost, late or not there: what was asked for happens once."""

import asyncio
import uuid

import asyncpg
import pytest
from fault_proxy import Toward

from reelgate_client import (
    AsyncClient,
    IdempotencyMismatch,
    InvalidInput,
    NotFound,
    RateLimited,
    UnexpectedAnswer,
    Unreachable,
)

TEXT = {"generation_type": "TEXT_2_VIDEO"}


def test_two_calls_with_one_key_are_one_job(client, wallet):
    key = uuid.uuid4().hex

    first = client.create(wallet, "Once", idempotency_key=key, **TEXT)
    again = client.create(wallet, "Once", idempotency_key=key, **TEXT)
    with pytest.raises(IdempotencyMismatch):
        client.create(wallet, "Something else", idempotency_key=key, **TEXT)
    other = client.create(wallet, "Once", **TEXT)

    assert (again.job_id, first.replayed, again.replayed) == (first.job_id, False, True)
    assert {job.id for job in client.list(wallet_address=wallet)} == {first.job_id, other.job_id}


async def test_lost_answers_make_one_job_and_one_charge(through_proxy, stack, wallet, moved):
    """The line breaks twice, each time when the answer comes."""
    async with through_proxy() as (reelgate, proxy):
        trap = proxy.trap(b"HTTP/1.1 202", Toward.CLIENT)
        creating = asyncio.create_task(reelgate.create(wallet, "Once", **TEXT))
        for _ in range(2):
            await asyncio.wait_for(trap.sprung.wait(), 30)
            proxy.cut()
            await proxy.heal()
            trap = proxy.trap(b"HTTP/1.1 202", Toward.CLIENT)
        await asyncio.wait_for(trap.sprung.wait(), 30)
        await proxy.heal()
        accepted = await creating
        job = await reelgate.wait(accepted.job_id)

    assert (accepted.replayed, job.status) == (True, "completed")
    assert await moved(wallet) == [-4]
    assert len(await stack.sql("SELECT FROM video_jobs WHERE wallet_address = $1", wallet)) == 1


async def test_who_gives_up_learns_the_key_and_with_it_gets_the_job_that_was_made(
    through_proxy, reelgate, wallet, moved
):
    async with through_proxy(max_retries=0) as (cut_off, proxy):
        trap = proxy.trap(b"HTTP/1.1 202", Toward.CLIENT)
        creating = asyncio.create_task(cut_off.create(wallet, "Once", **TEXT))
        await asyncio.wait_for(trap.sprung.wait(), 30)
        proxy.cut()
        with pytest.raises(Unreachable) as caught:
            await creating
    accepted = await reelgate.create(wallet, "Once", idempotency_key=caught.value.idempotency_key, **TEXT)

    assert accepted.replayed
    assert await moved(wallet) == [-4]


async def test_a_gateway_that_is_away_is_asked_again_until_it_is_there(through_proxy, wallet):
    async with through_proxy() as (reelgate, proxy):
        proxy.refuse()
        asking = asyncio.create_task(reelgate.create(wallet, "Soon", **TEXT))
        await asyncio.sleep(0)
        await proxy.heal()

        assert (await asking).job_id


async def test_a_gateway_that_stays_away_is_given_up(through_proxy):
    async with through_proxy(timeout=1) as (reelgate, proxy):
        proxy.refuse()

        with pytest.raises(Unreachable, match="no answer from"):
            await reelgate.prices()


async def test_a_repeat_that_meets_the_first_request_waits_for_its_answer(through_proxy, stack, wallet, moved):
    """The wallet is locked for longer than the gateway waits: 409 with Retry-After, and nothing has happened."""
    async with through_proxy() as (reelgate, proxy):
        await reelgate.create(wallet, "Opens the wallet", **TEXT)
        trap = proxy.trap(b"HTTP/1.1 409", Toward.CLIENT)
        connection = await asyncpg.connect(stack.env["DATABASE_URL"])
        try:
            async with connection.transaction():
                await connection.execute("SELECT FROM credits WHERE wallet_address = $1 FOR UPDATE", wallet)
                creating = asyncio.create_task(reelgate.create(wallet, "Once", **TEXT))
                await asyncio.wait_for(trap.sprung.wait(), 30)
        finally:
            await connection.close()
        await proxy.heal()
        await creating

    assert await moved(wallet) == [-4, -4]


async def test_who_asks_too_fast_is_slowed_down_and_loses_nothing(reelgate, wallet, moved):
    """The stack allows a wallet sixty requests at once, then one a second."""
    made = await asyncio.gather(*(reelgate.create(wallet, f"Job {n}", **TEXT) for n in range(63)))

    assert len({accepted.job_id for accepted in made}) == 63
    assert await moved(wallet) == [-4] * 63


async def test_who_does_not_want_to_wait_is_told_how_long_it_would_be(url, key, wallet):
    async with AsyncClient(url, key, max_retries=0) as hasty:
        with pytest.raises(RateLimited) as caught:
            await asyncio.gather(*(hasty.create(wallet, f"Job {n}", **TEXT) for n in range(70)))

    assert 1 <= caught.value.retry_after <= 10
    assert caught.value.problem.code == "rate_limited"


async def test_a_refusal_is_not_repeated(through_proxy, wallet):
    """A second request would hang in the trap's connection for ever: it was sprung by the first."""
    async with through_proxy() as (reelgate, proxy):
        asked = proxy.trap(b"POST", Toward.SERVER, stops=Toward.CLIENT)
        creating = asyncio.create_task(reelgate.create(wallet, "Wrong", duration=5, **TEXT))
        await asyncio.wait_for(asked.sprung.wait(), 30)
        again = proxy.trap(b"POST", Toward.SERVER, stops=Toward.CLIENT)
        for connection in proxy._connections:
            connection.release()

        with pytest.raises(InvalidInput):
            await creating
        assert not again.sprung.is_set()


async def test_what_is_no_gateway_is_told_apart(stack, wallet):
    async def show_a_page(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 12\r\n\r\n<p>Sign in!\r\n")
        writer.close()

    async with AsyncClient(stack.env["SIMULATOR_URL"]) as lost:
        with pytest.raises(NotFound):
            await lost.prices()
    async with await asyncio.start_server(show_a_page, "127.0.0.1") as portal:
        port = portal.sockets[0].getsockname()[1]
        async with AsyncClient(f"http://127.0.0.1:{port}") as lost:
            with pytest.raises(UnexpectedAnswer, match="something else than expected"):
                await lost.create(wallet, "A page", **TEXT)
