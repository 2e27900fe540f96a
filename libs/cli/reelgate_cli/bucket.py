"""The doctor's look at the bucket that videos are kept in: does what custody does, with a small file of its own."""

import secrets
from collections.abc import AsyncIterator

import httpx

from reelgate_cli.findings import Found, bad, doubtful, good
from reelgate_common.custody.store import BucketAway, Store
from reelgate_common.domain.errors import Expired
from reelgate_common.settings import CustodySettings, load

_WHAT = "bucket"
_FIX = "check CUSTODY_URL and the credentials: they must allow to write, read and delete"
_SECONDS = 10
_SIGNED_SECONDS = 60


async def look() -> AsyncIterator[Found]:
    """Write, read, sign, delete."""
    url = load(CustodySettings).custody_url
    if url is None:
        yield good(_WHAT, "none: videos end at Kie.ai, after 14 days at most (CUSTODY_URL)")
        return
    try:
        async with Store.opened(url) as store:
            for found in await _try(store, url):
                yield found
    except (ValueError, BucketAway, Expired) as error:
        yield bad(_WHAT, f"{url}: {error}", _FIX)


async def _try(store: Store, url: str) -> list[Found]:
    key, text = f"doctor-{secrets.token_hex(8)}", secrets.token_bytes(16)
    await store.put(key, _once(text))
    try:
        same = await _read(store, key, len(text)) == text
        signed = await _signed(store, key)
    finally:
        await store.delete(key)
    if not same:
        return [bad(_WHAT, f"{url} gives back something else than was written", "is it really a bucket?")]
    return [good(_WHAT, f"{url} can be written, read and deleted"), *signed]


async def _once(text: bytes) -> AsyncIterator[bytes]:
    yield text


async def _read(store: Store, key: str, size: int) -> bytes:
    return b"".join([chunk async for chunk in await store.read(key, 0, size - 1)])


async def _signed(store: Store, key: str) -> list[Found]:
    """As a caller would come whom CUSTODY_LINK_SECONDS sends to the bucket; asked from here."""
    url = await store.sign(key, seconds=_SIGNED_SECONDS)
    if url is None:
        return []
    fix = "leave CUSTODY_LINK_SECONDS at 0 if callers cannot reach the bucket either"
    try:
        async with httpx.AsyncClient(timeout=_SECONDS) as http:
            status = (await http.get(url)).status_code
    except httpx.HTTPError as error:
        return [doubtful("signed addresses", f"not reachable from here: {error}", fix)]
    if status != 200:
        return [doubtful("signed addresses", f"the bucket answers {status}", fix)]
    return [good("signed addresses", "lead to the file")]
