"""The submitter: a permit claims the fairest due job and sends it once."""

import asyncio
import time
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from reelgate_common import breaker, topology
from reelgate_common.auth import hash_secret
from reelgate_common.bus import Bus
from reelgate_common.domain.job import JobStatus, SendOutcome
from reelgate_common.ids import new_id
from reelgate_common.kie.answers import Send
from reelgate_common.messages import JobRequested
from reelgate_reconciler import repository as reconciler_repository
from reelgate_submitter import consumers
from reelgate_submitter.handlers import Submitter
from reelgate_submitter.settings import Settings

PERMIT = JobRequested(job_id=new_id(), job_version=1)
NEEDED = {"database_url": "x", "amqp_url": "x", "kie_ai_api_key": "x", "public_base_url": "https://gateway.example"}


def ended(outcome, code=None, message="said so"):
    return Send(outcome=outcome, code=code, message=message)


@pytest.fixture
def make_submitter(db, vendor, relay, cast):
    async def make(**overrides):
        settings = Settings(**NEEDED | {"kie_sends_per_window": 100} | overrides)
        return Submitter(db, vendor, relay, settings)

    return make


@pytest.fixture
def use_permit(make_submitter):
    async def use(**overrides):
        await (await make_submitter(**overrides)).use_permit(PERMIT)

    return use


@pytest.fixture
def breaker_row(stored):
    async def read():
        [row] = await stored.rows("SELECT *, open_until > now() AS is_open FROM breaker")
        return row

    return read


async def test_an_accepted_job_is_processing_under_its_task_id(make_job, use_permit, vendor, stored):
    job = await make_job()
    vendor.outcomes = [Send(outcome=SendOutcome.ACCEPTED, code=200, task_id="task-1")]

    await use_permit()

    job = await stored.job(job.id)
    assert (job.status, job.task_id) == ("processing", "task-1")
    assert await stored.events(job.id) == ["accepted", "claimed", "submitted"]
    assert await stored.outbox(job.id) == ["job.requested", "job.submitted"]


async def test_a_refused_job_fails_with_the_vendors_words(make_job, use_permit, vendor, stored):
    job = await make_job()
    vendor.outcomes = [ended(SendOutcome.REFUSED, 422, "Your prompt was flagged")]

    await use_permit()

    job = await stored.job(job.id)
    assert (job.status, job.failure_code, job.error_message) == ("failed", "refused", "Your prompt was flagged")
    assert await stored.outbox(job.id) == ["job.requested", "job.failed"]


@pytest.mark.parametrize("outcome", [SendOutcome.THROTTLED, SendOutcome.BLOCKED, SendOutcome.NOT_SENT])
async def test_a_job_that_was_surely_not_taken_waits_for_another_try(make_job, use_permit, vendor, stored, outcome):
    job = await make_job()
    vendor.outcomes = [ended(outcome)]

    await use_permit(kie_send_window_seconds=10)

    assert await stored.status(job.id) == "pending"
    assert await stored.events(job.id) == ["accepted", "claimed", outcome]
    assert await stored.outbox(job.id) == ["job.requested", "job.requested"]
    [waiting] = await stored.rows("SELECT next_attempt_at > updated_at AS later FROM video_jobs WHERE id = $1", job.id)
    assert waiting["later"]


async def test_the_next_permit_comes_when_the_job_is_due_again(make_job, use_permit, vendor, stored):
    job = await make_job()
    vendor.outcomes = [ended(SendOutcome.THROTTLED)]

    await use_permit()

    due = await stored.value("SELECT next_attempt_at FROM video_jobs WHERE id = $1", job.id)
    assert due == await stored.value("SELECT max(available_at) FROM outbox WHERE job_id = $1", job.id)


async def test_an_unknown_send_is_left_open(make_job, use_permit, vendor, stored):
    job = await make_job()
    vendor.outcomes = [ended(SendOutcome.UNKNOWN)]

    await use_permit(submit_unknown_deadline=3600)

    assert await stored.status(job.id) == "unknown"
    assert await stored.outbox(job.id) == ["job.requested"]
    assert 3500 < await stored.seconds_until(job.id, "deadline_at") <= 3600


