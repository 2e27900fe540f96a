"""Outgoing webhooks, from the event to the receiver: signed, repeated until taken, never lost."""

import asyncio
from datetime import timedelta

import pytest
from listener import listening

from reelgate_callback.webhooks import schedule
from reelgate_callback.webhooks.sender import Sender
from reelgate_common import settlement, webhooks
from reelgate_common.domain.errors import Unavailable
from reelgate_common.domain.job import FailureCode, JobStatus
from reelgate_common.messages import JobCompleted
from reelgate_common.settings import JobSettings

HOUR = 3600


def types(rows):
    return [row["type"] for row in rows]


async def seconds_until_next(stored):
    return await stored.value("SELECT extract(epoch FROM next_attempt_at - now())::float8 FROM webhook_deliveries")


# What is told, and to whom --------------------------------------------------------------------------


async def test_a_webhook_is_signed_and_carries_the_same_object_as_get(api, endpoint, sender, make_job):
    job = await make_job(JobStatus.COMPLETED)

    await sender.run_once()

    told = endpoint.verify()
    assert told["type"] == "job.completed"
    assert told["data"] == (await api.get(f"/api/video/jobs/{job.id}")).json()


async def test_a_webhook_names_its_delivery_and_its_kind(endpoint, sender, make_job, deliveries):
    await make_job(JobStatus.COMPLETED)

    await sender.run_once()

    [delivery] = await deliveries()
    headers, _ = endpoint.listener.requests[0]
    assert headers["webhook-id"] == str(delivery["id"])
    assert headers["content-type"] == "application/json"
    assert (delivery["state"], delivery["last_status"], delivery["attempts"]) == ("delivered", 204, 1)


async def test_a_request_that_was_changed_on_its_way_does_not_verify(endpoint, sender, make_job):
    await make_job(JobStatus.COMPLETED)
    await sender.run_once()

    headers, body = endpoint.listener.requests[0]
    endpoint.listener.requests[0] = (headers, body.replace(b"job.completed", b"job.recovered"))

    with pytest.raises(Exception, match="No matching signature"):
        endpoint.verify()


async def test_a_refund_is_an_event_of_its_own_with_the_job_as_it_is_then(endpoint, sender, make_job, cast):
    job = await make_job(JobStatus.FAILED)
    await cast(settlement.refund, job.id, by="tests")

    await sender.run_once()

    told = {payload["type"]: payload["data"]["job"]["refunded"] for payload in (endpoint.verify(0), endpoint.verify(1))}
    assert told == {"job.failed": False, "job.refunded": True}


async def test_a_cancellation_and_a_late_success_are_told(endpoint, make_job, cast, deliveries, video):
    await make_job(JobStatus.CANCELED)
    job = await make_job(JobStatus.FAILED, failure_code=FailureCode.PROCESSING_TIMEOUT)
    late = {"video_url": video, "attempt_id": job.attempt_id, "by": "tests", "policy": JobSettings()}
    await cast(settlement.deliver, job.id, **late)

    assert types(await deliveries()) == ["job.canceled", "job.failed", "job.recovered"]


@pytest.mark.parametrize("status", [JobStatus.PENDING, JobStatus.SUBMITTING, JobStatus.PROCESSING, JobStatus.UNKNOWN])
async def test_nothing_is_told_before_a_job_is_over(endpoint, make_job, deliveries, status):
    await make_job(status)

    assert await deliveries() == []


async def test_an_event_and_its_webhook_are_written_together_or_not_at_all(endpoint, make_job, db, deliveries, stored):
    job = await make_job(JobStatus.PENDING)

    async with db.connection() as connection:
        undone = connection.transaction()
        await undone.start()
        await settlement.cancel(connection, job.id, by="tests")
        await undone.rollback()

    assert (await deliveries(), await stored.status(job.id)) == ([], "pending")


