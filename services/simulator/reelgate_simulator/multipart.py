"""Reads a multipart form: enough of it for one file and a few words."""

import re
from dataclasses import dataclass
from email.message import Message

_NAME = re.compile(rb'[; ]name="([^"]*)"', re.IGNORECASE)
_FILENAME = re.compile(rb'[; ]filename="([^"]*)"', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a form; `filename` only when it came with one."""

    content: bytes
    filename: str | None

    @property
    def text(self) -> str:
        """The content as text."""
        return self.content.decode("utf-8", "replace")


def read(content_type: str, raw: bytes) -> dict[str, Part] | None:
    """Return the fields by name, or None when this is no complete multipart form."""
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_boundary() if header.get_content_type() == "multipart/form-data" else None
    if not boundary:
        return None
    _, *pieces = (b"\r\n" + raw).split(b"\r\n--" + boundary.encode("utf-8", "replace"))
    if not pieces or not pieces[-1].startswith(b"--"):
        return None
    return dict(part for piece in pieces[:-1] if (part := _part(piece)))


def _part(piece: bytes) -> tuple[str, Part] | None:
    head, _, content = piece.partition(b"\r\n\r\n")
    name, filename = _NAME.search(head), _FILENAME.search(head)
    if name is None:
        return None
    return _text(name), Part(content, _text(filename) if filename else None)


def _text(found: re.Match[bytes]) -> str:
    return found[1].decode("utf-8", "replace")