async def test_an_unknown_send_is_never_sent_again_by_a_permit(make_job, use_permit, vendor):
    await make_job()
    vendor.outcomes = [ended(SendOutcome.UNKNOWN)]

    for _ in range(3):
        await use_permit()

    assert len(vendor.sent) == 1


async def test_a_permit_with_nothing_due_is_spent(use_permit, vendor):
    await use_permit()

    assert vendor.sent == []


async def test_a_job_is_not_sent_before_it_is_due(make_job, use_permit, vendor, stored):
    job = await make_job()
    await stored.age(job.id, "next_attempt_at", seconds=-60)

    await use_permit()

    assert vendor.sent == []


async def test_a_permit_is_for_whoever_is_next_not_for_the_job_it_names(make_job, make_submitter, vendor):
    first, second = await make_job(), await make_job()

    await (await make_submitter()).use_permit(JobRequested(job_id=second.id, job_version=1))

    assert vendor.sent == [first.id]


async def test_two_permits_for_one_job_send_it_once(make_job, make_submitter, vendor):
    job = await make_job()
    submitters = [await make_submitter(), await make_submitter()]

    await asyncio.gather(*(submitter.use_permit(PERMIT) for submitter in submitters * 4))

    assert vendor.sent == [job.id]


async def test_many_permits_on_several_submitters_send_each_job_once(make_job, make_submitter, vendor):
    made = {(await make_job(wallet_address=f"w{n % 3}")).id for n in range(12)}
    submitters = [await make_submitter() for _ in range(3)]

    await asyncio.gather(*(submitter.use_permit(PERMIT) for submitter in submitters * 6))

    assert len(vendor.sent) == 12
    assert set(vendor.sent) == made


async def test_wallets_are_sent_in_turn(make_job, use_permit, vendor):
    jobs = {name: await make_job(wallet_address=name[0]) for name in ("a1", "a2", "a3", "b1", "b2")}

    for _ in jobs:
        await use_permit()

    names = {job.id: name for name, job in jobs.items()}
    assert [names[job_id] for job_id in vendor.sent] == ["a1", "b1", "a2", "b2", "a3"]


_READ = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'video_jobs'"
_FILL = """
    INSERT INTO video_jobs (id, wallet_address, prompt, aspect_ratio, model, generation_type, resolution, duration,
                            cost, turn, expires_at, deadline_at, next_attempt_at)
    SELECT gen_random_uuid(), 'wallet', 'p', '16:9', 'veo3_fast', 'TEXT_2_VIDEO', '720p', 8, 4, n,
           now() + interval '1 d', now() + interval '1 d', now()
      FROM generate_series(1, 3000) n
"""


@pytest.mark.parametrize("look", ["SELECT turn FROM fairest_due(5)", "SELECT first_turn()"])
async def test_the_head_of_a_long_queue_is_read_alone_though_statistics_are_of_an_empty_one(db, fund, stored, look):
    await fund()
    await stored.run("VACUUM ANALYZE video_jobs")
    await stored.run(_FILL)

    async with db.transaction() as tx:
        before = await tx.fetchval(_READ)
        found = [row[0] for row in await tx.fetch(look)]
        read = await tx.fetchval(_READ) - before

    assert found == list(range(1, len(found) + 1))
    assert read < 20


async def test_the_attempt_is_recorded_before_the_call(make_job, use_permit, vendor, stored):
    job = await make_job()
    seen = []

    async def look():
        seen.append((await stored.status(job.id), await stored.attempts(job.id)))

    vendor.while_sending = look
    await use_permit()

    [(status, [attempt])] = seen
    assert status == "submitting"
    assert (attempt["n"], attempt["outcome"]) == (1, None)


