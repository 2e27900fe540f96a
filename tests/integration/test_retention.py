"""Finished jobs leave the database: by age, or into an archive first. Nothing that is owed leaves with them."""

import asyncio
import gzip
import json
import os
import sys
from datetime import UTC, datetime, timedelta

import pytest

from reelgate_common import archive, audit, removal, settlement
from reelgate_common.archive import BadArchive
from reelgate_common.domain.job import FINAL, FailureCode, JobStatus
from reelgate_common.settings import JobSettings
from reelgate_reconciler.settings import Settings

LATER = timedelta(days=1)
LATE = "https://media.example/late.mp4"


@pytest.fixture
def soon():
    """A moment that everything there is ended before."""
    return datetime.now(UTC) + LATER


@pytest.fixture
def finished(make_job, cast, stored):
    """A job that is over, settled and told to everybody; its video is at Kie.ai no more, and was not copied."""

    async def make(status=JobStatus.COMPLETED, **overrides):
        job = await make_job(status, **overrides)
        await cast(settlement.refund, job.id, by="tests")
        await stored.run("DELETE FROM outbox WHERE job_id = $1", job.id)
        await stored.run("UPDATE videos SET state = 'failed', due_at = NULL WHERE job_id = $1", job.id)
        return await stored.job(job.id)

    return make


@pytest.fixture
def remove_old(cast, soon):
    async def remove(limit=100):
        return await cast(removal.remove_old, before=soon, limit=limit)

    return remove


@pytest.fixture
def left(stored):
    async def ids():
        return {row["id"] for row in await stored.rows("SELECT id FROM video_jobs")}

    return ids


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
        return process.returncode, out, err.decode()

    return run


@pytest.fixture
def archived(db, soon, tmp_path):
    """An archive of what may go, as the command writes it."""

    async def write():
        file = tmp_path / "jobs.gz"
        with gzip.open(file, "wt") as lines:
            async for line in archive.old_jobs(db, before=soon):
                lines.write(line + "\n")
        return file

    return write


def read(path):
    with gzip.open(path, "rt") as lines:
        return [json.loads(line) for line in lines]


# By age ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", sorted(FINAL))
async def test_a_finished_job_goes_with_all_its_rows_and_its_ledger_stays(finished, remove_old, stored, db, status):
    job = await finished(status)
    ledger, balance = await stored.ledger(job.id), await stored.balance()

    assert await remove_old() == 1

    assert [await stored.count(table) for table in ("video_jobs", "job_attempts", "job_events")] == [0, 0, 0]
    assert (await stored.ledger(job.id), await stored.balance()) == (ledger, balance)
    assert await audit.verify(db) == []


@pytest.mark.parametrize("status", [status for status in JobStatus if not status.is_final])
async def test_a_job_under_way_stays(make_job, remove_old, stored, left, status):
    job = await make_job(status)
    await stored.run("DELETE FROM outbox")

    assert await remove_old() == 0
    assert await left() == {job.id}


async def test_a_job_whose_refund_is_due_stays(make_job, remove_old, stored, left):
    job = await make_job(JobStatus.FAILED)
    await stored.run("DELETE FROM outbox")

    assert await remove_old() == 0
    assert await left() == {job.id}


async def test_a_job_that_others_are_not_told_of_yet_stays(make_job, remove_old, left):
    job = await make_job(JobStatus.COMPLETED)

    assert await remove_old() == 0
    assert await left() == {job.id}


async def test_a_job_whose_video_may_still_come_stays(finished, remove_old, left):
    job = await finished(JobStatus.FAILED, failure_code=FailureCode.SUBMIT_UNKNOWN)

    assert await remove_old() == 0
    assert await left() == {job.id}


async def test_a_video_stays_as_long_as_one_that_continues_it(finished, make_further, remove_old, stored, left):
    source = await finished()
    await make_further("extend", JobStatus.COMPLETED, source=source, task_id="another")
    await stored.run("DELETE FROM outbox")
    await stored.run("UPDATE videos SET state = 'failed', due_at = NULL")

    assert await remove_old() == 1
    assert await left() == {source.id}
    assert await remove_old() == 1


