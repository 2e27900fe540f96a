"""Waiting for a job, over lines that break."""

import os
import signal

import httpx
import local_stack
import pytest

from reelgate_client import AsyncClient, Client, JobFailed, NotFound, Timeout

TEXT = {"generation_type": "TEXT_2_VIDEO"}
UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture(scope="module")
def streamless():
    """A stack that has no place for a stream, and so none for a long poll."""
    with local_stack.running("client-poll", KIE_SENDS_PER_WINDOW="1000", MAX_STREAMS="0") as stack:
        yield stack


async def test_a_stream_that_is_cut_goes_on_where_it_was_and_tells_nothing_twice(through_proxy, reelgate, wallet, told):
    """The line breaks with everything that is told."""
    async with through_proxy() as (cut, proxy):

        def tell(progress):
            told(progress)
            proxy.cut()

        accepted = await reelgate.create(wallet, "Cut again and again", **TEXT)
        job = await cut.wait(accepted.job_id, tell)

    timeline = await reelgate.timeline(accepted.job_id)
    after_the_first = [(entry.seq, entry.event) for entry in timeline if entry.seq > told[0].seq]
    assert [(progress.seq, progress.event) for progress in told[1:]] == after_the_first
    assert (told.names[0], told.names[-1], job.status) == ("job", "completed", "completed")


async def test_a_failure_after_a_cut_still_comes_with_its_refund(through_proxy, wallet, told):
    async with through_proxy() as (cut, proxy):

        def tell(progress):
            told(progress)
            proxy.cut()

        with pytest.raises(JobFailed) as caught:
            await cut.create_and_wait(wallet, "Something sim:policy", on_progress=tell, **TEXT)

    assert told.names[-2:] == ["failed", "refunded"]
    assert caught.value.job.refunded


def test_where_there_are_no_streams_the_job_is_asked_about(streamless, wallet, told):
    with Client(streamless.env["API_URL"], streamless.env["API_KEY"]) as client:
        job = client.create_and_wait(wallet, "Polled", on_progress=told, **TEXT)
        with pytest.raises(JobFailed) as caught:
            client.create_and_wait(wallet, "Polled sim:policy", **TEXT)

    assert (job.status, caught.value.job.refunded) == ("completed", True)
    assert set(told.names) == {"job"}
    assert told.numbers == sorted(set(told.numbers))
    assert told[-1].job == job


async def test_a_failure_is_told_with_its_refund_however_late_that_comes(streamless, wallet):
    """The reconciler, which refunds, sleeps until the failure was seen."""
    reconciler = streamless.pid("reconciler")

    def tell(progress):
        if progress.job.status == "failed":
            os.kill(reconciler, signal.SIGCONT)

    os.kill(reconciler, signal.SIGSTOP)
    try:
        async with AsyncClient(streamless.env["API_URL"], streamless.env["API_KEY"]) as reelgate:
            with pytest.raises(JobFailed) as caught:
                await reelgate.create_and_wait(wallet, "Something sim:policy", on_progress=tell, **TEXT)
    finally:
        os.kill(reconciler, signal.SIGCONT)

    assert caught.value.job.refunded


async def test_an_expired_wait_says_what_it_saw_and_the_job_goes_on(reelgate, wallet):
    accepted = await reelgate.create(wallet, "Patience", **TEXT)

    with pytest.raises(Timeout) as caught:
        await reelgate.wait(accepted.job_id, timeout=0.2)
    job = await reelgate.wait(accepted.job_id)

    assert (caught.value.job_id, caught.value.job.id) == (accepted.job_id, accepted.job_id)
    assert job.status == "completed"


async def test_an_expired_wait_without_streams_does_the_same(streamless, wallet):
    async with AsyncClient(streamless.env["API_URL"], streamless.env["API_KEY"]) as reelgate:
        accepted = await reelgate.create(wallet, "Patience", **TEXT)
        with pytest.raises(Timeout) as caught:
            await reelgate.wait(accepted.job_id, timeout=0.2)

        assert caught.value.job.id == accepted.job_id
        assert (await reelgate.wait(accepted.job_id)).status == "completed"


def test_a_job_that_is_over_is_answered_at_once(client, wallet, told):
    job = client.create_and_wait(wallet, "Over", **TEXT)

    assert client.wait(job.id, told) == job
    assert told.names == ["job"]


def test_what_is_not_there_is_not_waited_for(client):
    with pytest.raises(NotFound):
        client.wait(UNKNOWN)


def give_up(progress):
    raise httpx.ConnectError("the listener's own line")


def test_what_a_listener_raises_ends_the_wait_and_leaves_no_connection_behind(url, key, wallet):
    with httpx.Client() as http, Client(url, key, http=http) as client:
        with pytest.raises(httpx.ConnectError, match="the listener's own line"):
            client.create_and_wait(wallet, "Told sim:slow", on_progress=give_up, **TEXT)

        assert all(connection.is_idle() for connection in http._transport._pool.connections)


async def test_the_same_with_async(url, key, wallet):
    async with httpx.AsyncClient() as http, AsyncClient(url, key, http=http) as reelgate:
        with pytest.raises(httpx.ConnectError, match="the listener's own line"):
            await reelgate.create_and_wait(wallet, "Told sim:slow", on_progress=give_up, **TEXT)

        assert all(connection.is_idle() for connection in http._transport._pool.connections)