async def test_the_callback_url_names_the_attempt_and_its_token_is_stored_hashed(make_job, use_permit, vendor, stored):
    job = await make_job()

    await use_permit()

    url = urlsplit(vendor.callback_urls[0])
    given = {name: values[0] for name, values in parse_qs(url.query).items()}
    [attempt] = await stored.attempts(job.id)
    assert f"{url.scheme}://{url.netloc}{url.path}" == "https://gateway.example/api/video/kie-ai-callback"
    assert given["attempt"] == str(attempt["id"])
    assert attempt["token_hash"] == hash_secret(given["token"])
    assert len(given["token"]) >= 32


async def test_each_attempt_has_a_token_of_its_own(make_job, use_permit, vendor, stored):
    job = await make_job()
    vendor.outcomes = [ended(SendOutcome.NOT_SENT)]

    await use_permit()
    await stored.age(job.id, "next_attempt_at")
    await use_permit()

    assert len(set(vendor.callback_urls)) == 2
    assert [attempt["n"] for attempt in await stored.attempts(job.id)] == [1, 2]


async def test_the_send_must_begin_well_before_the_lease_ends(make_job, make_submitter, vendor):
    await make_job()
    seen = []
    send = vendor.generate

    async def generate(job, *, callback_url, send_before):
        seen.append(send_before - time.monotonic())
        return await send(job, callback_url=callback_url, send_before=send_before)

    vendor.generate = generate
    await (await make_submitter(submit_lease_seconds=100)).use_permit(PERMIT)

    assert 0 < seen[0] <= 80


# The window -----------------------------------------------------------------------------------------


async def test_two_submitters_together_stay_within_the_window(make_job, make_submitter, vendor):
    for _ in range(9):
        await make_job()
    limits = {"kie_sends_per_window": 3, "kie_send_window_seconds": 0.4, "kie_send_margin_seconds": 0.4}
    submitters = [await make_submitter(**limits) for _ in range(2)]

    await asyncio.gather(*(submitter.use_permit(PERMIT) for submitter in submitters * 6))

    times = sorted(vendor.sent_at)
    assert len(times) == 9
    assert all(later - earlier >= 0.4 for earlier, later in zip(times, times[3:], strict=False))


async def test_a_permit_that_would_wait_too_long_goes_back_to_the_outbox(make_job, make_submitter, vendor, stored):
    job = await make_job()
    submitter = await make_submitter(kie_sends_per_window=1, kie_send_window_seconds=3600)
    await stored.run("INSERT INTO send_slots (n, used_at) VALUES (1, now())")

    await submitter.use_permit(JobRequested(job_id=job.id, job_version=1))

    assert vendor.sent == []
    assert await stored.outbox(job.id) == ["job.requested", "job.requested"]


async def test_a_stop_leaves_waiting_permits_to_others(make_job, make_submitter, vendor, stored):
    await make_job()
    submitter = await make_submitter(kie_sends_per_window=1, kie_send_window_seconds=30)
    await stored.run("INSERT INTO send_slots (n, used_at) VALUES (1, now())")

    using = asyncio.create_task(submitter.use_permit(PERMIT))
    submitter.stopping.set()
    await asyncio.wait({using}, timeout=10)

    assert using.cancelled()
    assert vendor.sent == []


# The breaker ----------------------------------------------------------------------------------------


async def test_trouble_with_the_account_opens_the_breaker_for_all(make_job, use_permit, vendor, breaker_row):
    await make_job()
    vendor.outcomes = [ended(SendOutcome.BLOCKED, 402, "Credits insufficient")]

    await use_permit()

    row = await breaker_row()
    assert row["is_open"]
    assert row["reason"] == "402: Credits insufficient"


async def test_behind_an_open_breaker_nothing_is_sent(make_job, make_submitter, vendor, cast, eventually, stored):
    job = await make_job()
    await cast(breaker.trip, reason="no credits", first_seconds=300)
    submitter = await make_submitter()

    using = asyncio.create_task(submitter.use_permit(PERMIT))
    done, _ = await asyncio.wait({using}, timeout=0.15)
    assert not done
    assert await stored.status(job.id) == "pending"

    await stored.run("UPDATE breaker SET open_until = now()")
    await using
    assert vendor.sent == [job.id]


