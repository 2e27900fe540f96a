"""Tells by a file's bytes whether it is an image Kie.ai takes, and how large a picture it holds.

Only headers are read, and the mark of the end is looked for: nothing is decoded, so no file can make us unpack
more than was sent. That is why no imaging library is used here; the tests hold this against one.
"""

import re
import zlib
from dataclasses import dataclass

from reelgate_common.domain.errors import InvalidInput

# Far above what any model looks at; a small file can claim gigapixels, which whoever decodes it must pay for.
_MAX_SIDE = 16_384
_MAX_PIXELS = 100_000_000
_MAX_SEGMENTS = 2_000  # before a JPEG's picture; profiles and metadata take a few hundred at most

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_JPEG = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"
_JPEG_SEGMENT = re.compile(rb"\xff+([\xc0-\xcf\xda-\xfe])(..)", re.DOTALL)
_JPEG_FRAMES = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended, progressive: what decoders read
_JPEG_SCAN = 0xDA
_WEBP = re.compile(rb"RIFF....WEBP", re.DOTALL)
_WEBP_PICTURE = re.compile(rb"VP8[ L]|ANMF")

Size = tuple[int, int]


@dataclass(frozen=True)
class Image:
    """What a file turned out to be."""

    media_type: str
    extension: str
    width: int
    height: int


def inspect(file: bytes) -> Image:
    """Judge a file by its bytes alone; InvalidInput, naming the fix, for all but a whole JPEG, PNG or WebP."""
    if file.startswith(_PNG):
        kind, extension, size = "PNG", "png", _png(file)
    elif file.startswith(_JPEG):
        kind, extension, size = "JPEG", "jpg", _jpeg(file)
    elif _WEBP.match(file):
        kind, extension, size = "WebP", "webp", _webp(file)
    else:
        raise InvalidInput("file", "file must be a JPEG, PNG or WebP image: its bytes are not")
    if size is None:
        raise InvalidInput("file", f"file is a {kind} that is cut short or damaged: save or send it again")
    width, height = size
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE and width * height <= _MAX_PIXELS):
        raise InvalidInput(
            "file",
            f"file is {width} x {height} pixels: send 1 to {_MAX_SIDE} a side, and at most {_MAX_PIXELS} in all",
        )
    return Image(f"image/{kind.lower()}", extension, width, height)


def _png(file: bytes) -> Size | None:
    is_header = file[8:16] == b"\x00\x00\x00\x0dIHDR" and zlib.crc32(file[12:29]) == int.from_bytes(file[29:33])
    picture = file.find(b"IDAT", 33)
    if not is_header or picture < 0 or file.find(_PNG_END, picture) < 0:
        return None
    return int.from_bytes(file[16:20]), int.from_bytes(file[20:24])


def _jpeg(file: bytes) -> Size | None:
    size, at = None, 2
    for _ in range(_MAX_SEGMENTS):
        segment = _JPEG_SEGMENT.match(file, at)
        if segment is None or (length := int.from_bytes(segment[2])) < 2:
            return None
        marker, body = segment[1][0], segment.end()
        if marker == _JPEG_SCAN:  # cameras append more after the end, and a thumbnail before has an end of its own
            return size if file.find(_JPEG_END, body) >= 0 else None
        if marker in _JPEG_FRAMES:
            size = int.from_bytes(file[body + 3 : body + 5]), int.from_bytes(file[body + 1 : body + 3])
        at = body + length - 2
    return None


def _webp(file: bytes) -> Size | None:
    end = 8 + int.from_bytes(file[4:8], "little")
    if not 30 <= end <= len(file):
        return None
    first, content = file[12:16], file[20:30]
    if first == b"VP8 " and content[3:6] == b"\x9d\x01\x2a":
        return int.from_bytes(content[6:8], "little") & 0x3FFF, int.from_bytes(content[8:10], "little") & 0x3FFF
    if first == b"VP8L" and content[0] == 0x2F:
        bits = int.from_bytes(content[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if first == b"VP8X" and _WEBP_PICTURE.search(file, 30, end):
        return int.from_bytes(content[4:7], "little") + 1, int.from_bytes(content[7:10], "little") + 1
    return None
