"""What keeps a video from being kept makes its alert fire, and no other."""

import pytest_asyncio


@pytest_asyncio.fixture(loop_scope="session")
async def keeping(rig, tmp_path_factory):
    """Copies are to be made, of videos on a host that nothing is fetched from: its address is not public."""
    await rig.restart("reconciler", CUSTODY_URL=f"file://{tmp_path_factory.mktemp('bucket')}", CUSTODY_SECONDS="0.3")
    yield rig
    await let_pass(rig, hours=0)
    await rig.restart("reconciler")


async def test_videos_that_cannot_be_copied(keeping, film):
    await keeping.all_reached(await keeping.jobs(1), "completed")
    await let_pass(keeping, hours=2)
    await film.shows("reelgate_custody_oldest_due_seconds", 2 * 3600)
    await film.fires("ReelgateCustodyLate ticket")

    await let_pass(keeping, hours=11 * 24)
    await film.shows("reelgate_custody_oldest_due_seconds", 11 * 24 * 3600)
    await film.fires("ReelgateCustodyLate ticket", "ReelgateCustodyLate page")


async def test_videos_that_were_not_copied_in_time(keeping, film):
    await keeping.all_reached(await keeping.jobs(1), "completed")

    async def given_up():
        await let_pass(keeping, hours=15 * 24)  # again while a copy of it is just being tried
        return not await keeping.sql("SELECT FROM videos WHERE state = 'due'")  # also that of the test before

    async def measured_since():
        return (await film.look()).value("reelgate_custody_oldest_due_seconds", {}) <= 0

    await keeping.until(given_up)
    await keeping.until(measured_since)  # a measure taken before would tell of a copy that is late as well
    await film.shows("reelgate_custody_copies_total", outcome="given_up")

    await film.fires("ReelgateVideosLost page")


async def let_pass(gateway, *, hours):
    """Let it be so long since the videos that wait for their copy were completed; each is due for another try."""
    await gateway.sql(
        "UPDATE videos SET completed_at = now() - $1 * interval '1 hour', due_at = now() WHERE state = 'due'", hours
    )