async def test_an_event_that_is_told_twice_is_one_delivery(endpoint, make_job, cast, deliveries, video):
    job = await make_job(JobStatus.PENDING)
    message = JobCompleted(job_id=job.id, job_version=1, video_url=video)

    await cast(webhooks.fan_out, [(message, job)])
    await cast(webhooks.fan_out, [(message, job)])

    assert len(await deliveries()) == 1


async def test_an_endpoint_hears_only_of_what_it_asked_for(make_endpoint, make_job, deliveries):
    await make_endpoint(events=["job.failed"])

    await make_job(JobStatus.COMPLETED)
    await make_job(JobStatus.FAILED)

    assert types(await deliveries()) == ["job.failed"]


async def test_a_key_hears_only_of_its_own_wallets_jobs(make_endpoint, make_key, make_job, deliveries):
    await make_endpoint(headers=await make_key(wallets=["mine"]))

    await make_job(JobStatus.COMPLETED, wallet_address="theirs")
    mine = await make_job(JobStatus.COMPLETED, wallet_address="mine")

    assert [row["job_id"] for row in await deliveries()] == [mine.id]


@pytest.mark.parametrize("end", ["revoked_at = now()", "expires_at = now()"])
async def test_a_key_that_is_no_good_any_more_hears_nothing(endpoint, sender, make_job, stored, deliveries, end):
    await make_job(JobStatus.COMPLETED)
    await stored.run(f"UPDATE api_keys SET {end}")

    await make_job(JobStatus.COMPLETED)
    sent = await sender.run_once()

    assert (sent, len(await deliveries())) == (0, 1)


# Until it is taken ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 400, 404, 429, 500, 503])
async def test_whatever_is_no_2xx_is_sent_again_later(endpoint, sender, make_job, stored, deliveries, status):
    await make_job(JobStatus.COMPLETED)
    endpoint.listener.say(status)

    await sender.run_once()

    [delivery] = await deliveries()
    assert (delivery["state"], delivery["last_status"]) == ("pending", status)
    assert 3 < await seconds_until_next(stored) <= 6
    assert await sender.run_once() == 0


async def test_the_next_attempt_has_the_same_id_and_body_and_a_new_time(endpoint, sender, make_job, later):
    await make_job(JobStatus.COMPLETED)
    endpoint.listener.say(500)
    await sender.run_once()

    await later()
    await sender.run_once()

    (first, body), (second, body_again) = endpoint.listener.requests
    assert (first["webhook-id"], body) == (second["webhook-id"], body_again)
    assert endpoint.verify()["type"] == "job.completed"


async def test_the_pauses_grow_for_days_until_the_delivery_is_given_up(
    endpoint, sender, make_job, stored, later, deliveries
):
    await make_job(JobStatus.COMPLETED)
    pauses = []
    for _ in schedule.DELAYS:
        endpoint.listener.say(500)
        await sender.run_once()
        pauses.append(await seconds_until_next(stored))
        await later()
    endpoint.listener.say(500)
    await sender.run_once()

    assert [round(pause / planned) for pause, planned in zip(pauses, schedule.DELAYS, strict=True)] == [1] * 9
    assert sum(schedule.DELAYS) > 3 * 24 * HOUR
    [delivery] = await deliveries()
    assert (delivery["state"], delivery["attempts"], delivery["last_error"]) == ("failed", 10, "HTTP 500")


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [("7200", 7190, 7200), ("99999999999999", 24 * HOUR - 10, 24 * HOUR), ("1", 3, 6), ("soon", 3, 6)],
)
async def test_retry_after_is_honoured_within_a_day(endpoint, sender, make_job, stored, asked, least, most):
    await make_job(JobStatus.COMPLETED)
    endpoint.listener.say(503, Retry_After=asked)

    await sender.run_once()

    assert least < await seconds_until_next(stored) <= most


async def test_a_receiver_that_is_not_there_is_tried_again(make_endpoint, sender, make_job, deliveries):
    async with listening() as gone:
        await make_endpoint(to=gone)
    await make_job(JobStatus.COMPLETED)

    await sender.run_once()

    [delivery] = await deliveries()
    assert (delivery["state"], delivery["last_status"]) == ("pending", None)
    assert delivery["last_error"]


