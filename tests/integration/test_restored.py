"""A backup that was restored: what may have been sent since it was taken is not sent again, and nothing is lost."""

import asyncio
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from reelgate_common import audit, breaker, restored
from reelgate_common.db import Database
from reelgate_common.domain.job import JobStatus
from reelgate_common.restored import NotRestored
from reelgate_common.settings import JobSettings, PostgresSettings
from reelgate_submitter import repository as submitter_repository

SCRIPTS = Path(__file__).parents[2] / "deploy" / "compose"
POLICY = JobSettings(submit_unknown_deadline=3600)


@pytest.fixture
async def stopped(cast):
    """All sends stopped by a restore, now."""

    async def now():
        await cast(breaker.pause_for_restore)

    return now


@pytest.fixture
def why(db):
    """Why nothing is sent; None: sends go on."""

    async def look():
        async with db.connection() as connection:
            trouble = await breaker.trouble(connection)
            return trouble and trouble.reason

    return look


async def test_what_was_pending_may_have_been_sent_since_and_is_not_sent_again(db, make_job, stored, stopped):
    waiting = [await make_job() for _ in range(3)]
    await stopped()

    assert await restored.doubt_pending(db, POLICY) == 3

    assert [await stored.status(job.id) for job in waiting] == ["unknown"] * 3
    async with db.transaction() as tx:
        assert (await submitter_repository.lock_fairest_due(tx, 1))[0] == []
    assert await audit.verify(db) == []
    assert await restored.doubt_pending(db, POLICY) == 0  # and again, after a crash


async def test_what_was_accepted_since_the_restore_waits_on(db, make_job, stored, stopped, why):
    before = await make_job()
    await stopped()
    since = await make_job()

    assert await restored.doubt_pending(db, POLICY) == 1
    await restored.resume(db)

    assert (await stored.status(before.id), await stored.status(since.id)) == ("unknown", "pending")
    assert await why() is None


async def test_without_a_restore_nothing_is_doubted(db, make_job, stored, cast, why):
    job = await make_job()
    await cast(breaker.pause, "an operator's own reason")

    with pytest.raises(NotRestored):
        await restored.doubt_pending(db, POLICY)
    with pytest.raises(NotRestored):
        await restored.resume(db)

    assert await stored.status(job.id) == "pending"
    assert await why() == "paused by an operator: an operator's own reason"


@pytest.mark.parametrize("status", [JobStatus.SUBMITTING, JobStatus.UNKNOWN, JobStatus.PROCESSING, JobStatus.COMPLETED])
async def test_what_was_sent_before_is_left_to_those_who_ask_about_it(db, make_job, stored, stopped, status):
    job = await make_job(status)
    await stopped()

    assert await restored.doubt_pending(db, POLICY) == 0

    assert await stored.status(job.id) == status


async def test_a_doubted_job_is_refunded_at_its_deadline(db, make_job, stored, stopped):
    job = await make_job()
    await stopped()
    await restored.doubt_pending(db, POLICY)

    [row] = await stored.rows("SELECT deadline_at - now() AS left, next_check_at FROM video_jobs WHERE id = $1", job.id)

    assert 3500 < row["left"].total_seconds() <= 3600
    assert row["next_check_at"] is None  # there is no task to ask about


async def test_a_doubted_upgrade_is_asked_about(db, make_job, make_further, stored, stopped):
    """Its task is known before it is sent."""
    job = await make_further("upgrade_1080p", source=await make_job(JobStatus.COMPLETED))
    await stopped()

    assert await restored.doubt_pending(db, POLICY) == 1

    assert await stored.value("SELECT next_check_at FROM video_jobs WHERE id = $1", job.id) is not None


@pytest.mark.parametrize("first", ["operator", "restore"])
async def test_an_operators_own_pause_outlives_the_restores(db, cast, stopped, why, first):
    if first == "restore":
        await stopped()
    await cast(breaker.pause, "a new account")
    if first == "operator":
        await stopped()
    assert breaker.RESTORED in await why()

    assert await restored.resume(db) == "a new account"

    assert await why() == "paused by an operator: a new account"
    assert await cast(breaker.resume)
    assert await why() is None


async def test_a_restores_pause_is_not_lifted_by_mistake(cast, stopped, why):
    await stopped()
    await cast(breaker.pause, "a new account")

    assert await cast(breaker.resume)  # his own
    assert not await cast(breaker.resume)

    assert await why() == f"paused by an operator: {breaker.RESTORED}"


# The commands ---------------------------------------------------------------------------------------