async def test_one_probe_goes_when_the_breakers_time_is_over(cast, stored):
    await cast(breaker.trip, reason="no credits", first_seconds=5)
    await stored.run("UPDATE breaker SET open_until = now() - interval '1 s'")

    taken = await asyncio.gather(*(cast(breaker.take_probe, within=timedelta(seconds=90)) for _ in range(6)))

    assert sorted(taken) == [False] * 5 + [True]


async def test_a_probe_that_never_reports_is_followed_by_another(cast, stored):
    await cast(breaker.trip, reason="no credits", first_seconds=5)
    for _ in range(2):
        await stored.run("UPDATE breaker SET open_until = now() - interval '1 s'")
        assert await cast(breaker.take_probe, within=timedelta(seconds=90))


async def test_a_probe_that_is_accepted_closes_the_breaker(make_job, use_permit, cast, stored, breaker_row):
    await make_job()
    await cast(breaker.trip, reason="no credits", first_seconds=5)
    await stored.run("UPDATE breaker SET open_until = now() - interval '1 s'")

    await use_permit()

    row = await breaker_row()
    assert (row["failures"], row["reason"], row["is_open"]) == (0, None, False)


async def test_a_probe_that_fails_keeps_it_open_for_longer(make_job, use_permit, vendor, cast, stored, breaker_row):
    await make_job()
    await cast(breaker.trip, reason="no credits", first_seconds=5)
    await stored.run("UPDATE breaker SET open_until = now() - interval '1 s'")
    vendor.outcomes = [ended(SendOutcome.BLOCKED, 402)]

    await use_permit(breaker_first_seconds=5)

    row = await breaker_row()
    assert row["failures"] == 2
    assert await stored.value("SELECT open_until - now() BETWEEN '8 s' AND '10 s' FROM breaker")


async def test_several_blocked_at_once_count_as_one_failure(cast, breaker_row):
    for _ in range(5):
        await cast(breaker.trip, reason="no credits", first_seconds=5)

    assert (await breaker_row())["failures"] == 1


async def test_a_probe_that_finds_the_window_full_goes_as_soon_as_it_is_free(
    make_job, make_submitter, vendor, cast, stored
):
    """The right to probe must not be lost while the probe waits for its slot."""
    job = await make_job()
    submitter = await make_submitter(kie_sends_per_window=1, kie_send_window_seconds=0.3, submit_lease_seconds=90)
    await cast(breaker.trip, reason="no credits", first_seconds=5)
    await stored.run("UPDATE breaker SET open_until = now() - interval '1 s'")
    await stored.run("INSERT INTO send_slots (n, used_at) VALUES (1, clock_timestamp())")

    async with asyncio.timeout(8):
        await submitter.use_permit(PERMIT)

    assert vendor.sent == [job.id]


async def test_a_probe_that_was_throttled_is_followed_by_another_soon(make_job, use_permit, vendor, cast, stored):
    """Within a minute, not only after a whole lease."""
    await make_job()
    await cast(breaker.trip, reason="no credits", first_seconds=5)
    await stored.run("UPDATE breaker SET open_until = now() - interval '1 s'")
    vendor.outcomes = [ended(SendOutcome.THROTTLED)]

    await use_permit(submit_lease_seconds=90, breaker_first_seconds=5)

    assert await stored.value("SELECT open_until - now() < '60 s' FROM breaker")


@pytest.mark.parametrize("outcome", [SendOutcome.UNKNOWN, SendOutcome.NOT_SENT])
async def test_so_many_sends_in_a_row_without_a_usable_answer_open_the_breaker(
    make_job, use_permit, vendor, breaker_row, outcome
):
    for _ in range(3):
        await make_job()
    vendor.outcomes = [ended(outcome, 502, "HTTP 502") for _ in range(3)]

    states = []
    for _ in range(3):
        await use_permit(breaker_failures_in_a_row=3)
        states.append((await breaker_row())["is_open"])

    assert states == [False, False, True]
    assert (await breaker_row())["reason"] == "3 sends in a row without a usable answer, the last: HTTP 502"


