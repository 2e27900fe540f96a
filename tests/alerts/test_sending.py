"""What keeps jobs from Kie.ai makes its alert fire, and no other."""


async def test_a_gateway_that_works_makes_no_alert_fire(rig, film):
    jobs = await rig.mixed_jobs(12, ("ok", "dup-callback", "lag", "throttle", "url-json", "slow"))
    await film.shoot()
    await rig.at_rest()
    await film.shoot()

    await rig.ended_right(jobs)
    await film.fires()


async def test_jobs_that_nobody_takes(rig, film):
    for line in rig.lines_to("vendor"):
        line.refuse()
    await rig.jobs(1)

    async def tried():
        return await rig.sql("SELECT FROM job_attempts JOIN video_jobs j ON j.id = job_id WHERE j.status = 'pending'")

    await rig.until(tried)
    await rig.sql("UPDATE video_jobs SET created_at = created_at - interval '20 min' WHERE completed_at IS NULL")
    await film.shows("reelgate_oldest_job_seconds", 900, state="pending")

    await film.fires("ReelgateJobsWaiting page")


async def test_jobs_that_were_sent_late(rig, film):
    rig.command("pause", "--reason", "so that a job waits")
    ids = await rig.jobs(6)
    await rig.sql("UPDATE video_jobs SET created_at = created_at - interval '2 min' WHERE completed_at IS NULL")
    rig.command("resume")
    await rig.all_reached(ids, "completed")
    await film.shows("reelgate_send_wait_seconds_sum", 100)

    await film.fires("ReelgateSendSlow ticket")


async def test_an_account_without_credits_opens_the_breaker(rig, film):
    await rig.simulator("/sim/config", refuse_all=402)
    ids = await rig.jobs(1)
    await film.shows("reelgate_breaker_open", job="reelgate-api")
    await rig.simulator("/sim/config", refuse_all=None)
    await rig.all_reached(ids, "completed")  # the probe: it closes the breaker

    await film.fires("ReelgateBreakerOpen page")


async def test_a_pause_that_nobody_ends(rig, film):
    rig.command("pause", "--reason", "for a look")
    await film.shows("reelgate_sends_paused", job="reelgate-api")
    rig.command("resume")

    await film.fires("ReelgateSendsPaused ticket")


async def test_an_account_that_runs_out(rig, film):
    await rig.simulator("/sim/config", credits=500)
    await film.shows("reelgate_vendor_balance_low")

    await film.fires("ReelgateVendorBalanceLow ticket")


async def test_a_day_that_cost_enough(rig, film):
    one = "WHERE id = (SELECT id FROM job_attempts ORDER BY id LIMIT 1)"
    await rig.sql(f"UPDATE job_attempts SET vendor_cost = 1000000 {one}")
    ids = await rig.jobs(1)
    await film.shows("reelgate_vendor_spend_capped", job="reelgate-api")
    await rig.sql(f"UPDATE job_attempts SET vendor_cost = 0 {one}")
    await rig.all_reached(ids, "completed")

    await film.fires("ReelgateVendorSpendCapped ticket")


async def test_a_vendor_that_throttles(rig, film):
    await rig.simulator("/sim/config", refuse_all=429)
    await rig.jobs(4)
    await throttled(rig, 4)
    await film.shoot()
    await rig.jobs(4)
    await throttled(rig, 8)
    await film.shoot()

    await film.fires("ReelgateVendorThrottles ticket")


async def throttled(rig, times):
    async def enough():
        [row] = await rig.sql(
            """
            SELECT count(*) AS n FROM job_attempts JOIN video_jobs j ON j.id = job_id
             WHERE outcome = 'throttled' AND j.completed_at IS NULL
            """
        )
        return row["n"] >= times

    await rig.until(enough)


async def test_answers_that_nobody_can_read(rig, film):
    for _ in range(2):
        ids = await rig.jobs(4, "submit-502-html")
        await rig.all_reached(ids, "completed")
        await film.shoot()

    await film.fires("ReelgateSendsUnclear ticket")


async def test_sends_of_which_nothing_is_heard(rig, film):
    await rig.jobs(4, "submit-drop")
    await film.shows("reelgate_jobs", 4, state="unknown")
    await rig.jobs(8, "submit-drop")
    await film.shows("reelgate_jobs", 12, state="unknown")

    await film.fires("ReelgateJobsUnknown ticket", "ReelgateSendsUnclear ticket")
