"""The archive of jobs: a gzip file with one job a line, as JSON, and the deletion of exactly what such a file holds."""

import gzip
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from uuid import UUID

from reelgate_common import removal
from reelgate_common.db import Database

_AT_ONCE = 500  # a statement stays short, and what is locked is free again soon


class BadArchive(Exception):
    """The file is not whole, or no archive of ours; nothing was deleted."""


async def old_jobs(db: Database, *, before: datetime) -> AsyncIterator[str]:
    """A line for each finished job that may go and ended before this moment."""
    async for line in _pages(db, partial(removal.read_old, before=before)):
        yield line


async def jobs_of_wallet(db: Database, wallet: str) -> AsyncIterator[str]:
    """A line for each job of a wallet, however it stands."""
    async for line in _pages(db, partial(removal.read_of_wallet, wallet=wallet)):
        yield line


async def _pages(db: Database, read: Callable[..., Awaitable[list[tuple[UUID, str]]]]) -> AsyncIterator[str]:
    after = UUID(int=0)
    while True:
        async with db.connection() as connection:
            page = await read(connection, after=after, limit=_AT_ONCE)
        if not page:
            return
        for _, line in page:
            yield line
        after = page[-1][0]


async def prune(db: Database, path: Path) -> tuple[int, int]:
    """Delete the jobs of an archive; how many went, and how many it names.

    A job stays when something happened to it since, when it is not over, or is needed still: see `removal`. One that
    went before is not found, so this can be run again. BadArchive when the file cannot be read to its end.
    """
    named = sum(1 for _ in _jobs(path))  # first to the end: what is cut off shall cost nothing
    gone = 0
    jobs = _jobs(path)
    while batch := list(itertools.islice(jobs, _AT_ONCE)):
        async with db.transaction() as tx:
            gone += await removal.remove_archived(tx, batch)
    return gone, named


def _jobs(path: Path) -> Iterator[tuple[UUID, int]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                job = json.loads(line)["job"]
                yield UUID(job["id"]), int(job["version"])
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise BadArchive(f"{path} is no whole archive: {error or type(error).__name__}") from error
