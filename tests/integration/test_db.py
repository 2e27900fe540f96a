"""The pool: what a crash, a cancellation and a database that is away leave behind."""

import asyncio

import asyncpg
import pytest

from reelgate_common.db import Database
from reelgate_common.domain.errors import Unavailable
from reelgate_common.settings import PostgresSettings


@pytest.fixture
async def narrow(database_url):
    """A database of one connection, so that what one user leaves behind the next one meets."""
    settings = PostgresSettings(database_url=database_url, database_pool_size=1, database_acquire_seconds=2)
    async with Database.open(settings) as opened:
        yield opened


async def works(db):
    async with db.transaction() as tx:
        return await tx.fetchval("SELECT 1") == 1


async def test_an_exception_rolls_everything_back(narrow):
    async def work():
        async with narrow.transaction() as tx:
            await tx.execute("INSERT INTO credits (wallet_address) VALUES ('w')")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await work()

    async with narrow.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM credits") == 0


async def test_a_cancelled_transaction_leaves_a_clean_connection(narrow):
    async def work():
        async with narrow.transaction() as tx:
            await tx.execute("INSERT INTO credits (wallet_address) VALUES ('w')")
            await tx.execute("SELECT pg_sleep(0.002)")
            raise ValueError("rolls back")

    for step in range(60):
        task = asyncio.create_task(work())
        await asyncio.sleep(step / 5000)
        task.cancel()
        await asyncio.wait({task})
        assert await works(narrow)

    async with narrow.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM credits") == 0


async def test_a_statement_that_takes_too_long_is_unavailable(database_url):
    settings = PostgresSettings(database_url=database_url, database_command_seconds=0.2)
    async with Database.open(settings) as db:
        with pytest.raises(Unavailable):
            async with db.transaction() as tx:
                await tx.execute("SELECT pg_sleep(10)")

        assert await works(db)


async def test_a_pool_that_is_used_up_is_unavailable(database_url):
    settings = PostgresSettings(database_url=database_url, database_pool_size=1, database_acquire_seconds=0.1)
    async with Database.open(settings) as db, db.transaction():
        with pytest.raises(Unavailable):
            await db.ping()


async def test_cut_connections_are_replaced(narrow, stored):
    assert await works(narrow)
    await stored.run(
        """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()
        """
    )

    for _ in range(3):
        try:
            assert await works(narrow)
            break
        except Unavailable:
            continue
    assert await works(narrow)


async def test_a_table_that_an_upgrade_changed_is_read_anew_by_the_next_try(narrow, stored):
    """A plan made before is refused then, once: to be tried again, and no mistake of ours."""

    async def look():
        async with narrow.transaction() as tx:
            return await tx.fetch("SELECT * FROM changing")

    await stored.run("CREATE TABLE changing (a integer)")
    await look()
    await stored.run("ALTER TABLE changing ADD COLUMN b integer")
    with pytest.raises(Unavailable):
        await look()

    assert await look() == []


async def test_a_mistake_of_ours_is_no_outage(narrow):
    with pytest.raises(asyncpg.UndefinedTableError):
        async with narrow.connection() as connection:
            await connection.execute("SELECT * FROM nowhere")

    with pytest.raises(asyncpg.DataError):
        async with narrow.connection() as connection:
            await connection.fetchval("SELECT $1::integer", "text")


async def test_json_comes_back_as_it_went(narrow):
    value = {"a": [1, 2.5, None, True, "ü\u2028"], "b": {}}

    async with narrow.connection() as connection:
        assert await connection.fetchval("SELECT $1::jsonb", value) == value
