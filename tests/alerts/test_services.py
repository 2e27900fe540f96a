"""A part that is dead, stands still or keeps callers waiting makes its alert fire, and no other."""

import asyncio


async def test_a_service_that_is_dead(rig, film):
    await rig.kill("api")
    await film.shoot()

    await film.fires("ReelgateServiceDown page")


async def test_one_of_two_that_is_dead(rig, film):
    await rig.kill("submitter-2")
    await film.shoot()

    await film.fires("ReelgateInstanceDown ticket")


async def test_a_pass_that_does_not_come_to_its_end(rig, film):
    """Somebody holds a table that it needs."""
    async with rig.as_superuser() as holder, holder.transaction():
        await holder.execute("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE")
        await film.stands("clean", 2)

    await film.fires("ReelgatePassStopped page", stopped="clean")


async def test_a_pass_that_crashes(rig, film):
    await rig.sql("ALTER TABLE sessions RENAME TO lost")
    await film.shows("reelgate_loop_failures_total", task="clean")
    await rig.sql("ALTER TABLE lost RENAME TO sessions")

    await film.fires("ReelgatePassCrashes ticket")


async def test_a_database_that_does_not_answer_exhausts_the_pool(rig, film):
    rig.line("api", "database").freeze()
    async with rig.client() as client, asyncio.TaskGroup() as group:
        for _ in range(15):
            group.create_task(client.get("/api/video/jobs"))
        await film.shows("reelgate_pool_waiting", 1, job="reelgate-api")
        await rig.heal()

    await film.fires("ReelgatePoolExhausted ticket")


async def test_a_database_that_is_away_fails_callers(rig, film):
    rig.line("api", "database").refuse()
    await is_noticed(rig, film)
    for _ in range(2):
        assert await ask(rig, 6) == {503}
        await film.shoot()

    await film.fires("ReelgateAcceptFailing page", "ReelgateDatabaseAway page")


async def test_a_process_that_is_cut_off_from_the_database_says_so_though_nobody_asks_it(rig, film):
    rig.line("submitter-2", "database").refuse()
    await is_noticed(rig, film)
    await film.shoot()

    await film.fires("ReelgateDatabaseAway page")


async def is_noticed(rig, film):
    """Return when some process shows that the database is away."""

    async def noticed():
        return (await film.look()).least("reelgate_database_up") == 0

    await rig.until(noticed)


async def test_a_slow_database_makes_callers_wait(rig, film):
    rig.line("api", "database").freeze()
    asking = asyncio.create_task(ask(rig, 6))
    await asyncio.sleep(1.5)  # no event: more than the second that the objective allows
    await rig.heal()
    assert await asking == {202}
    await film.shows("reelgate_http_request_seconds_count", route="/api/video/generate")

    await film.fires("ReelgateAcceptSlow ticket")


async def ask(rig, times):
    """Ask for so many videos at once; the statuses of the answers."""
    body = {"wallet_address": "plain", "prompt": "sim:ok", "image_urls": ["https://example.com/image.png"]}
    async with rig.client() as client:
        answers = await asyncio.gather(*(client.post("/api/video/generate", json=body) for _ in range(times)))
    return {answer.status_code for answer in answers}
