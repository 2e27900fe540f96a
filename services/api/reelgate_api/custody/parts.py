"""Which part of a file somebody asks for (RFC 9110, section 14): one range or none, and only of the file he knows."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_ONE_RANGE = re.compile(r"bytes=(\d*)-(\d*)")  # several would be an answer in parts: those get the whole


@dataclass(frozen=True)
class Part:
    """The bytes from `first` to `last`, both included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """How many."""
        return self.last - self.first + 1


class NoSuchBytes(Exception):
    """The file ends before."""


def asked_for(headers: Mapping[str, str], *, size: int, etag: str) -> Part | None:
    """The part; None for the whole file. NoSuchBytes when it has no such part."""
    found = _ONE_RANGE.fullmatch(headers.get("Range", ""))
    if found is None or found[0] == "bytes=-" or headers.get("If-Range", etag) != etag:
        return None
    if not found[1]:  # the last so many
        first, last = max(0, size - int(found[2])), size - 1
    else:
        first, last = int(found[1]), min(int(found[2] or size), size - 1)
        if found[2] and int(found[2]) < first:
            return None
    if first >= size or first > last:
        raise NoSuchBytes
    return Part(first, last)
