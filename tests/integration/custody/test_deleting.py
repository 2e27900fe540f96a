"""Kept videos end: with their retention, on request, with their wallet. And none is forgotten in the bucket."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import pytest

from reelgate_common import migrations
from reelgate_common.custody import deletion
from reelgate_common.custody.store import BucketAway, Store, key_of
from reelgate_common.db import Database
from reelgate_common.domain.job import JobStatus
from reelgate_common.ids import new_id
from reelgate_common.settings import PostgresSettings
from reelgate_reconciler.custody.keeper import Keeper


@pytest.fixture
def delete(db):
    async def do(job):
        async with db.transaction() as tx:
            return await deletion.delete(tx, job.id, by="tests", reason="deleted on request")

    return do


async def test_a_retention_ends_when_it_was_said_to_end(make_copier, keeper, video, stored, row, in_bucket, everything):
    await make_copier(custody_retention_days=7).run_once()
    kept = await stored.job(video.id)
    await keeper.run_once()
    assert in_bucket(video) is not None

    await stored.run("UPDATE videos SET due_at = now() - interval '1 s'")
    await keeper.run_once()

    ended = await stored.job(video.id)
    assert abs((kept.video_ends_at - kept.video_kept_at).total_seconds() - 7 * 86400) < 1
    assert (ended.shown_video_url, ended.video_ends_at, ended.video_kept_at) == (None, None, None)
    assert ended.video_deleted_at is not None
    assert ended.status is JobStatus.COMPLETED
    assert ((await row(video))["state"], everything()) == ("deleted", [])


async def test_a_deleted_video_is_removed_from_the_bucket(copier, keeper, video, delete, stored, row, everything):
    await copier.run_once()

    assert await delete(video) is True
    assert await delete(video) is False
    await keeper.run_once()

    assert ((await row(video))["state"], everything()) == ("deleted", [])
    assert (await stored.events(video.id))[-1] == "video_deleted"
    assert await stored.ledger(video.id) == {"charge": -4}


async def test_a_video_deleted_before_it_was_copied_never_is(copier, keeper, host, video, delete, row):
    await delete(video)
    await copier.run_once()
    await keeper.run_once()

    assert ((await row(video))["state"], host.asked) == ("deleted", [])


async def test_a_video_deleted_while_it_is_copied_does_not_stay(
    copier, keeper, host, video, delete, row, pass_time, stored, everything
):
    host.hold = asyncio.Event()
    go_on = host.hold
    copying = asyncio.create_task(copier.run_once())
    await host.held.wait()
    await delete(video)
    go_on.set()
    await copying
    await keeper.run_once()
    assert (await row(video))["state"] == "deleting"  # until whatever copies it has had its time

    await pass_time(video)
    await keeper.run_once()

    assert ((await row(video))["state"], everything()) == ("deleted", [])
    assert (await stored.job(video.id)).shown_video_url is None


async def test_a_deleted_video_is_removed_though_its_host_refuses_the_copy(
    make_copier, host, movie, video, delete, row, pass_time, keeper
):
    """An earlier try may have left a file behind, whatever comes of this one."""
    host.hold, host.tells_length = asyncio.Event(), False
    go_on = host.hold
    copying = asyncio.create_task(make_copier(custody_max_bytes=len(movie) - 1).run_once())
    await host.held.wait()
    await delete(video)
    go_on.set()
    await copying
    assert (await row(video))["state"] == "deleting"

    await pass_time(video)
    await keeper.run_once()

    assert (await row(video))["state"] == "deleted"


@dataclass(frozen=True)
class Forgetful:
    """A bucket that has the file, but does not say so before `meanwhile` is done."""

    store: Store
    meanwhile: Callable[[], Awaitable[None]]

    def __getattr__(self, name):
        return getattr(self.store, name)

    async def size(self, key):
        await self.meanwhile()
        raise BucketAway("the answer was lost")


async def test_a_copy_that_fails_after_the_removal_leaves_no_file(
    make_copier, store, keeper, video, delete, row, pass_time, everything
):
    """Its process slept so long that the removal came first."""

    async def remove():
        await delete(video)
        await pass_time(video)
        await keeper.run_once()
        assert everything() == []
        await store.put(key_of(video.id), once(b"what was still under way"))

    await make_copier(store=Forgetful(store, remove)).run_once()

    assert ((await row(video))["state"], everything()) == ("deleted", [])


async def once(text):
    yield text


@pytest.mark.parametrize("days", [0, 15])
async def test_what_an_earlier_try_brought_is_kept_though_kie_gives_it_no_more(
    make_copier, copier, store, host, video, movie, row, pass_time, in_bucket, sha256, days
):
    async def nothing():
        pass

    await make_copier(store=Forgetful(store, nothing)).run_once()
    assert ((await row(video))["state"], in_bucket(video)) == ("due", movie)

    host.status = 404
    await pass_time(video, days=days)
    await copier.run_once()

    found = await row(video)
    assert (found["state"], found["sha256"], in_bucket(video)) == ("kept", sha256(movie), movie)


async def test_a_file_that_is_no_video_is_not_kept(copier, store, host, video, row, pass_time):
    await store.put(key_of(video.id), once(b"a file of somebody else's"))
    host.status = 404

    await pass_time(video, days=15)
    await copier.run_once()

    assert (await row(video))["state"] == "failed"


async def test_one_that_was_given_up_is_kept_by_who_brings_it_after_all(
    copier, host, video, movie, row, pass_time, in_bucket
):
    """Its process slept for days."""
    host.hold = asyncio.Event()
    go_on = host.hold
    copying = asyncio.create_task(copier.run_once())
    await host.held.wait()
    await pass_time(video, days=15)
    await copier.run_once()
    assert (await row(video))["state"] == "failed"

    go_on.set()
    await copying

    assert ((await row(video))["state"], in_bucket(video)) == ("kept", movie)


async def test_a_copy_whose_job_went_meanwhile_leaves_no_file(copier, host, video, stored, everything):
    host.hold = asyncio.Event()
    go_on = host.hold
    copying = asyncio.create_task(copier.run_once())
    await host.held.wait()
    await stored.run("DELETE FROM video_jobs WHERE id = $1", video.id)
    go_on.set()
    await copying

    assert everything() == []


async def test_only_a_video_can_be_deleted(make_job, delete, stored):
    for status in JobStatus:
        if status is not JobStatus.COMPLETED:
            assert await delete(await make_job(status)) is False


async def test_a_wallet_is_emptied_of_its_videos(copier, keeper, db, make_video, everything):
    videos = [await make_video(wallet_address="leaves") for _ in range(3)]
    stays = await make_video(wallet_address="stays")
    await copier.run_once()

    async def some():
        async with db.transaction() as tx:
            return await deletion.delete_of_wallet(tx, "leaves", by="tests", reason="the wallet's data is deleted")

    assert [await some(), await some()] == [len(videos), 0]
    await keeper.run_once()

    assert everything() == [f"{stays.id}.mp4"]


async def test_a_bucket_that_is_away_keeps_nothing_for_ever(copier, keeper, bucket, video, delete, row, pass_time):
    await copier.run_once()
    await delete(video)
    away = bucket.rename(bucket.with_name("away"))
    bucket.write_text("where the folder was")
    await keeper.run_once()
    assert (await row(video))["state"] == "deleting"

    bucket.unlink()
    away.rename(bucket)
    await pass_time(video)
    await keeper.run_once()

    assert (await row(video))["state"] == "deleted"


async def test_without_a_bucket_what_is_to_be_removed_waits_for_it(copier, keeper, db, video, delete, row):
    await copier.run_once()
    await delete(video)

    await Keeper(db, None).run_once()
    assert (await row(video))["state"] == "deleting"
    await keeper.run_once()

    assert (await row(video))["state"] == "deleted"


async def test_a_job_is_not_deleted_before_its_video(copier, keeper, video, delete, stored):
    await copier.run_once()
    with pytest.raises(asyncpg.RestrictViolationError, match="is in the bucket"):
        await stored.run("DELETE FROM videos WHERE job_id = $1", video.id)
    await delete(video)
    with pytest.raises(asyncpg.RestrictViolationError):
        await stored.run("DELETE FROM videos WHERE job_id = $1", video.id)

    await keeper.run_once()
    await stored.run("DELETE FROM videos WHERE job_id = $1", video.id)


# Before custody -----------------------------------------------------------------------------------------


@pytest.fixture
def before_custody(new_database, monkeypatch):
    """A database as the release before left it, and what brings it up to a version."""
    every = migrations.known()

    @asynccontextmanager
    async def open_one():
        async with new_database(empty=True) as url, Database.open(PostgresSettings(database_url=url)) as opened:

            async def up_to(version):
                monkeypatch.setattr(migrations, "known", lambda: [one for one in every if one.version <= version])
                await migrations.migrate(opened)

            await up_to(12)
            yield opened, up_to

    return open_one


async def old_job(db, status="completed", *, days=0.0, hidden=False):
    job_id, is_done = new_id(), status == "completed"
    async with db.connection() as connection:
        await connection.execute("INSERT INTO credits (wallet_address) VALUES ('w') ON CONFLICT DO NOTHING")
        await connection.execute(
            """
            INSERT INTO video_jobs (id, status, wallet_address, prompt, aspect_ratio, model, generation_type,
                resolution, duration, cost, turn, expires_at, completed_at, video_url, failure_code, hidden_at,
                deadline_at)
            VALUES ($1, $2, 'w', 'A cat', '16:9', 'veo3', 'TEXT_2_VIDEO', '720p', 8, 4, 1, now(),
                CASE WHEN $2 <> 'processing' THEN now() - $3 * interval '1 day' END, $4, $5,
                CASE WHEN $6 THEN now() END, CASE WHEN $2 = 'processing' THEN now() END)
            """,
            job_id,
            status,
            days,
            "https://v" if is_done else None,
            "refused" if status == "failed" else None,
            hidden,
        )
    return job_id


async def found_in(db):
    async with db.connection() as connection:
        return {row["job_id"]: row["state"] for row in await connection.fetch("SELECT job_id, state FROM videos")}


async def deleted_in(db):
    async with db.connection() as connection:
        rows = await connection.fetch("SELECT id FROM video_jobs WHERE video_deleted_at IS NOT NULL")
        return [row["id"] for row in rows]


async def test_what_was_completed_before_the_upgrade_is_due_as_long_as_kie_has_it(before_custody):
    async with before_custody() as (db, up_to):
        young = await old_job(db, days=13)
        await old_job(db, days=15)
        await old_job(db, "failed", days=1)
        hidden = await old_job(db, days=1, hidden=True)
        await up_to(14)

        assert await found_in(db) == {young: "due"}
        assert await deleted_in(db) == [hidden]


async def test_what_code_from_before_completes_and_deletes_is_seen(before_custody):
    """It runs beside the new one for a while, and knows nothing of custody."""
    async with before_custody() as (db, up_to):
        jobs = [await old_job(db, "processing") for _ in range(4)]
        await up_to(14)
        complete = """
            UPDATE video_jobs
               SET status = 'completed', completed_at = now(), video_url = 'https://v', deadline_at = NULL
             WHERE id = $1
        """
        hide = "UPDATE video_jobs SET hidden_at = now() WHERE id = $1 AND hidden_at IS NULL RETURNING true"
        async with db.connection() as connection:
            for job in jobs:
                await connection.execute(complete, job)
            due, waiting, begun, kept = jobs
            await connection.execute("UPDATE videos SET attempts = 1 WHERE job_id = ANY($1)", [begun, kept])
            keep = "UPDATE videos SET state = 'kept', due_at = NULL, bytes = 1, sha256 = 'x' WHERE job_id = $1"
            await connection.execute(keep, kept)
            for job in (waiting, begun, kept):
                assert await connection.fetchval(hide, job)

        assert await found_in(db) == {due: "due", waiting: "deleted", begun: "deleting", kept: "deleting"}
        assert set(await deleted_in(db)) == {waiting, begun, kept}


async def test_the_upgrade_reads_the_jobs_beside_those_who_write_them(before_custody):
    """What takes long on a large table holds nobody up."""
    fill = next(one for one in migrations.known() if one.version == 14)
    async with before_custody() as (db, up_to):
        await up_to(13)
        async with db.transaction() as tx:
            await tx.execute(fill.sql)
            held = await tx.fetch(
                "SELECT mode FROM pg_locks WHERE relation = 'video_jobs'::regclass AND pid = pg_backend_pid()"
            )

    assert {row["mode"] for row in held} <= {"AccessShareLock", "RowShareLock", "RowExclusiveLock"}