@pytest.mark.parametrize("usable", [SendOutcome.ACCEPTED, SendOutcome.REFUSED])
async def test_a_usable_answer_between_them_begins_the_count_anew(make_job, use_permit, vendor, breaker_row, usable):
    between = vendor.accepted() if usable is SendOutcome.ACCEPTED else ended(usable, 422)
    vendor.outcomes = [ended(SendOutcome.UNKNOWN), between, ended(SendOutcome.UNKNOWN)]

    for _ in range(3):
        await make_job()
        await use_permit(breaker_failures_in_a_row=2)

    row = await breaker_row()
    assert (row["failures"], row["strikes"]) == (0, 1)


async def test_a_throttled_send_neither_counts_nor_begins_anew(make_job, use_permit, vendor, breaker_row):
    vendor.outcomes = [ended(SendOutcome.UNKNOWN), ended(SendOutcome.THROTTLED), ended(SendOutcome.UNKNOWN)]

    for _ in range(3):
        await make_job()
        await use_permit(breaker_failures_in_a_row=2)

    assert (await breaker_row())["is_open"]


@pytest.mark.parametrize("outcome", [SendOutcome.UNKNOWN, SendOutcome.NOT_SENT])
async def test_a_probe_without_a_usable_answer_keeps_it_open_for_longer(
    make_job, use_permit, vendor, cast, stored, breaker_row, outcome
):
    await make_job()
    await cast(breaker.trip, reason="a storm", first_seconds=5)
    await stored.run("UPDATE breaker SET open_until = now() - interval '1 s'")
    vendor.outcomes = [ended(outcome)]

    await use_permit(breaker_first_seconds=5)

    row = await breaker_row()
    assert (row["failures"], row["probing"]) == (2, False)


async def test_while_an_operator_has_paused_sends_nothing_goes_not_even_a_probe(
    make_job, make_submitter, vendor, cast, stored
):
    job = await make_job()
    await cast(breaker.trip, reason="no credits", first_seconds=5)
    await stored.run("UPDATE breaker SET open_until = now() - interval '1 s'")
    await cast(breaker.pause, "the account is being changed")
    submitter = await make_submitter()

    using = asyncio.create_task(submitter.use_permit(PERMIT))
    done, _ = await asyncio.wait({using}, timeout=0.15)
    assert not done
    assert await stored.status(job.id) == "pending"

    await cast(breaker.resume)
    await using
    assert vendor.sent == [job.id]


# Late, canceled, contradicted -----------------------------------------------------------------------


@pytest.fixture
def lease_ends(stored, cast):
    """What the reconciler does when a submitter sleeps past its lease."""

    async def end():
        await stored.run("UPDATE video_jobs SET deadline_at = now() - interval '1 s' WHERE status = 'submitting'")
        overdue = await cast(reconciler_repository.take_overdue, limit=10)
        for found in overdue:
            await stored.run(
                "UPDATE job_attempts SET outcome = 'unknown', outcome_at = now() WHERE id = $1", found.attempt_id
            )
            await stored.run("UPDATE video_jobs SET status = 'unknown' WHERE id = $1", found.id)

    return end


async def test_a_task_id_that_comes_after_the_lease_is_recorded(make_job, use_permit, vendor, stored, lease_ends):
    job = await make_job()
    vendor.while_sending = lease_ends

    await use_permit()

    job = await stored.job(job.id)
    assert job.status == "processing"
    assert job.task_id is not None


async def test_a_refusal_that_comes_after_the_lease_is_recorded(make_job, use_permit, vendor, stored, lease_ends):
    job = await make_job()
    vendor.while_sending = lease_ends
    vendor.outcomes = [ended(SendOutcome.REFUSED, 422)]

    await use_permit()

    assert await stored.status(job.id) == "failed"


