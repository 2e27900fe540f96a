"""What stands still between the parts, and on the way to customers, makes its alert fire, and no other."""

import asyncio

import aio_pika
import pytest_asyncio
from listener import listening

from reelgate_common import topology
from reelgate_common.ids import new_id
from reelgate_common.messages import CallbackReceived


async def test_a_message_that_nobody_can_read(rig, film):
    async with rig.channel() as channel:
        await channel.default_exchange.publish(aio_pika.Message(b"?"), topology.JOB_FAILED.name)
        await film.shows("reelgate_parked_messages")
        await (await channel.get_queue(topology.PARKED, ensure=False)).purge()

    await film.fires("ReelgateMessagesParked ticket")


async def test_a_broker_that_is_away(rig, film):
    for line in rig.lines_to("broker"):
        line.refuse()
    await rig.jobs(1)
    await rig.sql("UPDATE outbox SET available_at = available_at - interval '3 min'")

    async def too_old():
        return (await film.look()).value("reelgate_outbox_oldest_seconds", {}) > 120

    await rig.until(too_old)
    await film.shoot()

    await film.fires("ReelgateOutboxStuck page")


async def test_a_consumer_that_gets_nothing(rig, film):
    rig.line("callback", "broker").freeze()
    queue = topology.CALLBACK_RECEIVED.name
    async with rig.channel() as channel:
        for _ in range(1100):
            hint = CallbackReceived(job_id=new_id(), job_version=0, callback_id=new_id())
            message = aio_pika.Message(hint.model_dump_json().encode(), message_id=str(hint.event_id))
            await channel.default_exchange.publish(message, queue)
        await film.shows("reelgate_queue_messages", 1001, queue=queue)
        await (await channel.get_queue(queue, ensure=False)).purge()

    await film.fires("ReelgateQueueBacklog ticket")


async def test_a_queue_that_nobody_reads(rig, film):
    """Its only consumer cannot reach the broker any more."""
    rig.line("callback", "broker").refuse()

    async def deserted():
        return (await film.look()).value("reelgate_queue_consumers", {"queue": topology.CALLBACK_RECEIVED.name}) == 0

    await rig.until(deserted)
    await film.shoot()

    await film.fires("ReelgateQueueUnattended page")


@pytest_asyncio.fixture(loop_scope="session")
async def endpoint(rig):
    """A customer's receiver, registered; forgotten at the end, with what is still to be sent to it."""
    async with listening() as listener, rig.client() as client:
        made = await client.post("/api/webhooks", json={"url": listener.url})
        assert made.status_code == 201, made.text
        yield listener
        await client.delete(f"/api/webhooks/{made.json()['id']}")


async def test_a_receiver_that_never_answers(rig, film, endpoint):
    patience = asyncio.Event()

    async def never(writer):
        await patience.wait()
        writer.close()

    endpoint.answers += [never] * 10
    await rig.all_reached(await rig.jobs(5), "completed")
    await rig.sql(
        "UPDATE webhook_deliveries SET next_attempt_at = next_attempt_at - interval '6 min' WHERE state = 'pending'"
    )
    await rig.restart("callback")  # it looks at once, and then each quarter of a minute

    async def all_is_read():
        return (await film.look()).value("reelgate_queue_consumers", {"queue": topology.CALLBACK_RECEIVED.name}) == 1

    await rig.until(all_is_read)
    await film.shows("reelgate_webhook_queue_seconds", 300)
    patience.set()
    await rig.sql("UPDATE webhook_endpoints SET disabled_at = now(), disabled_reason = 'failing'")
    await rig.restart("callback")

    await film.fires("ReelgateWebhooksLate ticket")


async def test_a_receiver_that_fails(rig, film, endpoint):
    for tries in (2, 4, 6):
        endpoint.say(500)
        endpoint.say(500)
        await rig.jobs(2)
        await film.shows("reelgate_webhook_attempts_total", tries, outcome="refused")

    await film.fires("ReelgateWebhooksFailing ticket")


async def test_a_receiver_that_is_gone(rig, film, endpoint):
    endpoint.say(410)
    await rig.jobs(1)
    await film.shows("reelgate_webhook_endpoints_disabled_total", reason="gone")

    # The webhook that was answered so is given up, too.
    await film.fires("ReelgateWebhookEndpointDisabled ticket", "ReelgateWebhooksFailing ticket")
