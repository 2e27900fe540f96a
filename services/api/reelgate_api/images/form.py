"""The one file of a multipart body, read into memory."""

import math

from fastapi import Request
from python_multipart import FormParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, parse_options_header

from reelgate_common.domain.errors import InvalidInput, TooLarge

FRAME_BYTES = 16 * 1024  # what may stand around the file: boundaries, names
_FIX = "send multipart/form-data with one part: the image, as a file named `file`"
# The disk may be read-only, and BodyLimit bounds what comes; FastAPI's own parser spools past 1 MiB.
_IN_MEMORY = {"MAX_MEMORY_FILE_SIZE": math.inf}


async def read_file(request: Request, *, max_bytes: int) -> bytes:
    """The bytes of the part `file`; InvalidInput unless it is the only part, TooLarge when it is over the limit."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise InvalidInput("file", f"file required: {_FIX}")
    try:
        parts = await _read(request, boundary=boundary)
    except FormParserError:
        raise InvalidInput("file", f"The form cannot be read: {_FIX}") from None
    if len(parts) != 1 or not isinstance(parts[0], File) or parts[0].field_name != b"file":
        raise InvalidInput("file", f"file required: {_FIX}")
    if parts[0].size > max_bytes:
        raise TooLarge("file", f"file must be at most {max_bytes} bytes")
    parts[0].file_object.seek(0)
    return parts[0].file_object.read()


async def _read(request: Request, *, boundary: bytes) -> list[Field | File]:
    """The parts of the form, to a few past the first."""
    parts: list[Field | File] = []
    parser = FormParser("multipart/form-data", parts.append, parts.append, boundary=boundary, config=_IN_MEMORY)
    async for chunk in request.stream():
        parser.write(chunk)
        if len(parts) > 1:
            break
    parser.finalize()
    return parts
