"""Pages of a list, and where the next one begins, in a form callers take as it is and hand back."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID

from reelgate_common.domain.errors import InvalidInput

Row = TypeVar("Row")


def encode(last: UUID) -> str:
    """The cursor that stands behind the row with this id."""
    return base64.urlsafe_b64encode(last.bytes).decode().rstrip("=")


def decode(cursor: str) -> UUID:
    """The id a cursor stands behind; InvalidInput for what `encode` never made."""
    try:
        last = UUID(bytes=base64.urlsafe_b64decode(cursor + "=="))
    except (binascii.Error, ValueError):
        last = None
    if last is None or encode(last) != cursor:
        raise InvalidInput("cursor", "cursor must be the next_cursor of an earlier answer")
    return last


def first(found: Sequence[Row], limit: int, *, id_of: Callable[[Row], UUID]) -> tuple[list[Row], str | None]:
    """A page of what was found with a limit one higher, and the cursor of the next page, if there is one."""
    page = list(found[:limit])
    return page, encode(id_of(page[-1])) if len(found) > limit else None