@pytest.fixture
def reelgate(database_url):
    """Run the command on this database; its exit code, output and errors."""

    async def run(*words):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "reelgate_cli", *words),
            env=os.environ | {"DATABASE_URL": database_url},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    return run


async def test_the_command_refuses_where_nothing_was_restored(make_job, reelgate, stored):
    job = await make_job()

    code, out, err = await reelgate("restored")

    assert (code, out) == (1, "")
    assert "reelgate pause --restored" in err
    assert await stored.status(job.id) == "pending"


async def test_the_commands_take_a_database_up_again_that_was_restored_by_other_means(make_job, reelgate, stored, why):
    job = await make_job()

    code, out, _ = await reelgate("pause", "--restored")
    assert (code, out) == (0, "paused: nothing is sent until `reelgate restored`\n")
    code, _, err = await reelgate("resume")
    assert (code, breaker.RESTORED in err) == (1, True)
    code, out, _ = await reelgate("restored")

    assert (code, out) == (0, "1 pending jobs may have been sent: refunded at the deadline\nsends go on\n")
    assert await stored.status(job.id) == "unknown"
    assert await why() is None


async def test_what_was_surely_not_sent_waits_on(make_job, reelgate, stored, stopped, why):
    job = await make_job()
    await stopped()

    code, out, _ = await reelgate("restored", "--nothing-sent")

    assert (code, out) == (0, "no job is in doubt\nsends go on\n")
    assert (await stored.status(job.id), await why()) == ("pending", None)


# The scripts ----------------------------------------------------------------------------------------


@pytest.fixture
def script(tmp_path):
    """Run one of the two scripts on a database, as the container does; its exit code, output and errors."""

    async def run(name, url, *words):
        address = urlsplit(url)
        settings = {
            "PGHOST": address.hostname,
            "PGPORT": str(address.port),
            "PGUSER": address.username,
            "PGPASSWORD": address.password or "none",
            "PGDATABASE": address.path[1:],
            "BACKUPS": str(tmp_path),
        }
        process = await asyncio.create_subprocess_exec(
            *("sh", SCRIPTS / name, *words),
            env=os.environ | settings,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = (part.decode() for part in await process.communicate())
        if "server version mismatch" in err:
            pytest.skip("pg_dump is older than the server: install the server's client programs")
        return process.returncode, out.strip(), err

    return run


_CONTENT = {
    "credits": "SELECT * FROM credits ORDER BY wallet_address",
    "ledger": "SELECT * FROM credit_transactions ORDER BY id",
    "jobs": "SELECT * FROM video_jobs ORDER BY id",
    "timelines": "SELECT * FROM job_events ORDER BY job_id, seq",
    "attempts": "SELECT * FROM job_attempts ORDER BY id",
}


async def _content(db):
    async with db.connection() as connection:
        return {name: [dict(row) for row in await connection.fetch(query)] for name, query in _CONTENT.items()}


async def test_a_backup_that_is_restored_loses_no_job_and_no_credit(
    db, database_url, new_database, make_job, cast, script
):
    await cast(breaker.pause, "a new account")  # and an operator's pause stays
    for status in JobStatus:
        await make_job(status)
    before = await _content(db)

    code, backup, err = await script("backup.sh", database_url)
    assert code == 0, err
    async with new_database(empty=True) as url:
        code, _, err = await script("restore.sh", url, backup)
        assert code == 0, err

        async with Database.open(PostgresSettings(database_url=url)) as restored_db:
            assert await _content(restored_db) == before
            assert await audit.verify(restored_db) == []
            async with restored_db.connection() as connection:
                stopped = await breaker.trouble(connection)
            assert stopped
            assert stopped.reason == f"paused by an operator: {breaker.RESTORED}; paused besides: a new account"
            assert await restored.doubt_pending(restored_db, POLICY) == 1
            assert await restored.resume(restored_db) == "a new account"

        code, _, err = await script("restore.sh", url, backup)
        assert (code, "not empty" in err) == (1, True)


def _cut(backup):
    broken = Path(backup).with_suffix(".broken")
    broken.write_bytes(Path(backup).read_bytes()[:-2000])
    return str(broken)


async def test_a_restore_that_breaks_off_leaves_nothing(database_url, new_database, make_job, script):
    await make_job()
    _, backup, _ = await script("backup.sh", database_url)
    broken = _cut(backup)

    async with new_database(empty=True) as url:
        code, _, _ = await script("restore.sh", url, broken)
        assert code != 0

        async with Database.open(PostgresSettings(database_url=url)) as left, left.connection() as connection:
            assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
