"""Files handed over by clients: kept in memory, served back until they expire."""

import mimetypes
import re
import secrets
import time
from dataclasses import dataclass
from typing import Final

ROOT: Final = "kieai"  # the first folder of every upload
ACCOUNT: Final = "100001"
IMAGES: Final = ("image/jpeg", "image/png", "image/webp")  # what the vendor makes videos of
_BEGINNINGS: Final = (
    ("image/jpeg", re.compile(rb"\xff\xd8\xff")),
    ("image/png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("image/webp", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("image/gif", re.compile(rb"GIF8[79]a")),
    ("video/mp4", re.compile(rb"....ftyp", re.DOTALL)),
)
_PART: Final = re.compile(r"[^/\\\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file, as it came."""

    content: bytes
    media_type: str
    stored_at: float  # epoch seconds


class FileStore:
    """The file host's files by their path below ROOT."""

    def __init__(self) -> None:
        self._files: dict[str, StoredFile] = {}

    def put(self, folder: str, name: str, content: bytes, *, lifetime: float) -> tuple[str, StoredFile]:
        """Store a file and return its path; one of the same path is replaced, expired ones are dropped."""
        self._files = {path: file for path, file in self._files.items() if _is_alive(file, lifetime)}
        path = f"{ACCOUNT}/{folder}/{name}"
        self._files[path] = file = StoredFile(content, media_type_of(content, name), time.time())
        return path, file

    def get(self, path: str, lifetime: float) -> StoredFile | None:
        """Return a file that has not expired."""
        file = self._files.get(path)
        return file if file and _is_alive(file, lifetime) else None

    def is_image(self, path: str, lifetime: float) -> bool:
        """Whether a video could be made of this file."""
        file = self.get(path, lifetime)
        return file is not None and file.media_type in IMAGES


def clean(path: str) -> str | None:
    """Return a path without slashes at its ends, or None when it is none."""
    parts = path.strip("/").split("/")
    are_good = all(_PART.fullmatch(part) and part not in {".", ".."} for part in parts)
    return "/".join(parts) if are_good else None


def random_name(media_type: str) -> str:
    """Return a name for a file that came without one: milliseconds, letters, the usual ending."""
    return f"{int(time.time() * 1000)}-{secrets.token_hex(4)}{mimetypes.guess_extension(media_type) or ''}"


def media_type_of(content: bytes, name: str) -> str:
    """Return what a file is: by how it begins, else by its name."""
    for media_type, beginning in _BEGINNINGS:
        if beginning.match(content):
            return media_type
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _is_alive(file: StoredFile, lifetime: float) -> bool:
    return time.time() - file.stored_at < lifetime
