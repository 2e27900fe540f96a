"""PostgreSQL away, slow, read-only or full: callers are told to come back, and nothing half is kept."""

import asyncio
import contextlib
import uuid

import pytest


async def answers(rig, count=1):
    """What so many requests at once are answered: status and whether they are told when to come back."""
    async with rig.client() as client:
        bodies = [
            {"wallet_address": "database", "prompt": uuid.uuid4().hex, "image_urls": ["https://example.com/i.png"]}
            for _ in range(count)
        ]
        found = await asyncio.gather(*(client.post("/api/video/generate", json=body) for body in bodies))
    return {(answer.status_code, "retry-after" in answer.headers) for answer in found}


@contextlib.asynccontextmanager
async def read_only(rig):
    """As after a failover to a standby that was not promoted yet: every connection is cut, and none may write."""
    async with rig.as_superuser() as connection:
        name = await connection.fetchval("SELECT current_database()")
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"
        await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await connection.fetch(others, name)
        try:
            yield
        finally:
            await connection.execute("SET default_transaction_read_only = off")
            await connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
            await connection.fetch(others, name)


@contextlib.asynccontextmanager
async def full_disk(rig):
    """Every insert into the outbox fails as on a full disk."""
    async with rig.as_superuser() as connection:
        await connection.execute(
            """
            CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
            CREATE TRIGGER disk_full BEFORE INSERT ON outbox EXECUTE FUNCTION disk_full();
            """
        )
        try:
            yield
        finally:
            await connection.execute("DROP FUNCTION disk_full CASCADE")


@contextlib.asynccontextmanager
async def locked(rig, table="video_jobs"):
    """A table nobody else can even read: statements run into their limits, and hold their connections."""
    async with rig.as_superuser() as connection, connection.transaction():
        await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.mark.parametrize("trouble", [read_only, full_disk, locked])
async def test_a_database_that_cannot_write_is_503_and_nothing_is_lost(rig, trouble):
    under_way = await rig.jobs(6)
    async with trouble(rig):
        found = await answers(rig)
    ids = await rig.jobs(6)

    assert found == {(503, True)}
    await rig.all_over(under_way + ids)


async def test_requests_for_which_no_connection_is_left_are_told_to_come_back(rig):
    async with locked(rig):
        found = await answers(rig, 40)
        async with rig.client() as client:
            alive = await client.get("/healthz")
    ids = await rig.jobs(6)

    assert (found, alive.status_code) == ({(503, True)}, 200)
    await rig.all_over(ids)


async def test_every_connection_cut_at_once(rig):
    ids = []
    for _ in range(3):
        ids += await rig.jobs(6)
        for line in rig.lines_to("database"):
            line.cut()

    await rig.all_over(ids)


async def test_the_server_restarted(rig):
    ids = await rig.jobs(6)
    await rig.servers.postgres.stop()
    await rig.servers.postgres.start()
    ids += await rig.jobs(6)

    await rig.all_over(ids)


@pytest.mark.parametrize("service", ["submitter", "callback", "reconciler"])
async def test_a_line_to_the_database_that_went_dead_silently(rig, service):
    """Neither side is told: only the limits on every wait end it."""
    ids = await rig.jobs(6)
    rig.line(service, "database").freeze()
    ids += await rig.jobs(6)

    async def noticed():
        return f"{service}.log" in rig.logs_with("the database is away")

    await rig.until(noticed)
    await rig.heal()

    await rig.all_over(ids)


async def test_a_slow_database(rig):
    for line in rig.lines_to("database"):
        line.delay = 0.05
    ids = await rig.jobs(6)

    await rig.all_over(ids)
