"""What operators are told over HTTP, and what it costs."""

import uuid
from datetime import UTC, datetime, timedelta

import aio_pika
import pytest
from api_client import api_settings, opened

from reelgate_api.operations import repository
from reelgate_common import backlog, keys, topology
from reelgate_common.auth import ADMIN
from reelgate_common.domain.job import JobStatus
from reelgate_common.ids import first_id, new_id

OVERVIEW = "/api/operations/overview"


@pytest.fixture
async def operator(database_url, broker, cast):
    """An API as an operator calls it."""
    _, key = await cast(keys.create_key, "ops", scopes=[ADMIN], wallets=None)
    settings = api_settings(database_url, broker, auth_mode="required", kie_sends_per_window=7)
    async with opened(settings) as client:
        client.headers["Authorization"] = f"Bearer {key}"
        yield client


@pytest.fixture
def overview(operator):
    async def read(span="1h"):
        answer = await operator.get(OVERVIEW, params={"span": span})
        assert answer.status_code == 200, answer.text
        return answer.json()

    return read


async def test_the_overview_counts_what_is_not_over_by_state(overview, make_job):
    for status in (JobStatus.PENDING, JobStatus.PENDING, JobStatus.UNKNOWN, JobStatus.COMPLETED, JobStatus.FAILED):
        await make_job(status)

    told = await overview()

    assert {one["state"]: one["count"] for one in told["standing"]} == {
        "pending": 2,
        "submitting": 0,
        "processing": 0,
        "unknown": 1,
    }
    assert told["refunds_due"] == 1
    assert sum(told["history"]["buckets"][-1]["counts"].values()) == 5
    assert told["history"]["complete_since"] is None
    assert told["outcomes"] == {"accepted": 2, "unknown": 1}


async def test_the_overview_tells_how_long_videos_took(overview, make_job, stored):
    job = await make_job(JobStatus.COMPLETED)
    await stored.run(
        "UPDATE video_jobs SET started_at = created_at + interval '2 s', completed_at = created_at + interval '62 s'"
        " WHERE id = $1",
        job.id,
    )

    told = await overview()

    assert [(one["step"], one["videos"], one["p50"], one["p99"]) for one in told["latency"]] == [
        ("waiting", 1, 2, 2),
        ("making", 1, 60, 60),
        ("whole", 1, 62, 62),
    ]


async def test_the_overview_tells_how_many_tasks_were_never_called_back_about(overview, make_job, stored):
    called, _ = [await make_job(JobStatus.COMPLETED) for _ in range(2)]
    await stored.run("UPDATE job_attempts SET verdict = 'delivered'")
    await make_job(JobStatus.PROCESSING)  # not over: it may still be called about
    await stored.run(
        "INSERT INTO callbacks (id, task_id, job_id, attempt_id, token_ok, body_hash, body)"
        " VALUES ($1, 'task', $2, $3, true, 'hash', '{}')",
        new_id(),
        called.id,
        called.attempt_id,
    )

    assert (await overview())["callbacks"] == {"finished": 2, "missing": 1}


async def test_the_overview_tells_the_window_and_the_account(overview, stored):
    await stored.run("INSERT INTO send_slots VALUES (1, now()), (2, now()), (3, now() - interval '1 h')")
    await stored.run("UPDATE vendor_account SET balance = 812.5, balance_at = now()")

    told = await overview()

    assert (told["sends"]["in_window"], told["sends"]["window_limit"], told["sends"]["window_seconds"]) == (2, 7, 10)
    assert told["vendor"]["balance"] == 812.5


async def test_sends_are_stopped_and_go_on(operator, overview):
    assert (await operator.post("/api/operations/pause", json={"reason": "a look"})).status_code == 204
    paused = (await overview())["sends"]
    assert (await operator.post("/api/operations/resume")).status_code == 204
    resumed = (await overview())["sends"]

    assert (paused["is_stopped"], paused["is_paused"], paused["reason"]) == (
        True,
        True,
        "paused by an operator: a look",
    )
    assert (resumed["is_stopped"], resumed["is_paused"], resumed["reason"]) == (False, False, None)


async def test_a_pause_needs_a_reason(operator, overview):
    refused = await operator.post("/api/operations/pause", json={})

    assert (refused.status_code, refused.json()["field"]) == (400, "reason")
    assert not (await overview())["sends"]["is_stopped"]


async def test_the_breakers_reason_and_next_try_are_told(overview, stored):
    await stored.run(
        "UPDATE breaker SET failures = 1, reason = '402: no credits', opened_at = now(), open_until = now() + '20 s'"
    )

    sends = (await overview())["sends"]

    assert (sends["is_stopped"], sends["is_paused"], sends["reason"]) == (True, False, "402: no credits")
    assert sends["next_try_at"] > sends["since"]


async def test_a_span_there_is_not_is_refused(operator):
    refused = await operator.get(OVERVIEW, params={"span": "10y"})

    assert (refused.status_code, refused.json()["field"]) == (400, "span")


