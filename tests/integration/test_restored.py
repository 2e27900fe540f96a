"""A backup that was restored: what may have been sent since it was taken is not sent again, and nothing is lost."""

import asyncio
import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from reelgate_common import audit, breaker, restored
from reelgate_common.db import Database
from reelgate_common.domain.job import JobStatus
from reelgate_common.settings import JobSettings, PostgresSettings
from reelgate_submitter import repository as submitter_repository

SCRIPTS = Path(__file__).parents[2] / "deploy" / "compose"
POLICY = JobSettings(submit_unknown_deadline=3600)


@pytest.fixture
def paused(cast):
    async def run(reason=restored.PAUSE_REASON):
        await cast(breaker.pause, reason)

    return run


async def test_what_was_pending_may_have_been_sent_since_and_is_not_sent_again(db, make_job, stored):
    waiting = [await make_job() for _ in range(3)]

    assert await restored.doubt_pending(db, POLICY) == 3

    assert [await stored.status(job.id) for job in waiting] == ["unknown"] * 3
    async with db.transaction() as tx:
        assert await submitter_repository.lock_fairest_due(tx) is None
    assert await audit.verify(db) == []
    assert await restored.doubt_pending(db, POLICY) == 0  # and again, after a crash


@pytest.mark.parametrize("status", [JobStatus.SUBMITTING, JobStatus.UNKNOWN, JobStatus.PROCESSING, JobStatus.COMPLETED])
async def test_what_was_sent_before_is_left_to_those_who_ask_about_it(db, make_job, stored, status):
    job = await make_job(status)

    assert await restored.doubt_pending(db, POLICY) == 0

    assert await stored.status(job.id) == status


async def test_a_doubted_job_is_refunded_at_its_deadline(db, make_job, stored):
    job = await make_job()
    await restored.doubt_pending(db, POLICY)

    [row] = await stored.rows("SELECT deadline_at - now() AS left, next_check_at FROM video_jobs WHERE id = $1", job.id)

    assert 3500 < row["left"].total_seconds() <= 3600
    assert row["next_check_at"] is None  # there is no task to ask about


async def test_sends_go_on_only_if_it_was_the_restore_that_stopped_them(db, paused):
    await paused()
    assert await restored.resume(db)
    assert not await restored.resume(db)

    await paused("an operator's own reason")
    assert not await restored.resume(db)
    async with db.connection() as connection:
        assert await breaker.trouble(connection)


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


async def test_a_backup_that_is_restored_loses_no_job_and_no_credit(db, database_url, new_database, make_job, script):
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
            assert restored.PAUSE_REASON in stopped.reason
            assert await restored.doubt_pending(restored_db, POLICY) == 1
            assert await restored.resume(restored_db)

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