@pytest.mark.parametrize("stands", ["state = 'due', due_at = now()", "state = 'kept', bytes = 1, sha256 = 'x'"])
async def test_a_job_stays_as_long_as_its_video_is_in_the_bucket_or_may_come_there(
    finished, remove_old, stored, left, stands
):
    job = await finished()
    await stored.run(f"UPDATE videos SET {stands}")

    assert await remove_old() == 0
    assert await left() == {job.id}

    await stored.run("UPDATE videos SET state = 'deleted', due_at = NULL")
    assert await remove_old() == 1


async def test_a_job_that_ended_after_the_moment_stays(finished, cast, left):
    job = await finished()

    assert await cast(removal.remove_old, before=job.completed_at, limit=100) == 0
    assert await left() == {job.id}


async def test_the_oldest_go_first_and_no_more_than_asked_for(finished, remove_old, left):
    jobs = [await finished() for _ in range(3)]

    assert await remove_old(limit=2) == 2
    assert await left() == {jobs[2].id}


# Beside work that is under way ---------------------------------------------------------------------


async def test_what_others_hold_is_left_to_them(finished, remove_old, db, left):
    """Whoever settles, refunds or recovers a job holds its row."""
    held, free = await finished(JobStatus.FAILED), await finished()
    async with db.transaction() as other:
        await other.execute("SELECT FROM video_jobs WHERE id = $1 FOR UPDATE", held.id)

        assert await remove_old() == 1
        assert await left() == {held.id}
    assert free.id not in await left()


async def test_a_late_video_comes_through_or_finds_no_job_and_the_books_are_right(finished, cast, db, stored):
    """Removal and recovery at once, many times over: whoever is first, no credit is lost or made."""
    policy = JobSettings(late_success="recharge")

    async def recover(job):
        async with db.transaction() as tx:
            return await settlement.deliver(
                tx, job.id, video_url=LATE, attempt_id=job.attempt_id, by="tests", policy=policy
            )

    async def remove():
        await cast(removal.remove_old, before=ended, limit=3)

    failed = [await finished(JobStatus.FAILED) for _ in range(30)]
    ended = await stored.value(
        "SELECT clock_timestamp()"
    )  # as in life: what is recovered ended a moment ago, and stays
    await asyncio.gather(*(recover(job) for job in failed), *(remove() for _ in range(10)))

    recharged = await stored.value("SELECT count(*) FROM credit_transactions WHERE transaction_type = 'recharge'")
    there = await stored.value("SELECT count(*) FROM video_jobs WHERE recovered_at IS NOT NULL")
    assert recharged == there
    assert await stored.books_balance()
    assert await audit.verify(db) == []


async def test_a_refund_is_written_before_its_job_can_go(make_job, remove_old, stored, db, cast):
    jobs = [await make_job(JobStatus.FAILED) for _ in range(30)]
    await stored.run("DELETE FROM outbox")

    async def refund(job):
        await cast(settlement.refund, job.id, by="tests")
        await stored.run("DELETE FROM outbox WHERE job_id = $1", job.id)

    await asyncio.gather(*(refund(job) for job in jobs), *(remove_old() for _ in range(10)))
    await remove_old()

    assert await stored.count("video_jobs") == 0
    assert await stored.value("SELECT count(*) FROM credit_transactions WHERE transaction_type = 'refund'") == 30
    assert await stored.books_balance()


async def test_several_at_once_share_the_work(finished, remove_old, stored):
    for _ in range(20):
        await finished()

    assert sum(await asyncio.gather(*(remove_old(limit=10) for _ in range(4)))) == 20
    assert await stored.count("video_jobs") == 0


# The setting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("days", "ok"), [(0, True), (14.9, False), (15, True), (400, True), (-1, False)])
def test_a_retention_shorter_than_the_vendors_memory_is_refused(monkeypatch, days, ok):
    monkeypatch.setenv("RETENTION_DAYS", str(days))
    for name in ("KIE_AI_API_KEY", "DATABASE_URL", "AMQP_URL"):
        monkeypatch.setenv(name, "x")

    if ok:
        assert Settings().retention_days == days
    else:
        with pytest.raises(ValueError, match="retention_days"):
            Settings()


