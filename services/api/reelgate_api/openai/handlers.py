"""Use cases of the OpenAI format: create once however often it is repeated, list, delete, fetch."""

import hashlib
import re
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from reelgate_api.accepting import handlers as accepting
from reelgate_api.accepting.handlers import Accepted, Acceptor, Store
from reelgate_api.accepting.repository import NewJob
from reelgate_api.images import handlers as images
from reelgate_api.jobs.repository import Filter, list_jobs
from reelgate_api.openai import repository
from reelgate_common import jobs
from reelgate_common.auth import Caller
from reelgate_common.custody import deletion
from reelgate_common.db import Database
from reelgate_common.domain.errors import InvalidInput, NotFinished, NotFound, TooLarge
from reelgate_common.domain.job import Job
from reelgate_common.domain.request import VideoRequest
from reelgate_common.kie.client import KieClient

# Ten minutes, and a little: that is how long OpenAI's clients wait for an answer, and they pause before a retry.
_RETRIES_COME_WITHIN = timedelta(minutes=11)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """Which of a client's attempts at one request this is: nothing else tells a retry from a new request."""

    retry: int  # 0: the original
    arrived: float  # on the monotonic clock


async def hand_over(
    request: VideoRequest, file: bytes, *, max_bytes: int, caller: Caller, kie: KieClient
) -> VideoRequest:
    """The request with its image where Kie.ai can fetch it; InvalidInput when it is no image."""
    if len(file) > max_bytes:
        raise TooLarge("input_reference", f"input_reference must be at most {max_bytes} bytes")
    try:
        handed = await images.hand_over(file, caller=caller, kie=kie)
    except InvalidInput as error:
        raise InvalidInput("input_reference", re.sub("^file ", "input_reference ", str(error))) from None
    return replace(request, image_urls=(handed.url,))


def hash_request(request: VideoRequest, file: bytes | None) -> bytes:
    """The same for the same fields. A file counts by its content: where it will be may differ."""
    if file is None:
        return accepting.hash_request(request)
    return accepting.hash_request(replace(request, image_urls=(f"sha256:{hashlib.sha256(file).hexdigest()}",)))


async def create(
    request: VideoRequest,
    attempt: Attempt,
    *,
    request_hash: bytes,
    key: str | None,
    caller: Caller,
    db: Database,
    acceptor: Acceptor,
) -> Accepted:
    """Accept a job, as `accept` does. Without a key, a retry finds the job of the request that it repeats."""
    store = _store_once(attempt, db=db, acceptor=acceptor) if key is None else None
    return await acceptor.accept(request, key=key, caller=caller, request_hash=request_hash, store=store)


def _store_once(attempt: Attempt, *, db: Database, acceptor: Acceptor) -> Store:
    """Store unless it is a retry whose original came, or an original whose retry was faster.

    Two originals never are the same, equal as they may be: somebody wants two videos.
    """

    async def store(new: NewJob) -> Accepted:
        owner, asked = new.owner, new.request_hash
        async with db.transaction() as tx:
            await repository.lock_same(tx, owner, asked, alone=attempt.retry > 0)
            if attempt.retry:
                earlier = await repository.match_retry(
                    tx, owner, asked, retry=attempt.retry, within=_RETRIES_COME_WITHIN
                )
            else:
                waited = timedelta(seconds=time.monotonic() - attempt.arrived)
                earlier = await repository.match_late_original(tx, owner, asked, waited=waited)
            if earlier:
                return Accepted(earlier, replayed=earlier != new.id)
            accepted = await acceptor.accept_on(tx, new)
            await repository.remember(tx, new.id, owner, asked, retry=attempt.retry)
            return accepted

    return store


async def get(video_id: str, *, caller: Caller, db: Database) -> Job:
    """A video of the caller; NotFound also for other people's, deleted ones and what is no id."""
    async with db.connection() as connection:
        job = await repository.find_video(connection, _parse(video_id), wallets=caller.wallets)
    if job is None:
        raise NotFound("Video not found")
    return job


def _parse(video_id: str) -> UUID:
    try:
        return UUID(video_id)
    except ValueError:
        raise NotFound("Video not found") from None


@dataclass(frozen=True)
class Page:
    """Some videos in order, and whether others follow."""

    jobs: list[Job]
    has_more: bool


async def list_videos(*, after: UUID | None, newest_first: bool, limit: int, caller: Caller, db: Database) -> Page:
    """The caller's videos behind `after`, which need not be there any more."""
    async with db.connection() as connection:
        found = await list_jobs(
            connection,
            Filter(wallets=caller.wallets, hidden_too=False),
            after=after,
            newest_first=newest_first,
            limit=limit + 1,
        )
    return Page(found[:limit], has_more=len(found) > limit)


async def delete(video_id: str, *, is_retry: bool, caller: Caller, db: Database) -> UUID:
    """Delete a finished video, and show it no more; NotFinished for others. A retry may find its work done."""
    job_id = _parse(video_id)
    async with db.transaction() as tx:
        job = await repository.find_video(tx, job_id, wallets=caller.wallets, also_hidden=is_retry)
        if job is None:
            raise NotFound("Video not found")
        if not job.status.is_final:
            raise NotFinished("The video is still being made: it can be deleted when it is completed or failed")
        await deletion.delete(tx, job_id, by="api", reason="deleted on request")
        if await repository.hide(tx, job_id):
            await jobs.note(tx, job_id, step="hidden", by="api")
    return job_id
