"""RabbitMQ carries, PostgreSQL knows: whatever becomes of the broker, every job comes to its end."""

import os
import random
import re
import signal
import uuid

import aio_pika
import pytest
from fault_proxy import Toward

from reelgate_common import topology

WORK_QUEUES = [queue.name for queue in topology.QUEUES]


async def test_jobs_are_accepted_while_the_broker_is_gone_and_done_when_it_is_back(rig):
    await rig.servers.rabbit.stop()
    ids = await rig.jobs(6)
    waiting = await rig.sql("SELECT count(*) AS n FROM outbox")
    await rig.servers.rabbit.start()

    assert waiting[0]["n"] >= len(ids)
    await rig.all_over(ids)


@pytest.mark.parametrize(
    ("alarm", "over"),
    [
        (("set_vm_memory_high_watermark", "absolute", "1MB"), ("set_vm_memory_high_watermark", "0.4")),
        (("set_disk_free_limit", str(10**17)), ("set_disk_free_limit", "1MB")),
    ],
    ids=["memory", "disk"],
)
async def test_a_broker_in_alarm_takes_nothing_and_loses_nothing(rig, alarm, over):
    """It stops reading who publishes: jobs are accepted and wait in the outbox."""
    under_way = await rig.jobs(6)
    await rig.servers.rabbit.control(*alarm)
    try:
        ids = await rig.jobs(6)
        assert (await rig.sql("SELECT count(*) AS n FROM outbox"))[0]["n"] > 0
    finally:
        await rig.servers.rabbit.control(*over)

    await rig.all_over(under_way + ids)


@pytest.mark.parametrize(
    "words",
    [
        ("close_all_connections", "--vhost", "reelgate", "maintenance"),
        ("eval", "[exit(Channel, kill) || Channel <- rabbit_channel:list()]."),
    ],
    ids=["connections", "channels"],
)
async def test_connections_and_channels_closed_by_the_broker_come_back(rig, words):
    ids = await rig.jobs(6)
    await rig.servers.rabbit.control(*words)
    ids += await rig.jobs(6)

    await rig.all_over(ids)


@pytest.mark.parametrize("name", WORK_QUEUES)
async def test_a_queue_that_was_deleted_is_made_again_and_what_it_held_is_done(rig, name):
    ids = await rig.jobs(6)
    async with rig.client() as client:
        refunded = await rig.create(client, f"{uuid.uuid4().hex} sim:policy", "broker")
    async with rig.channel() as channel:
        await channel.queue_delete(name)
    ids += await rig.jobs(6)

    await rig.all_over(ids)
    await rig.reached(refunded, "failed", seconds=90)


async def test_a_binding_that_was_removed_is_made_again_and_what_had_no_way_is_delivered(rig):
    """Without its binding a message is returned: it stays in the outbox until there is a way for it."""
    async with rig.channel() as channel:
        queue = await channel.get_queue(topology.JOB_REQUESTED.name, ensure=False)
        await queue.unbind(topology.EXCHANGE, topology.JOB_REQUESTED.event.routing_key)
    ids = await rig.jobs(6)

    await rig.all_over(ids)


async def test_a_broker_frozen_as_a_whole(rig):
    """It takes connections and answers nobody; what was published into it was not confirmed, and stays."""
    beam = rig.servers.rabbit.pids[0]
    os.kill(beam, signal.SIGSTOP)
    try:
        ids = await rig.jobs(6)

        async def given_up():
            return rig.logs_with("did not confirm in time")

        await rig.until(given_up)
    finally:
        os.kill(beam, signal.SIGCONT)

    await rig.all_over(ids)


async def test_a_line_to_the_broker_that_went_dead_silently(rig):
    rig.line("submitter", "broker").freeze()
    ids = await rig.jobs(6)
    await rig.heal()

    await rig.all_over(ids)


async def test_a_line_to_the_broker_cut_during_a_call_to_kie_does_not_cut_the_call(rig):
    """Its permit comes again meanwhile and sends nothing; nobody but the call itself brings the task id."""
    prompt = f"{uuid.uuid4().hex} sim:ok"
    answer = rig.line("submitter", "vendor").trap(prompt.encode(), Toward.SERVER, stops=Toward.CLIENT)
    rig.line("simulator", "callback").refuse()
    async with rig.client() as client:
        job_id = await rig.create(client, prompt, "broker")
    await answer.sprung.wait()
    rig.line("submitter", "broker").cut()

    async def noticed():
        return rig.logs_with("consumers_lost")

    await rig.until(noticed)
    await rig.line("submitter", "vendor").heal()
    await rig.reached(job_id, "processing")
    await rig.heal()

    await rig.all_over([job_id])
    assert await rig.timeline(job_id) == ["accepted", "claimed", "submitted", "completed"]


async def test_a_full_queue_fills_the_outbox_and_nothing_else(rig):
    """A queue that refuses is as good as a broker that is away: the message stays in its row."""
    policy = ("--vhost", "reelgate", "full")
    queue = f"^{re.escape(topology.JOB_REQUESTED.name)}$"
    await rig.kill("submitter")
    await rig.servers.rabbit.control("set_policy", *policy, queue, '{"max-length":1}', "--apply-to", "queues")
    try:
        ids = []

        async def refused():
            """The broker tells the publishers late: what comes in one burst may all still be taken."""
            ids.extend(await rig.jobs(3))
            return await rig.sql("SELECT FROM outbox WHERE attempts > 0")

        await rig.until(refused)
    finally:
        await rig.servers.rabbit.control("clear_policy", *policy)
    await rig.start("submitter")

    await rig.all_over(ids)


async def test_messages_that_come_twice_and_in_any_order_change_nothing(rig):
    """Everything ever said, said again: only what the database says counts."""
    kept = []
    async with rig.channel() as channel:
        everything = await channel.declare_queue(exclusive=True)
        exchange = await channel.get_exchange(topology.EXCHANGE, ensure=False)
        await everything.bind(exchange, "#")
        done = await rig.mixed_jobs(20)
        await rig.at_rest()
        before = await state(rig)
        while message := await everything.get(no_ack=True, fail=False):
            kept.append(message)
        again = kept * 2
        random.shuffle(again)
        for message in again:
            copy = aio_pika.Message(message.body, headers=message.headers, message_id=uuid.uuid4().hex)
            await exchange.publish(copy, message.routing_key)

    async def handled():
        return not await rig.depths()

    await rig.until(handled)
    await rig.at_rest()
    assert len(kept) >= 20
    assert await state(rig) == before
    await rig.ended_right(done)


async def state(rig):
    """Every job's end and every movement of money."""
    jobs = await rig.sql("SELECT id, status, version, video_url, failure_code, refunded_at FROM video_jobs ORDER BY id")
    return jobs, await rig.sql("SELECT id, amount FROM credit_transactions ORDER BY id")
