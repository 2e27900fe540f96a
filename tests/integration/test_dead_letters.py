"""Messages put aside: kept whole, looked at, sent back, dropped."""

import aio_pika
import pytest

from reelgate_common import parked, topology

COUNTED = {"x-delivery-count", "x-acquired-count"}  # the broker's, on every delivery


@pytest.fixture
def park(channel):
    """Put a message aside as the consumer would."""

    async def put(message_id: str, *, queue=topology.JOB_FAILED.name, headers=None, **others) -> None:
        kept = parked.headers_of(queue=queue, reason="too many rounds", original=headers)
        message = aio_pika.Message(b"{}", message_id=message_id, headers=kept | others)
        await channel.default_exchange.publish(message, topology.PARKED)

    return put


@pytest.fixture
def replayed(broker, take):
    """Send everything back; body and headers of the message that comes to a queue then."""

    async def replay(queue=topology.JOB_FAILED.name):
        done = await parked.replay(broker, wanted=lambda _: True, limit=10)
        assert done == parked.Replayed(1, ())
        message = await take(queue)
        return message.body, {name: value for name, value in message.headers.items() if name not in COUNTED}

    return replay


@pytest.fixture
def crashing(consuming):
    """Handle the messages of a queue inside the block, each time in vain."""

    async def handle(event):
        raise ValueError("broken")

    return lambda queue: consuming(queue, handle)


@pytest.fixture
def all_parked(broker, eventually):
    """Return what is parked, as soon as something is."""

    async def listed():
        return await eventually(lambda: parked.listed(broker, limit=10))

    return listed


def rounds(seen):
    """How often a parked message had been rejected, by the headers kept."""
    return sum(death["count"] for death in seen.headers["x-death"] if death["reason"] == "rejected")


async def test_looking_at_parked_messages_leaves_them_parked(broker, park):
    await park("one")

    for _ in range(3):
        [seen] = await parked.listed(broker, limit=10)

    assert (seen.message_id, seen.queue, seen.reason) == ("one", topology.JOB_FAILED.name, "too many rounds")


async def test_a_replayed_message_goes_back_to_its_queue(broker, park, take):
    await park("one")
    await park("two")

    done = await parked.replay(broker, wanted=lambda message: message.message_id == "two", limit=10)

    returned = await take(topology.JOB_FAILED.name)
    assert (done, returned.message_id) == (parked.Replayed(1, ()), "two")
    assert [message.message_id for message in await parked.listed(broker, limit=10)] == ["one"]


async def test_a_dropped_message_is_gone(broker, park):
    await park("one")
    await park("two")

    assert await parked.drop(broker, wanted=lambda message: message.message_id == "one", limit=10) == 1

    assert [message.message_id for message in await parked.listed(broker, limit=10)] == ["two"]


async def test_a_parked_message_keeps_its_headers_and_gets_them_back(
    own_queue, crashing, publish, all_parked, replayed
):
    own = {"traceparent": "00-4bf9", "tries": 3, "share": 0.5, "nested": {"list": [1, "two", None]}, "ja": True}

    async with crashing(own_queue):
        await publish(own_queue, headers=own)
        [seen] = await all_parked()

    assert own.items() <= seen.headers.items()
    assert own_queue.name in {death["queue"] for death in seen.headers["x-death"]}
    _, headers = await replayed(own_queue.name)
    assert headers == own


async def test_a_replayed_message_has_all_its_rounds_again(own_queue, crashing, publish, all_parked, broker):
    async with crashing(own_queue):
        await publish(own_queue, headers={"kept": "yes"})
        [first] = await all_parked()
        await parked.replay(broker, wanted=lambda _: True, limit=10)
        [again] = await all_parked()

    assert [rounds(seen) for seen in (first, again)] == [topology.MAX_ROUNDS, topology.MAX_ROUNDS]
    assert again.headers["kept"] == "yes"


async def test_what_the_broker_acts_on_is_not_put_back(park, replayed, waiting):
    """A `CC` would send a copy to another queue, an `x-death` would count old rounds."""
    acted_on = {"CC": [topology.JOB_CANCELED.name], "BCC": [topology.JOB_CANCELED.name], "x-death": [{"count": 8}]}
    told = {"x-first-death-queue": "q", "x-last-death-reason": "rejected", "x-delivery-count": 3, "x-parked-from": "q"}
    await park("one", headers={"own": "1", **acted_on, **told})

    _, headers = await replayed()

    assert headers == {"own": "1"}
    assert await waiting(topology.JOB_CANCELED.name) == 0


async def test_headers_that_are_too_long_are_left_out_and_the_message_is_not(
    own_queue, consuming, publish, all_parked, replayed
):
    async def handle(event):
        raise AssertionError("must not be handled")

    async with consuming(own_queue, handle):
        await publish(own_queue, b"not a message", headers={"long": "x" * 16 * 1024})
        [seen] = await all_parked()

    assert (seen.headers, seen.body) == (None, "not a message")
    assert await replayed(own_queue.name) == (b"not a message", {})


async def test_headers_json_has_no_word_for_are_kept_as_text(park, all_parked):
    await park("one", headers={"bytes": b"\xc3\xa4\xff", "letters": "äöü"})

    [seen] = await all_parked()

    assert seen.headers == {"bytes": "ä\ufffd", "letters": "äöü"}


@pytest.mark.parametrize("kept", ["not json", "[]", 7])
async def test_kept_headers_that_are_none_hide_no_message(park, all_parked, replayed, kept):
    await park("one", **{"x-parked-headers": kept})

    [seen] = await all_parked()

    assert seen.headers is None
    assert await replayed() == (b"{}", {})


async def test_what_its_queue_does_not_take_stays_parked_and_stops_no_other(broker, park):
    await park("nowhere", queue="no.such.queue")
    await park("unnamed", queue="")
    await park("one")

    done = await parked.replay(broker, wanted=lambda _: True, limit=10)

    assert (done.count, [message.message_id for message in done.refused]) == (1, ["nowhere", "unnamed"])
    assert [message.message_id for message in await parked.listed(broker, limit=10)] == ["nowhere", "unnamed"]
