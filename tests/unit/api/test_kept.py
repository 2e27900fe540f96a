"""Values looked up for everybody at once."""

import asyncio

import pytest

from reelgate_api.operations.kept import Kept


@pytest.fixture
def looks():
    """Each look, and what it found."""
    return []


@pytest.fixture
def make_kept(looks):
    def make(*, seconds):
        async def look():
            await asyncio.sleep(0)
            looks.append(len(looks) + 1)
            if looks[-1] == 3:
                raise ConnectionError
            return looks[-1]

        return Kept(look, seconds=seconds)

    return make


async def test_many_who_ask_at_once_are_answered_by_one_look(make_kept, looks):
    kept = make_kept(seconds=3600)

    answers = await asyncio.gather(*(kept.get() for _ in range(10)))

    assert (answers, looks) == ([1] * 10, [1])


async def test_what_is_too_old_is_looked_up_again(make_kept):
    kept = make_kept(seconds=-1)

    assert [await kept.get(), await kept.get()] == [1, 2]


async def test_what_was_forgotten_is_looked_up_again(make_kept):
    kept = make_kept(seconds=3600)
    first = await kept.get()

    kept.forget()

    assert (first, await kept.get()) == (1, 2)


async def test_a_look_that_fails_is_not_kept(make_kept):
    kept = make_kept(seconds=-1)
    await kept.get()
    await kept.get()

    with pytest.raises(ConnectionError):
        await kept.get()

    assert await kept.get() == 4