async def test_a_sure_no_that_comes_after_the_lease_lets_the_job_be_sent_again(
    make_job, use_permit, vendor, stored, lease_ends
):
    job = await make_job()
    vendor.while_sending = lease_ends
    vendor.outcomes = [ended(SendOutcome.NOT_SENT)]

    await use_permit()

    assert await stored.status(job.id) == "pending"


async def test_a_wish_to_cancel_outlives_an_unknown_send(make_job, use_permit, vendor, stored, lease_ends):
    job = await make_job()

    async def sleep_through_the_lease():
        await stored.run("UPDATE video_jobs SET cancel_requested_at = now()")
        await lease_ends()

    vendor.while_sending = sleep_through_the_lease
    vendor.outcomes = [ended(SendOutcome.NOT_SENT)]
    await use_permit()

    assert await stored.status(job.id) == "canceled"


@pytest.fixture
def cancel_while_sending(vendor, stored):
    async def cancel():
        await stored.run("UPDATE video_jobs SET cancel_requested_at = now()")

    vendor.while_sending = cancel


@pytest.mark.parametrize("outcome", [SendOutcome.THROTTLED, SendOutcome.BLOCKED, SendOutcome.NOT_SENT])
async def test_a_cancel_during_the_send_is_honoured_if_it_was_not_taken(
    make_job, use_permit, vendor, stored, cancel_while_sending, outcome
):
    job = await make_job()
    vendor.outcomes = [ended(outcome)]

    await use_permit()

    assert await stored.status(job.id) == "canceled"
    assert await stored.outbox(job.id) == ["job.requested", "job.canceled"]


async def test_a_cancel_during_the_send_is_too_late_if_it_was_taken(make_job, use_permit, stored, cancel_while_sending):
    job = await make_job()

    await use_permit()

    assert await stored.status(job.id) == "processing"


async def test_a_task_id_of_another_job_leaves_this_one_unknown(make_job, use_permit, vendor, stored):
    other = await make_job(JobStatus.PROCESSING)
    job = await make_job()
    vendor.outcomes = [Send(outcome=SendOutcome.ACCEPTED, code=200, task_id=other.task_id)]

    await use_permit()

    assert await stored.status(job.id) == "unknown"
    assert (await stored.job(other.id)).task_id == other.task_id


async def test_the_outcome_is_recorded_when_the_database_comes_back(
    make_job, make_submitter, vendor, stored, eventually, database_url
):
    job = await make_job()

    async def cut_all_connections():
        await stored.run(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()
            """
        )

    vendor.while_sending = cut_all_connections
    await (await make_submitter()).use_permit(PERMIT)

    assert await stored.status(job.id) == "processing"


async def test_a_connection_lost_during_a_call_costs_neither_its_answer_nor_a_second_send(
    make_job, make_submitter, vendor, stored, bus, wire, quick_reconnects, eventually, ended_as
):
    """The broker gives the permit out again while the first use of it is still at Kie.ai."""
    job, go_on = await make_job(), asyncio.Event()
    vendor.while_sending = go_on.wait
    submitter = await make_submitter()
    before = ended_as(topology.JOB_REQUESTED, "acked")

    opened = Bus.open(wire.settings, "tests")
    async with opened as cuttable, cuttable.consuming(consumers.build(submitter, cuttable.publisher)):
        body = PERMIT.model_dump_json().encode()
        await bus.publisher.publish(routing_key=PERMIT.routing_key, message_id="permit", body=body, headers={})
        await eventually(lambda: vendor.sent)
        wire.cut()
        await eventually(lambda: ended_as(topology.JOB_REQUESTED, "acked") == before + 1)
        go_on.set()

    assert vendor.sent == [job.id]
    assert (await stored.job(job.id)).status is JobStatus.PROCESSING
    assert await stored.events(job.id) == ["accepted", "claimed", "submitted"]