@pytest.mark.parametrize(("videos_days", "ok"), [(0, False), (401, False), (400, True), (30, True)])
def test_videos_that_are_kept_longer_than_their_jobs_are_refused(database_url, tmp_path, videos_days, ok):
    """A job stays for its video: none would ever go, and each pass would read past all of them."""
    values = {
        "database_url": database_url,
        "amqp_url": "x",
        "kie_ai_api_key": "x",
        "public_base_url": "https://videos.example",
        "custody_url": f"file://{tmp_path}",
        "retention_days": 400,
        "custody_retention_days": videos_days,
    }

    if ok:
        assert Settings(**values).custody_retention_days == videos_days
    else:
        with pytest.raises(ValueError, match="RETENTION_DAYS with CUSTODY_URL"):
            Settings(**values)


# Into a file ---------------------------------------------------------------------------------------


async def test_an_archive_has_every_word_about_a_job_and_deletes_nothing(finished, reelgate, tmp_path, stored, left):
    job = await finished(JobStatus.FAILED, prompt="Ein Käse", metadata={"scene": 2})
    file = tmp_path / "jobs.gz"

    code, out, err = await reelgate("archive", "--before", "2100-01-01", "--to", str(file))

    assert (code, out, err) == (0, f"wrote 1 jobs to {file}\n".encode(), "")
    [line] = read(file)
    assert (line["job"]["id"], line["job"]["prompt"], line["job"]["metadata"]) == (
        str(job.id),
        "Ein Käse",
        {"scene": 2},
    )
    assert [entry["event"] for entry in line["timeline"]] == await stored.events(job.id)
    assert {entry["transaction_type"]: entry["amount"] for entry in line["ledger"]} == await stored.ledger(job.id)
    assert len(line["attempts"]) == 1
    assert "token_hash" not in line["attempts"][0]
    assert file.stat().st_mode & 0o077 == 0
    assert await left() == {job.id}


async def test_what_an_archive_holds_is_pruned_and_nothing_else(finished, make_job, archived, reelgate, left, db):
    ids = {(await finished()).id for _ in range(2)}
    file = await archived()
    others = {(await finished()).id, (await make_job()).id}

    _, out, _ = await reelgate("prune", str(file), "--json")

    assert {row["job"]["id"] for row in read(file)} == {str(job_id) for job_id in ids}
    assert json.loads(out) == {"deleted": 2, "named": 2}
    assert await archive.prune(db, file) == (0, 2)
    assert await left() == others
    assert await audit.verify(db) == []


async def test_a_job_that_changed_since_it_was_archived_stays(finished, archived, stored, left, db):
    job = await finished()
    file = await archived()
    await stored.run("UPDATE video_jobs SET version = version + 1")

    assert await archive.prune(db, file) == (0, 1)
    assert await left() == {job.id}


async def test_more_jobs_than_are_read_at_once_are_all_archived_and_pruned(finished, archived, db, monkeypatch, left):
    monkeypatch.setattr(archive, "_AT_ONCE", 2)
    for _ in range(5):
        await finished()

    assert await archive.prune(db, await archived()) == (5, 5)
    assert await left() == set()


@pytest.mark.parametrize("damage", [lambda whole: whole[:-9], lambda whole: b"no gzip", lambda _: gzip.compress(b"{}")])
async def test_an_archive_that_is_not_whole_deletes_nothing(finished, archived, left, db, damage):
    jobs = {(await finished(metadata={"n": n})).id for n in range(5)}
    file = await archived()
    file.write_bytes(damage(file.read_bytes()))

    with pytest.raises(BadArchive, match="is no whole archive"):
        await archive.prune(db, file)
    assert await left() == jobs


async def test_a_file_that_is_there_is_not_overwritten(reelgate, tmp_path):
    file = tmp_path / "jobs.gz"
    file.write_bytes(b"precious")

    code, _, _ = await reelgate("archive", "--before", "2100-01-01", "--to", str(file))

    assert code == 2
    assert file.read_bytes() == b"precious"


async def test_everything_of_a_wallet_goes_into_its_owners_hands(make_job, reelgate):
    mine = {str((await make_job(status, wallet_address="mine")).id) for status in JobStatus}
    await make_job(wallet_address="another's")

    code, out, err = await reelgate("archive", "--wallet", "mine", "--to", "-")

    assert (code, err) == (0, f"wrote {len(mine)} jobs to -\n")
    assert {json.loads(line)["job"]["id"] for line in gzip.decompress(out).splitlines()} == mine
