"""Cursors: what was given out leads back, what was not is refused."""

import contextlib
import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelgate_api import cursor
from reelgate_common.domain.errors import InvalidInput

ids = st.uuids()


@given(ids)
def test_a_cursor_leads_back_to_its_row_and_is_fit_for_a_url(row):
    given_out = cursor.encode(row)

    assert cursor.decode(given_out) == row
    assert re.fullmatch(r"[\w-]{22}", given_out, re.ASCII)


@given(ids, ids)
def test_two_rows_have_two_cursors(one, other):
    assert (cursor.encode(one) == cursor.encode(other)) == (one == other)


@given(st.text() | st.text("ABab01-_=", min_size=20, max_size=24) | ids.map(lambda row: cursor.encode(row) + "="))
def test_whatever_is_read_was_given_out(text):
    """And nothing else but InvalidInput comes of reading it."""
    with contextlib.suppress(InvalidInput):
        assert cursor.encode(cursor.decode(text)) == text


def test_the_same_bytes_spelt_another_way_are_refused():
    with pytest.raises(InvalidInput):
        cursor.decode(cursor.encode(UUID(int=0))[:-1] + "B")
