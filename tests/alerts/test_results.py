"""What keeps a video, or its credits, from a customer makes its alert fire, and no other."""

from fault_proxy import Toward


async def test_a_video_that_never_comes(rig, film):
    [job_id] = await rig.jobs(1, "stuck")
    await rig.reached(job_id, "processing")
    await rig.sql("UPDATE video_jobs SET created_at = created_at - interval '70 min' WHERE completed_at IS NULL")
    await film.shows("reelgate_oldest_job_seconds", 3600, state="processing")

    await film.fires("ReelgateProcessingOverdue ticket")


async def test_webhooks_of_kie_that_do_not_get_through(rig, film):
    rig.line("simulator", "callback").refuse()
    for _ in range(2):
        ids = await rig.jobs(4)
        await rig.all_reached(ids, "completed")
        await film.shoot()

    await film.fires("ReelgateCallbacksLost ticket")


async def test_videos_that_are_noticed_late(rig, film):
    """The reconciler asks when, by its clock, two minutes have passed since the end of the task."""
    rig.line("simulator", "callback").refuse()
    rig.step_clock("reconciler", 120)
    for _ in range(2):
        ids = await rig.jobs(6)
        await rig.all_reached(ids, "completed")
        await film.shoot()
    rig.step_clock("reconciler", 0)

    # Found by asking, all of them.
    await film.fires("ReelgateDetectionSlow ticket", "ReelgateCallbacksLost ticket")


async def test_webhooks_with_a_wrong_signature(rig, film):
    for _ in range(2):
        ids = await rig.jobs(4, "bad-signature")
        await rig.all_reached(ids, "completed")
        await film.shoot()

    await film.fires("ReelgateCallbackSignatures ticket")


async def test_videos_that_kie_cannot_make(rig, film):
    for _ in range(2):
        await rig.jobs(4, "flag3")
        await rig.at_rest()
        await film.shoot()

    await film.fires("ReelgateJobsFailing ticket")


async def test_videos_on_a_host_that_is_not_named(rig, film):
    """Kie.ai's files moved to another name."""
    url = rig.env["SIMULATOR_URL"]
    await rig.simulator("/sim/config", public_url=url.replace("127.0.0.1", "localhost"))
    await rig.jobs(1)
    await film.shows("reelgate_result_hosts_refused_total")
    await rig.simulator("/sim/config", public_url=url)

    await film.fires("ReelgateResultHostsRefused page")


async def test_a_video_that_comes_after_its_job_was_given_up(rig, film):
    [job_id] = await rig.jobs(1, "late-success")
    await rig.reached(job_id, "processing")
    await rig.sql("UPDATE video_jobs SET deadline_at = now() WHERE completed_at IS NULL")
    await rig.reached(job_id, "failed")
    await rig.sql("UPDATE video_jobs SET next_check_at = now() + interval '2 s' WHERE status = 'failed'")
    await rig.reached(job_id, "completed")
    await film.shows("reelgate_late_successes_total")

    await film.fires("ReelgateLateVideos ticket")


async def test_a_balance_that_somebody_changed_by_hand(rig, film):
    change = "UPDATE credits SET credits = credits + $1 WHERE wallet_address = 'plain'"
    await rig.sql(change, 1)
    await film.shows("reelgate_ledger_drift")
    await rig.sql(change, -1)

    await film.fires("ReelgateLedgerDrift page")


async def test_two_videos_for_one_job(rig, film):
    """Neither the answer to its send nor the webhook came in time, so it was sent again: by the policy `resubmit`."""
    rig.line("simulator", "callback").freeze(Toward.SERVER)
    [job_id] = await rig.jobs(1, "submit-reset")
    await rig.reached(job_id, "unknown")
    await rig.sql("UPDATE video_jobs SET deadline_at = now() WHERE completed_at IS NULL")

    async def sent_again():
        return await rig.sql("SELECT FROM job_attempts WHERE n = 2 AND outcome = 'unknown'")

    await rig.until(sent_again)
    await rig.heal()
    await film.shows("reelgate_duplicate_deliveries_total")

    await film.fires("ReelgateDoubleDelivery page")


async def test_refunds_that_are_not_written(rig, film):
    """Somebody holds the wallet's row."""
    async with rig.as_superuser() as holder, holder.transaction():
        [job_id] = await rig.jobs(1, "flag3")
        await holder.execute("SELECT FROM credits WHERE wallet_address = 'plain' FOR UPDATE")
        await rig.reached(job_id, "failed")
        await rig.sql(
            "UPDATE video_jobs SET completed_at = completed_at - interval '6 min' WHERE refunded_at IS NULL"
            " AND status = 'failed'"
        )
        await film.shows("reelgate_oldest_refund_due_seconds", 300)

        await film.fires("ReelgateRefundsOverdue page")


async def test_refunds_that_were_written_late(rig, film):
    """For the database every job that fails did so two minutes before."""
    await rig.sql(
        """
        CREATE FUNCTION earlier() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.completed_at = NEW.completed_at - interval '2 min'; RETURN NEW; END $$
        """
    )
    await rig.sql(
        """
        CREATE TRIGGER earlier BEFORE UPDATE ON video_jobs FOR EACH ROW
         WHEN (OLD.status <> 'failed' AND NEW.status = 'failed') EXECUTE FUNCTION earlier()
        """
    )
    await rig.jobs(6, "flag3")
    await rig.at_rest()
    await film.shoot()
    await rig.sql("DROP TRIGGER earlier ON video_jobs")
    await rig.sql("DROP FUNCTION earlier")

    await film.fires("ReelgateRefundSlow page", "ReelgateRefundSlow ticket", "ReelgateJobsFailing ticket")
