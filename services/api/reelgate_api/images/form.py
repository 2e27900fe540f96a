"""The one file of a multipart body, read into memory."""

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from reelgate_common.domain.errors import InvalidInput, TooLarge

FRAME_BYTES = 16 * 1024  # what may stand around the file: boundaries, names
_FIX = "send multipart/form-data with one part: the image, as a file named `file`"


class _Parser(MultiPartParser):
    # By default a file over 1 MiB goes to the disk, which may be read-only. BodyLimit bounds what comes.
    spool_max_size = 2**31 - 1


async def read_file(request: Request, *, max_bytes: int) -> bytes:
    """The bytes of the part `file`; InvalidInput unless it is the only part, TooLarge when it is over the limit."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise InvalidInput("file", f"file required: {_FIX}")
    try:
        form = await _Parser(request.headers, request.stream(), max_files=1, max_fields=0).parse()
    except (MultiPartException, UnicodeError):  # the latter for a charset nobody can decode
        raise InvalidInput("file", f"The form cannot be read: {_FIX}") from None
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise InvalidInput("file", f"file required: {_FIX}")
    if (file.size or 0) > max_bytes:
        raise TooLarge("file", f"file must be at most {max_bytes} bytes")
    return await file.read()
