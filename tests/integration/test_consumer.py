"""What becomes of a message between a real RabbitMQ and its handler."""

import asyncio
import json
from contextlib import suppress

import pytest
import structlog

from reelgate_common import bus as bus_module
from reelgate_common import topology
from reelgate_common.bus import Bus
from reelgate_common.domain.errors import Unavailable


async def test_a_handled_message_is_gone(own_queue, consuming, publish, eventually, waiting):
    handled = []

    async def handle(event):
        handled.append(event)

    async with consuming(own_queue, handle):
        sent = await publish(own_queue)
        await eventually(lambda: handled)

    assert handled == [sent]
    assert await waiting(own_queue.name) == 0


async def test_a_handler_that_crashes_gets_the_message_again_later(own_queue, consuming, publish, eventually):
    seen = []

    async def handle(event):
        seen.append(event.event_id)
        if len(seen) < 3:
            raise ValueError("broken")

    async with consuming(own_queue, handle):
        sent = await publish(own_queue)
        await eventually(lambda: len(seen) == 3)

    assert set(seen) == {sent.event_id}


async def test_a_message_that_always_crashes_is_parked_after_its_rounds(own_queue, consuming, publish, take):
    seen = []

    async def handle(event):
        seen.append(event)
        raise ValueError("broken")

    async with consuming(own_queue, handle):
        sent = await publish(own_queue)
        parked = await take(topology.PARKED)

    assert len(seen) == 3
    assert json.loads(parked.body)["event_id"] == str(sent.event_id)
    assert parked.headers["x-parked-from"] == own_queue.name
    assert parked.headers["x-parked-reason"] == "too many rounds"


@pytest.mark.parametrize("body", [b"", b"not json", b"{}", b"\xff\x00", b'{"job_id": "x"}'])
async def test_an_unreadable_message_is_parked_at_once_with_the_reason(own_queue, consuming, publish, take, body):
    async def handle(event):
        raise AssertionError("must not be handled")

    async with consuming(own_queue, handle):
        await publish(own_queue, body)
        parked = await take(topology.PARKED)

    assert parked.body == body
    assert "invalid fields" in parked.headers["x-parked-reason"]


async def test_an_unreadable_message_does_not_hold_up_the_next(own_queue, consuming, publish, eventually):
    handled = []

    async def handle(event):
        handled.append(event)

    async with consuming(own_queue, handle):
        await publish(own_queue, b"garbage")
        sent = await publish(own_queue)
        await eventually(lambda: handled)

    assert handled == [sent]


async def test_while_the_database_is_away_a_message_is_held(own_queue, consuming, publish, eventually, monkeypatch):
    monkeypatch.setattr("reelgate_common.consumer._AWAY_SECONDS", 0.01)
    seen = []

    async def handle(event):
        seen.append(event)
        if len(seen) < 20:
            raise Unavailable("away")

    async with consuming(own_queue, handle):
        sent = await publish(own_queue)
        await eventually(lambda: len(seen) == 20)

    assert seen == [sent] * 20


async def test_a_consumer_comes_back_after_its_connection_is_cut(
    own_queue, wire, quick_reconnects, consuming, publish, eventually
):
    handled = []

    async def handle(event):
        handled.append(event)

    async with Bus.open(wire.settings, "tests") as cuttable, consuming(own_queue, handle, through=cuttable) as consumer:
        wire.cut()
        await eventually(lambda: not consumer.ready.is_set())
        await eventually(consumer.ready.is_set)
        sent = await publish(own_queue)
        await eventually(lambda: handled)

    assert handled == [sent]


async def test_a_handler_outlives_the_connection_its_message_came_through(
    own_queue, wire, quick_reconnects, consuming, publish, eventually
):
    """What it does may be paid for. The broker gives the message out again meanwhile: nobody acked it."""
    started, finished, go_on = [], [], asyncio.Event()

    async def handle(event):
        started.append(event)
        await go_on.wait()
        finished.append(event)

    async with Bus.open(wire.settings, "tests") as cuttable, consuming(own_queue, handle, through=cuttable):
        sent = await publish(own_queue)
        await eventually(lambda: started)
        wire.cut()
        await eventually(lambda: len(started) == 2)
        go_on.set()
        await eventually(lambda: len(finished) == 2)

    assert finished == [sent, sent]


@pytest.mark.parametrize("crash", [False, True], ids=["ack", "reject"])
async def test_an_answer_that_can_no_longer_be_given_is_lost_and_no_crash(
    own_queue, wire, quick_reconnects, consuming, publish, eventually, ended_as, crash
):
    seen, go_on = [], asyncio.Event()

    async def handle(event):
        seen.append(event)
        if len(seen) == 1:
            await go_on.wait()
            if crash:
                raise ValueError("broken")

    with structlog.testing.capture_logs() as logs:
        async with Bus.open(wire.settings, "tests") as cuttable, consuming(own_queue, handle, through=cuttable):
            await publish(own_queue)
            await eventually(lambda: seen)
            wire.cut()
            await eventually(lambda: ended_as(own_queue, "acked") == 1)
            go_on.set()
            await eventually(lambda: ended_as(own_queue, "lost") == 1)

    assert len(seen) == 2
    assert ended_as(own_queue, "rejected") == 0
    [lost] = [log for log in logs if log["event"] == "answer_lost"]
    assert lost["answer"] == ("rejected" if crash else "acked")
    assert ("message_crashed" in {log["event"] for log in logs}) == crash