async def test_a_receiver_that_never_answers_does_not_hold_the_sender_for_ever(
    endpoint, sender, make_job, deliveries, monkeypatch
):
    monkeypatch.setattr("reelgate_callback.webhooks.receiver.SECONDS", 0.2)
    await make_job(JobStatus.COMPLETED)
    endpoint.listener.answers.append(lambda _: asyncio.Event().wait())

    await sender.run_once()

    [delivery] = await deliveries()
    assert (delivery["state"], delivery["last_error"]) == ("pending", "no answer in time")


async def test_an_endless_answer_is_read_no_further_than_its_beginning(endpoint, sender, make_job, stored):
    await make_job(JobStatus.COMPLETED)

    async def endless(writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while True:
            writer.write(b"\x00\xff" * 32768)
            await writer.drain()

    endpoint.listener.answers.append(endless)

    await sender.run_once()

    assert await stored.value("SELECT state FROM webhook_deliveries") == "delivered"
    assert len(await stored.value("SELECT answer FROM webhook_attempts")) == 1024


async def test_a_sender_that_died_before_it_recorded_leaves_the_webhook_to_another(
    endpoint, sender, make_job, later, deliveries, monkeypatch
):
    await make_job(JobStatus.COMPLETED)
    with monkeypatch.context() as dying:

        async def die(*_, **__):
            raise Unavailable("the database is away")

        dying.setattr("reelgate_callback.webhooks.repository.record", die)
        await sender.run_once()

    at_once = await sender.run_once()
    await later()
    await sender.run_once()

    (first, _), (second, _) = endpoint.listener.requests
    assert (at_once, first["webhook-id"]) == (0, second["webhook-id"])
    assert [row["state"] for row in await deliveries()] == ["delivered"]


async def test_senders_side_by_side_send_each_webhook_once(endpoint, db, receiver, make_job):
    for _ in range(8):
        await make_job(JobStatus.COMPLETED)
    senders = [Sender(db, receiver, in_flight=32, disable_after=timedelta(days=5)) for _ in range(4)]

    while sum(await asyncio.gather(*(sender.run_once() for sender in senders))):
        pass

    ids = [headers["webhook-id"] for headers, _ in endpoint.listener.requests]
    assert len(ids) == len(set(ids)) == 8


async def test_a_slow_receiver_delays_its_own_only(make_endpoint, endpoint, db, receiver, make_job, eventually):
    stuck = asyncio.Event()
    for _ in range(10):
        endpoint.listener.answers.append(lambda _: stuck.wait())
        await make_job(JobStatus.COMPLETED)
    async with listening() as quick:
        await make_endpoint(to=quick)
        sender = Sender(db, receiver, in_flight=6, disable_after=timedelta(days=5))
        async with sender.running():
            await make_job(JobStatus.COMPLETED)
            await eventually(lambda: quick.requests)
            assert len(endpoint.listener.requests) == 4
            stuck.set()


async def test_endpoints_take_turns_when_there_is_no_room_for_all(make_endpoint, endpoint, db, receiver, make_job):
    for _ in range(4):
        await make_job(JobStatus.COMPLETED)
    async with listening() as other:
        await make_endpoint(to=other)
        await make_job(JobStatus.COMPLETED)

        await Sender(db, receiver, in_flight=2, disable_after=timedelta(days=5)).run_once()

        assert (len(endpoint.listener.requests), len(other.requests)) == (1, 1)


async def test_a_sender_that_stops_finishes_what_it_has_in_hand(endpoint, sender, make_job, deliveries, eventually):
    await make_job(JobStatus.COMPLETED)
    answer = asyncio.Event()

    async def wait(writer):
        await answer.wait()
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    endpoint.listener.answers.append(wait)

    async with sender.running():
        await eventually(lambda: endpoint.listener.requests)
        asyncio.get_running_loop().call_soon(answer.set)

    assert [row["state"] for row in await deliveries()] == ["delivered"]


# Giving an endpoint up ------------------------------------------------------------------------------


async def test_410_disables_the_endpoint(api, endpoint, sender, make_job, deliveries):
    await make_job(JobStatus.COMPLETED)
    endpoint.listener.say(410)

    await sender.run_once()

    shown = (await api.get(f"/api/webhooks/{endpoint.id}")).json()
    assert (shown["disabled"], shown["disabled_reason"]) == (True, "gone")
    assert [(row["type"], row["state"]) for row in await deliveries()] == [
        ("job.completed", "failed"),
        ("webhook.disabled", "pending"),
    ]


async def test_what_happens_while_an_endpoint_is_disabled_waits_until_it_is_enabled(
    api, endpoint, sender, make_job, deliveries
):
    await api.patch(f"/api/webhooks/{endpoint.id}", json={"disabled": True})
    await make_job(JobStatus.COMPLETED)

    meanwhile = await sender.run_once()
    await api.patch(f"/api/webhooks/{endpoint.id}", json={"disabled": False})

    assert (meanwhile, await sender.run_once()) == (0, 1)
    assert endpoint.verify()["type"] == "job.completed"


async def fail(endpoint, sender, later):
    endpoint.listener.say(500)
    await later()
    assert await sender.run_once() == 1


async def test_an_endpoint_that_fails_for_days_is_disabled(api, endpoint, sender, make_job, later, stored):
    await make_job(JobStatus.COMPLETED)
    await fail(endpoint, sender, later)
    await stored.run("UPDATE webhook_endpoints SET failing_since = failing_since - interval '4 days 23 hours'")
    await fail(endpoint, sender, later)
    before = (await api.get(f"/api/webhooks/{endpoint.id}")).json()

    await stored.run("UPDATE webhook_endpoints SET failing_since = failing_since - interval '1 hour'")
    await fail(endpoint, sender, later)

    after = (await api.get(f"/api/webhooks/{endpoint.id}")).json()
    assert (before["disabled"], after["disabled"], after["disabled_reason"]) == (False, True, "failing")


async def test_one_success_starts_the_days_anew(api, endpoint, sender, make_job, later, stored):
    await make_job(JobStatus.COMPLETED)
    await fail(endpoint, sender, later)
    await stored.run("UPDATE webhook_endpoints SET failing_since = failing_since - interval '6 days'")
    await later()
    await sender.run_once()
    await make_job(JobStatus.COMPLETED)

    await fail(endpoint, sender, later)

    shown = (await api.get(f"/api/webhooks/{endpoint.id}")).json()
    assert shown["disabled"] is False


async def test_the_other_endpoints_of_the_key_hear_of_it(make_endpoint, endpoint, sender, make_job, make_key):
    async with listening() as other, listening() as stranger:
        witness = await make_endpoint(to=other, events=["webhook.disabled"])
        await make_endpoint(to=stranger, events=["webhook.disabled"], headers=await make_key())
        await make_job(JobStatus.COMPLETED)
        endpoint.listener.say(410)

        await sender.run_once()
        await sender.run_once()

        told = witness.verify()
        assert (told["type"], told["data"]["webhook"]["id"]) == ("webhook.disabled", endpoint.id)
        assert told["data"]["webhook"]["disabled_reason"] == "gone"
        assert stranger.requests == []


async def test_an_endpoint_that_has_moved_is_not_given_up_for_its_old_url(api, endpoint, sender, make_job, eventually):
    await make_job(JobStatus.COMPLETED)
    moved = asyncio.Event()

    async def gone(writer):
        await moved.wait()
        writer.write(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")

    endpoint.listener.answers.append(gone)
    sending = asyncio.create_task(sender.run_once())
    await eventually(lambda: endpoint.listener.requests)
    await api.patch(f"/api/webhooks/{endpoint.id}", json={"url": f"{endpoint.listener.url}/new"})
    moved.set()
    await sending

    assert (await api.get(f"/api/webhooks/{endpoint.id}")).json()["disabled"] is False
