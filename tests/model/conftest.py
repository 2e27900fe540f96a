"""Worlds to explore, each one wallet of the same database: the ones before it are at rest."""

import logging
from functools import partial

import asyncpg
import pytest
import pytest_asyncio
import structlog

pytest.register_assert_rewrite("promises", "worlds")

import worlds  # noqa: E402 -- after its assertions were registered

from reelgate_api.accepting import handlers as accepting  # noqa: E402
from reelgate_common import slots  # noqa: E402
from reelgate_common.db import Database  # noqa: E402
from reelgate_common.settings import PostgresSettings  # noqa: E402
from reelgate_submitter import handlers as submitter  # noqa: E402


@pytest.fixture
def quiet():
    """Thousands of runs would write hundreds of thousands of lines."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest_asyncio.fixture
async def begin(database_url, quiet, monkeypatch):
    """Begin a world: `begin(history, kinds, truth=…, late=…)`."""
    monkeypatch.setattr(submitter, "_RECORD_RETRY_SECONDS", 0)
    monkeypatch.setattr(accepting, "_BETWEEN_TRIES_SECONDS", 0)
    observer = await asyncpg.connect(database_url)
    async with Database.open(PostgresSettings(database_url=database_url)) as db:
        async with db.transaction() as tx:  # that every run takes the same steps
            await slots.SENDS.take(tx, count=20, seconds=0)
            await slots.QUERIES.take(tx, count=1000, seconds=0)
        yield partial(worlds.begin, db, observer)
    await observer.close()