async def test_handlers_of_an_old_and_a_new_connection_together_are_no_more_than_the_prefetch(
    own_queue, wire, quick_reconnects, consuming, publish, eventually, waiting
):
    running, most, handled, go_on = set(), [], [], asyncio.Event()

    async def handle(event):
        running.add(asyncio.current_task())
        most.append(len(running))
        await go_on.wait()
        running.discard(asyncio.current_task())
        handled.append(event.event_id)

    async def all_given_out():
        return await waiting(own_queue.name) == 0

    opened = Bus.open(wire.settings, "tests")
    async with opened as cuttable, consuming(own_queue, handle, through=cuttable, prefetch=2) as consumer:
        sent = [await publish(own_queue) for _ in range(2)]
        await eventually(lambda: len(running) == 2)
        wire.cut()
        await eventually(lambda: not consumer.ready.is_set())
        await eventually(consumer.ready.is_set)
        await eventually(all_given_out)
        go_on.set()
        await eventually(lambda: len(handled) == 4)

    assert max(most) == 2
    assert sorted(handled) == sorted(2 * [event.event_id for event in sent])


async def test_a_message_whose_connection_is_lost_before_its_turn_is_not_handled_for_it(
    own_queue, wire, quick_reconnects, consuming, publish, eventually, waiting
):
    """Whoever waits for a place loses it with the connection; the broker gives the message to the next."""
    started, go_on = [], asyncio.Event()

    async def handle(event):
        started.append(event)
        await go_on.wait()

    async def given_out():
        return await waiting(own_queue.name) == 0

    opened = Bus.open(wire.settings, "tests")
    async with opened as cuttable, consuming(own_queue, handle, through=cuttable, prefetch=1) as consumer:
        sent = await publish(own_queue)
        for _ in range(3):
            await eventually(given_out)
            wire.cut()
            await eventually(lambda: not consumer.ready.is_set())
            await eventually(consumer.ready.is_set)
        go_on.set()
        await eventually(lambda: len(started) == 2)

    assert started == [sent, sent]


async def test_a_consumer_comes_back_after_its_queue_was_deleted(
    own_queue, consuming, publish, eventually, channel, bus, quick_reconnects
):
    handled = []

    async def handle(event):
        handled.append(event)

    async with consuming(own_queue, handle) as consumer:
        await channel.queue_delete(own_queue.name)
        await eventually(lambda: not consumer.ready.is_set())
        await bus.declare()
        await eventually(consumer.ready.is_set)
        sent = await publish(own_queue)
        await eventually(lambda: handled)

    assert handled == [sent]


async def test_a_stop_finishes_what_is_in_hand(own_queue, consuming, publish, eventually, waiting):
    started, finished, go_on = [], [], asyncio.Event()

    async def handle(event):
        started.append(event)
        await go_on.wait()
        finished.append(event)

    async with consuming(own_queue, handle):
        sent = await publish(own_queue)
        await eventually(lambda: started)
        asyncio.get_running_loop().call_later(0.1, go_on.set)

    assert finished == [sent]
    assert await waiting(own_queue.name) == 0


async def test_what_does_not_finish_at_a_stop_comes_again(own_queue, consuming, publish, eventually, take):
    started = []

    async def handle(event):
        started.append(event)
        await asyncio.Event().wait()

    async with consuming(own_queue, handle, drain_seconds=0.1):
        sent = await publish(own_queue)
        await eventually(lambda: started)

    again = await take(own_queue.name)
    assert (json.loads(again.body)["event_id"], again.redelivered) == (str(sent.event_id), True)


async def test_what_is_cancelled_at_a_stop_may_still_clean_up(own_queue, consuming, publish, eventually):
    started, cleaned_up = [], []

    async def handle(event):
        started.append(event)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.1)
            cleaned_up.append(event)

    async with consuming(own_queue, handle, drain_seconds=0.1):
        sent = await publish(own_queue)
        await eventually(lambda: started)

    assert cleaned_up == [sent]


async def test_a_handler_that_does_not_end_when_cancelled_holds_up_no_stop(
    own_queue, consuming, publish, eventually, monkeypatch
):
    monkeypatch.setattr(bus_module, "CANCEL_SECONDS", 0.1)
    started, ended, go_on = [], [], asyncio.Event()

    async def handle(event):
        started.append(event)
        while not go_on.is_set():
            with suppress(asyncio.CancelledError):
                await go_on.wait()
        ended.append(event)

    async with consuming(own_queue, handle, drain_seconds=0.1):
        await publish(own_queue)
        await eventually(lambda: started)

    assert not ended
    go_on.set()
    await eventually(lambda: ended)


async def test_a_stop_without_a_connection_finishes_what_is_in_hand(own_queue, wire, consuming, publish, eventually):
    started, finished, go_on = [], [], asyncio.Event()

    async def handle(event):
        started.append(event)
        await go_on.wait()
        finished.append(event)

    opened = Bus.open(wire.settings, "tests")
    async with opened as cuttable, consuming(own_queue, handle, through=cuttable) as consumer:
        sent = await publish(own_queue)
        await eventually(lambda: started)
        wire.refuse()
        await eventually(lambda: not consumer.ready.is_set())
        asyncio.get_running_loop().call_later(0.1, go_on.set)

    assert finished == [sent]