@pytest.fixture
def park(channel):
    async def put(body, *, queue=topology.JOB_FAILED.name, message_id=None):
        headers = {"x-parked-from": queue, "x-parked-reason": "too many rounds"}
        message = aio_pika.Message(body.encode(), message_id=message_id or uuid.uuid4().hex, headers=headers)
        await channel.default_exchange.publish(message, topology.PARKED)
        return message.message_id

    return put


async def test_dead_letters_are_listed_with_the_job_they_are_about(operator, park, make_job):
    job = await make_job(JobStatus.FAILED)
    await park(f'{{"job_id": "{job.id}"}}')
    await park("not JSON")

    messages = (await operator.get("/api/operations/dead-letters")).json()["messages"]

    assert [(one["queue"], one["reason"], one["job_id"]) for one in messages] == [
        (topology.JOB_FAILED.name, "too many rounds", str(job.id)),
        (topology.JOB_FAILED.name, "too many rounds", None),
    ]


async def test_a_dead_letter_goes_back_to_its_queue(operator, park, channel):
    wanted, other = await park("{}"), await park("{}")

    answer = await operator.post(f"/api/operations/dead-letters/{wanted}/replay")

    assert answer.status_code == 204
    returned = await (await channel.get_queue(topology.JOB_FAILED.name)).get()
    await returned.ack()
    left = (await operator.get("/api/operations/dead-letters")).json()["messages"]
    assert (returned.message_id, [one["message_id"] for one in left]) == (wanted, [other])


async def test_the_broker_may_be_away(operator, overview, database_url, broker, cast):
    _, key = await cast(keys.create_key, "ops", scopes=[ADMIN], wallets=None)
    settings = api_settings(database_url, broker, auth_mode="required", amqp_url="amqp://127.0.0.1:9")
    headers = {"Authorization": f"Bearer {key}"}
    async with opened(settings) as client:
        told = await client.get(OVERVIEW, headers=headers)
        letters = await client.get("/api/operations/dead-letters", headers=headers)

    assert (told.status_code, told.json()["broker"], letters.status_code) == (200, None, 503)


@pytest.mark.parametrize("by", ["job", "task", "wallet", "reference"])
async def test_a_job_is_found_by_each_of_its_names(operator, make_job, by):
    job = await make_job(JobStatus.COMPLETED, wallet_address="shop", client_reference_id="order-7", task_id="task-7")
    await make_job(wallet_address="other")
    names = {"job": str(job.id), "task": "task-7", "wallet": "shop", "reference": "order-7"}

    matches = (await operator.get("/api/operations/search", params={"q": names[by]})).json()["matches"]

    assert [(one["matched"], one["task_id"], one["job"]["id"]) for one in matches] == [(by, "task-7", str(job.id))]


async def test_what_has_no_such_name_is_not_found(operator):
    for q in ("nothing", str(uuid.uuid4())):
        assert (await operator.get("/api/operations/search", params={"q": q})).json() == {"matches": []}


async def test_a_search_for_nothing_is_refused(operator):
    for q in ("", "\x00", "x" * 256):
        assert (await operator.get("/api/operations/search", params={"q": q})).status_code == 400


# Cost -----------------------------------------------------------------------------------------------

_HISTORY = """
    INSERT INTO video_jobs (id, status, wallet_address, prompt, aspect_ratio, model, generation_type, resolution,
                            duration, cost, turn, created_at, started_at, expires_at, completed_at, video_url)
    SELECT (lpad(to_hex(1735689600000 + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid, 'completed',
           'wallet', 'p', '16:9', 'veo3_fast', 'TEXT_2_VIDEO', '720p', 8, 4, n, '2025-01-01', '2025-01-01', now(),
           '2025-01-01', 'v'
      FROM generate_series(1, 30000) n;
    INSERT INTO job_attempts (id, job_id, n, token_hash, started_at, outcome, outcome_at, task_id, verdict)
    SELECT id, id, 1, 'h', '2025-01-01', 'accepted', '2025-01-01', id::text, 'delivered' FROM video_jobs;
    ANALYZE
"""
_PAGES = """
    SELECT sum(pg_stat_get_xact_blocks_fetched(oid)) FROM pg_class
     WHERE relkind IN ('r', 'i', 't') AND relnamespace = 'public'::regnamespace
"""


async def test_what_is_long_over_is_not_read(fund, stored, db, make_job):
    """30,000 old jobs fill some 2,000 pages: a look reads none but the newest."""
    await fund("wallet")
    await stored.run(_HISTORY)
    await stored.run("VACUUM")  # of what other tests left dead in the indexes
    await make_job(JobStatus.COMPLETED, wallet_address="new")
    span = {"since": first_id(datetime.now(UTC) - timedelta(hours=1)), "at_most": 50_000}
    async with db.transaction() as tx:
        before = await tx.fetchval(_PAGES)

        await backlog.standing(tx, list(JobStatus)[:4], at_most=10_000)
        await backlog.waiting(tx, at_most=10_000)
        await backlog.due(tx, at_most=10_000)
        await repository.history(tx, bucket=timedelta(minutes=1), **span)
        await repository.outcomes(tx, **span)
        await repository.latency(tx, **span)
        await repository.callbacks(tx, **span)
        await repository.find_by_task(tx, "nothing")

        assert 0 < await tx.fetchval(_PAGES) - before < 200
