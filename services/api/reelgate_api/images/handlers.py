"""Use case: hand a caller's image to Kie.ai's file host."""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from reelgate_api.images import content
from reelgate_api.images.content import Image
from reelgate_common.auth import Caller
from reelgate_common.domain.errors import InvalidInput, Unavailable
from reelgate_common.domain.job import SendOutcome
from reelgate_common.kie.client import KieClient

log = structlog.get_logger(__name__)

_FOLDER = "reelgate"
_KEPT = timedelta(hours=24)  # the shortest time that Kie.ai's pages name; others say three days
_URL = re.compile(r"\w+://\S+")


@dataclass(frozen=True, kw_only=True)
class HandedOver:
    """Where an image can be fetched, until when, and what it is."""

    url: str
    media_type: str
    size: int
    width: int
    height: int
    expires_at: datetime


async def hand_over(file: bytes, *, caller: Caller, kie: KieClient) -> HandedOver:
    """Check an image and give it to the file host; again is harmless, it replaces the file by itself.

    InvalidInput when it is no image or the host refuses it, Unavailable when the host gave no clear answer.
    """
    image = content.inspect(file)
    expires_at = datetime.now(UTC) + _KEPT
    name = _name(file, image, owner=caller.owner or "anyone")
    upload = await kie.upload(file, path=_FOLDER, name=name, media_type=image.media_type)
    if upload.url is None:
        log.warning("image_not_handed_over", outcome=upload.outcome, code=upload.code, message=upload.message)
        if upload.outcome is SendOutcome.REFUSED:
            raise InvalidInput("file", f"Kie.ai does not take this image: {_without_urls(upload.message)}")
        raise Unavailable(f"the file host took no image: {upload.outcome}")
    log.info("image_handed_over", media_type=image.media_type, size=len(file))
    return HandedOver(
        url=upload.url,
        media_type=image.media_type,
        size=len(file),
        width=image.width,
        height=image.height,
        expires_at=expires_at,
    )


def _name(file: bytes, image: Image, *, owner: str) -> str:
    """The same for the same owner and file; who does not know the owner's id cannot ask whether it is there."""
    digest = hashlib.sha256(f"{owner}:".encode())
    digest.update(file)
    return f"{digest.hexdigest()[:40]}.{image.extension}"


def _without_urls(sentence: str | None) -> str:
    """The vendor's sentence without addresses, which are between us and it."""
    return _URL.sub("(address)", sentence or "no reason given")
