"""The schema: applied once, checked at each start."""

import asyncio
from contextlib import asynccontextmanager
from itertools import chain

import pytest

from reelgate_common import migrations
from reelgate_common.db import Database
from reelgate_common.migrations import Migration, SchemaMismatch
from reelgate_common.settings import PostgresSettings


@pytest.fixture
def open_database(new_database):
    @asynccontextmanager
    async def open_one(*, empty=False):
        async with (
            new_database(empty=empty) as url,
            Database.open(PostgresSettings(database_url=url, database_pool_size=5)) as opened,
        ):
            yield opened

    return open_one


EVERY = migrations.known()
LATER = "INSERT INTO schema_migrations (version, name, checksum, expands) VALUES ($1, 'later', 'x', $2)"


async def change(db, statement, *arguments):
    async with db.transaction() as tx:
        await tx.execute(statement, *arguments)


async def test_a_second_migrate_changes_nothing(open_database):
    async with open_database(empty=True) as db:
        first = await migrations.migrate(db)
        second = await migrations.migrate(db)

    assert first == [migration.name for migration in migrations.known()]
    assert second == []


async def test_concurrent_migrates_apply_each_file_once(open_database):
    async with open_database(empty=True) as db:
        applied = await asyncio.gather(*(migrations.migrate(db) for _ in range(4)))

    assert sorted(chain.from_iterable(applied)) == [migration.name for migration in migrations.known()]


async def test_an_edited_migration_is_refused(open_database):
    async with open_database() as db:
        await change(db, "UPDATE schema_migrations SET checksum = 'another' WHERE version = 1")

        with pytest.raises(SchemaMismatch, match=r"0001_initial\.sql was edited"):
            await migrations.migrate(db)


async def test_a_migration_gives_way_to_those_who_use_the_table(open_database, monkeypatch, eventually):
    """It waits for a long reader; who comes after it is served meanwhile, and it is applied in the end."""
    later = Migration(9999, "9999_later.sql", "ALTER TABLE credits ADD COLUMN later integer")
    monkeypatch.setattr(migrations, "known", lambda: [later])
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'relation'"
    async with open_database() as db:
        async with db.transaction() as reader:
            await reader.execute("SELECT FROM credits")
            migrating = asyncio.create_task(migrations.migrate(db))
            async with db.connection() as another:
                await eventually(lambda: another.fetchval(waits))
                await another.execute("SELECT FROM credits")
            assert not migrating.done()

        assert await migrating == ["9999_later.sql"]


async def test_a_refund_that_meets_a_migration_delays_it_and_is_booked(open_database, monkeypatch, eventually):
    """A refund holds its job, then writes the ledger; the removal of keys needs both tables."""
    removal = next(one for one in migrations.known() if one.version == 15)
    monkeypatch.setattr(migrations, "known", lambda: [one for one in EVERY if one.version < 15])
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'relation'"
    async with open_database(empty=True) as db:
        await migrations.migrate(db)
        monkeypatch.setattr(migrations, "known", lambda: [removal])
        async with db.transaction() as refund:
            await refund.execute("SELECT FROM video_jobs FOR UPDATE")
            migrating = asyncio.create_task(migrations.migrate(db))
            async with db.connection() as another:
                await eventually(lambda: another.fetchval(waits))
            await refund.execute("LOCK TABLE credit_transactions IN ROW EXCLUSIVE MODE")

        assert await migrating == [removal.name]


async def test_a_migration_that_lost_a_deadlock_is_tried_again(open_database, monkeypatch):
    """Nothing of it was kept, and whoever won goes on."""
    sql = """
        DO $$ BEGIN
            IF nextval('tries') = 1 THEN
                RAISE EXCEPTION 'lost' USING ERRCODE = 'deadlock_detected';
            END IF;
        END $$;
    """
    monkeypatch.setattr(migrations, "known", lambda: [Migration(9999, "9999_later.sql", sql)])
    monkeypatch.setattr(migrations, "_PAUSE_SECONDS", 0)
    async with open_database() as db:
        await change(db, "CREATE SEQUENCE tries")

        assert await migrations.migrate(db) == ["9999_later.sql"]


async def test_a_service_starts_on_the_schema_it_knows(db):
    await migrations.check(db)


async def test_a_service_does_not_start_on_an_empty_database(open_database):
    async with open_database(empty=True) as db:
        with pytest.raises(SchemaMismatch, match="run `reelgate migrate`"):
            await migrations.check(db)


async def test_a_service_does_not_start_on_an_older_schema(open_database):
    newest = migrations.known()[-1].version
    async with open_database() as db:
        await change(db, "DELETE FROM schema_migrations WHERE version = $1", newest)

        with pytest.raises(SchemaMismatch, match="run `reelgate migrate`"):
            await migrations.check(db)


async def test_a_service_starts_on_a_newer_schema_that_keeps_old_code_working(open_database):
    async with open_database() as db:
        await change(db, LATER, 9998, True)

        await migrations.check(db)


async def test_a_service_does_not_start_on_a_newer_schema_that_breaks_it(open_database):
    async with open_database() as db:
        await change(db, LATER, 9998, False)
        await change(db, LATER, 9999, True)

        with pytest.raises(SchemaMismatch, match="run a newer release"):
            await migrations.check(db)
