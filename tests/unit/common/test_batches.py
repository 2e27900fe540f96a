"""Requests that come together are acted on together, and none pays for another."""

import asyncio
from contextvars import ContextVar

import pytest

from reelgate_common import batches
from reelgate_common.batches import Batches
from reelgate_common.domain.errors import Busy, Overloaded, Unavailable


class Held:
    """Something that is done to many at once, and stands still until it is let go on; doubles what it is given."""

    def __init__(self, *errors):
        self.seen = []
        self.errors = list(errors)
        self.began = asyncio.Queue()
        self.go = asyncio.Event()

    async def __call__(self, arguments):
        self.seen.append(list(arguments))
        self.began.put_nowait(None)
        await self.go.wait()
        for bad, error in self.errors:
            if bad in arguments:
                raise error
        return [2 * one for one in arguments]


async def gathered(batch, arguments):
    return await asyncio.gather(*(batch(one) for one in arguments), return_exceptions=True)


async def test_one_alone_waits_for_nobody():
    held = Held()
    held.go.set()

    assert await Batches(held, name="tests")(1) == 2
    assert held.seen == [[1]]


async def test_those_who_come_meanwhile_are_next_together_in_order():
    held = Held()
    batch = Batches(held, name="tests")
    first = asyncio.create_task(batch(0))
    await held.began.get()

    others = [asyncio.create_task(batch(n)) for n in range(1, 9)]
    await asyncio.sleep(0)
    held.go.set()

    assert await first == 0
    assert await asyncio.gather(*others) == [2 * n for n in range(1, 9)]
    assert held.seen == [[0], list(range(1, 9))]


async def test_no_batch_is_larger_than_a_statement_should_be():
    held = Held()
    held.go.set()

    await gathered(Batches(held, name="tests"), range(250))

    assert [len(one) for one in held.seen] == [100, 100, 50]


async def test_an_error_of_one_is_no_reason_to_fail_the_others():
    held = Held((2, Busy("locked")))
    held.go.set()

    results = await gathered(Batches(held, name="tests", of_one=lambda error: isinstance(error, Busy)), [1, 2, 3])

    assert [results[0], results[2]] == [2, 6]
    assert isinstance(results[1], Busy)
    assert held.seen == [[1, 2, 3], [1], [2], [3]]


async def test_an_error_of_all_is_told_to_all_and_not_repeated_for_each():
    held = Held((2, Unavailable("away")))
    held.go.set()

    results = await gathered(Batches(held, name="tests", of_one=lambda error: isinstance(error, Busy)), [1, 2, 3])

    assert all(isinstance(one, Unavailable) for one in results)
    assert held.seen == [[1, 2, 3]]


async def test_work_goes_on_after_an_error():
    held = Held((1, Unavailable("away")))
    held.go.set()
    batch = Batches(held, name="tests")

    with pytest.raises(Unavailable):
        await batch(1)

    assert await batch(2) == 4


async def test_the_work_of_a_caller_who_left_is_done_all_the_same():
    held = Held()
    batch = Batches(held, name="tests")
    leaver = asyncio.create_task(batch(1))
    await held.began.get()
    stayer = asyncio.create_task(batch(2))
    late_leaver = asyncio.create_task(batch(3))
    await asyncio.sleep(0)

    leaver.cancel()
    late_leaver.cancel()
    held.go.set()

    assert await stayer == 4
    assert held.seen == [[1], [2, 3]]
    assert leaver.cancelled()
    assert late_leaver.cancelled()


async def test_too_many_are_refused_at_once(monkeypatch):
    monkeypatch.setattr(batches, "_MOST_WAITING", 2)
    held = Held()
    batch = Batches(held, name="tests")
    first = asyncio.create_task(batch(1))
    await held.began.get()
    waiting = [asyncio.create_task(batch(n)) for n in (2, 3)]
    await asyncio.sleep(0)

    with pytest.raises(Overloaded):
        await batch(4)

    held.go.set()
    assert await first == 2
    assert await asyncio.gather(*waiting) == [4, 6]


async def test_who_waited_too_long_is_told_while_the_work_before_still_hangs(monkeypatch):
    monkeypatch.setattr(batches, "_PATIENCE_SECONDS", 0.05)
    held = Held()
    batch = Batches(held, name="tests")
    first = asyncio.create_task(batch(1))
    await held.began.get()

    with pytest.raises(Overloaded):
        await batch(2)
    with pytest.raises(Overloaded):
        await batch(3)

    held.go.set()
    assert await first == 2
    assert await batch(4) == 8
    assert held.seen == [[1], [4]]


async def test_an_answer_too_few_is_told_to_all():
    async def forget(arguments):
        return arguments[1:]

    results = await gathered(Batches(forget, name="tests"), [1, 2, 3])

    assert all(isinstance(one, ValueError) for one in results)


async def test_what_is_done_for_many_is_done_in_the_context_of_none():
    request_id = ContextVar("request_id", default=None)
    found = []

    async def look(arguments):
        found.append(request_id.get())
        return arguments

    request_id.set("mine")
    await Batches(look, name="tests")(1)

    assert found == [None]
