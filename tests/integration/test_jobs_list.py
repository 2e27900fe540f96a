"""The list of jobs: every job once, page by page, and only the caller's."""

import json
import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from api_client import api_settings, opened

from reelgate_api import cursor as cursors
from reelgate_api.jobs import repository
from reelgate_api.jobs.repository import Filter
from reelgate_common import auth, keys
from reelgate_common.domain.job import JobStatus

JOBS = "/api/video/jobs"


@pytest.fixture
def open_api(database_url, broker):
    return lambda **overrides: opened(api_settings(database_url, broker, **overrides))


@pytest.fixture
async def api(open_api):
    async with open_api() as client:
        yield client


@pytest.fixture
async def api_of(open_api, cast):
    """The API with a key bound to these wallets; None: to none."""
    async with open_api(auth_mode="required") as client:

        async def bind(wallets):
            _, key = await cast(keys.create_key, "tests", scopes=[auth.JOBS], wallets=wallets)
            client.headers["Authorization"] = f"Bearer {key}"
            return client

        yield bind


async def listed(api, **asked):
    answer = await api.get(JOBS, params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def ids(api, **asked):
    return [job["id"] for job in (await listed(api, **asked))["jobs"]]


def newest_first(*jobs):
    return sorted((str(job.id) for job in jobs), reverse=True)


# Pages ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [{}, {"wallet_address": "wallet"}, {"status": ["pending", "failed"]}])
@pytest.mark.parametrize("limit", [1, 3, 4, 100])
async def test_pages_joined_are_the_whole_list_also_while_jobs_are_added(api, make_job, stored, asked, limit):
    states = random.Random(limit).choices([JobStatus.PENDING, JobStatus.CANCELED, JobStatus.FAILED], k=12)
    made = [await make_job(state) for state in states]
    await stored.run("UPDATE video_jobs SET created_at = now()")  # equal for all: the order must not depend on it
    seen, cursor = [], {}

    while cursor is not None:
        page = await listed(api, **asked, limit=limit, **cursor)
        assert len(page["jobs"]) <= limit
        seen += [job["id"] for job in page["jobs"]]
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else None
        await make_job()

    assert seen == newest_first(*made)


async def test_a_list_that_fills_its_last_page_ends_there(api, make_job):
    for _ in range(2):
        await make_job()

    assert (await listed(api, limit=2))["next_cursor"] is None


async def test_no_jobs_are_an_empty_list(api):
    assert await listed(api) == {"jobs": [], "next_cursor": None}


async def test_each_job_is_shown_as_get_shows_it(api, make_job):
    job = await make_job(JobStatus.FAILED, metadata={"a": 1}, client_reference_id="mine")

    [shown] = (await listed(api))["jobs"]

    assert shown == (await api.get(f"{JOBS}/{job.id}")).json()["job"]


async def test_a_job_in_the_list_has_no_queue_position(api, make_job):
    await make_job()

    assert (await listed(api))["jobs"][0]["queue_position"] is None


NOT_GIVEN = ["", "x", "=", "é", "A" * 21, "A" * 22 + "=", "A" * 5000, str(UUID(int=1)), "\x00", "AAAA%00"]


@pytest.mark.parametrize("cursor", NOT_GIVEN)
async def test_a_cursor_nobody_gave_is_400_naming_it(api, cursor):
    answer = await api.get(JOBS, params={"cursor": cursor})

    assert (answer.status_code, answer.json()["field"]) == (400, "cursor")


@pytest.mark.parametrize("last", [UUID(int=0), UUID(int=2**128 - 1)])
async def test_a_cursor_of_no_job_is_a_place_like_any(api, make_job, last):
    job = await make_job()

    found = await ids(api, cursor=cursors.encode(last))

    assert found == ([str(job.id)] if last.int else [])


# Filters --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [["pending"], ["processing"], ["completed"], ["failed"], ["failed", "completed"]])
async def test_the_status_asked_for_is_the_one_shown(api, make_job, status):
    made = [await make_job(state) for state in JobStatus]

    assert await ids(api, status=status) == newest_first(*(job for job in made if job.status.shown in status))


@pytest.mark.parametrize("state", JobStatus)
async def test_a_state_is_asked_for_exactly(api, make_job, state):
    made = {each: await make_job(each) for each in JobStatus}

    assert await ids(api, state=state) == [str(made[state].id)]
    assert await ids(api, state=state, status=state.shown) == [str(made[state].id)]


async def test_a_state_that_is_not_of_the_status_finds_nothing(api, make_job):
    await make_job(JobStatus.CANCELED)

    assert await ids(api, state="canceled", status="completed") == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("wallet_address", "other"), ("model", "veo3"), ("client_reference_id", "order-1")],
)
async def test_a_filter_keeps_what_has_its_value(api, make_job, name, value):
    await make_job()
    wanted = await make_job(**{name: value})

    assert await ids(api, **{name: value}) == [str(wanted.id)]
    assert await ids(api, **{name: value}, status="completed") == []


async def test_an_operation_is_a_filter(api, make_job, make_further):
    source = await make_job(JobStatus.COMPLETED)
    longer = await make_further("extend", source=source)

    assert await ids(api, operation="extend") == [str(longer.id)]
    assert await ids(api, operation="generate") == [str(source.id)]


async def test_every_filter_at_once(api, make_job):
    wanted = [await make_job(JobStatus.FAILED, model="veo3", client_reference_id="r") for _ in range(2)]
    for others in ({"wallet_address": "w"}, {"model": "veo3_lite"}, {"client_reference_id": "s"}):
        await make_job(JobStatus.FAILED, **{"model": "veo3", "client_reference_id": "r"} | others)
    await make_job(model="veo3", client_reference_id="r")
    since = datetime.now(UTC) - timedelta(hours=1)

    found = await ids(
        api,
        wallet_address="wallet",
        status=["failed", "completed"],
        state="failed",
        model="veo3",
        operation="generate",
        client_reference_id="r",
        created_after=since.isoformat(),
        created_before=(since + timedelta(hours=2)).isoformat(),
    )

    assert found == newest_first(*wanted)


async def test_a_span_of_time_has_its_start_and_not_its_end(api, make_job, stored):
    made = [await make_job() for _ in range(3)]
    moments = [datetime.now(UTC) - timedelta(seconds=seconds) for seconds in (30, 20, 10)]
    for job, moment in zip(made, moments, strict=True):
        await stored.run("UPDATE video_jobs SET created_at = $2 WHERE id = $1", job.id, moment)

    found = await ids(api, created_after=moments[0].isoformat(), created_before=moments[2].isoformat())

    assert found == newest_first(*made[:2])


@pytest.mark.parametrize("name", ["created_after", "created_before"])
@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00+14:00", "1969-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "2026-01-01T00:00:00Z"]
)
async def test_any_moment_may_be_asked_for(api, make_job, name, moment):
    job = await make_job()

    found = await ids(api, **{name: moment})

    assert found == ([str(job.id)] if (name == "created_after") == (moment < "2027") else [])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "x"),
        ("status", "done"),
        ("state", "done"),
        ("operation", "edit"),
        ("created_after", "yesterday"),
        ("created_before", "2026-01-01T00:00:00"),
        ("wallet_address", "a b"),
        ("wallet_address", "a\x00"),
        ("wallet_address", ""),
        ("model", "\x00"),
        ("client_reference_id", "\x00"),
        ("client_reference_id", ""),
        ("client_reference_id", "x" * 256),
    ],
)
async def test_a_filter_that_cannot_be_is_400_naming_it(api, name, value):
    answer = await api.get(JOBS, params={name: value})

    assert answer.status_code == 400
    assert answer.json()["field"].startswith(name)


# Whose ----------------------------------------------------------------------------------------------


async def test_a_key_sees_the_jobs_of_its_wallets(api_of, make_job):
    mine = [await make_job(wallet_address=wallet) for wallet in ("a", "b", "a", "c")]
    api = await api_of(["a", "b", "b"])

    assert await ids(api) == newest_first(*mine[:3])
    assert await ids(api, wallet_address="a") == newest_first(mine[0], mine[2])
    assert await ids(api, wallet_address="c") == []
    assert await ids(api, status="pending", limit=2) == newest_first(*mine[:3])[:2]


async def test_pages_of_several_wallets_joined_are_the_whole_list(api_of, make_job):
    made = [await make_job(wallet_address=wallet) for wallet in "abcab"]
    api = await api_of(["a", "b", "c"])
    seen, cursor = [], {}

    while cursor is not None:
        page = await listed(api, limit=2, **cursor)
        seen += [job["id"] for job in page["jobs"]]
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else None

    assert seen == newest_first(*made)


async def test_a_reference_finds_nothing_of_other_peoples(api_of, make_job):
    mine = await make_job(wallet_address="a", client_reference_id="1")
    await make_job(wallet_address="b", client_reference_id="1")

    assert await ids(await api_of(["a"]), client_reference_id="1") == [str(mine.id)]


@pytest.mark.parametrize(("wallets", "found"), [([], 0), (None, 2)])
async def test_a_key_of_no_wallet_sees_nothing_and_one_of_all_everything(api_of, make_job, wallets, found):
    for wallet in "ab":
        await make_job(wallet_address=wallet)

    assert len(await ids(await api_of(wallets))) == found


async def test_a_list_needs_a_key(open_api):
    async with open_api(auth_mode="required") as client:
        assert (await client.get(JOBS)).status_code == 401


# Cost -----------------------------------------------------------------------------------------------

_FILL = """
    INSERT INTO video_jobs (id, status, wallet_address, prompt, aspect_ratio, model, generation_type, resolution,
                            duration, client_reference_id, cost, turn, expires_at, completed_at, failure_code,
                            video_url)
    SELECT (lpad(to_hex(1735689600000 + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid,
           CASE n WHEN 1 THEN 'failed' ELSE 'completed' END, CASE n % 2 WHEN 1 THEN 'wallet' ELSE 'other' END,
           'p', '16:9', 'veo3_fast', 'TEXT_2_VIDEO', '720p', 8, 'order-' || n, 4, n, now(), now(),
           CASE n WHEN 1 THEN 'refused' END, CASE n WHEN 1 THEN NULL ELSE 'v' END
      FROM generate_series(1, 20000) n
"""
FAILED = [JobStatus.FAILED, JobStatus.CANCELED]


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(wallets=["wallet"]),
        Filter(wallets=["wallet", "other"]),
        Filter(wallets=["wallet"], states=FAILED),
        Filter(wallets=["wallet", "other"], states=FAILED),
        Filter(wallets=None),
        Filter(wallets=None, states=FAILED),
        Filter(wallets=None, states=[JobStatus.PENDING]),
        Filter(wallets=None, client_reference_id="order-7"),
        Filter(wallets=["wallet"], client_reference_id="order-7"),
        Filter(wallets=["wallet"], client_reference_id="order-7", states=FAILED),
    ],
    ids=str,
)
@pytest.mark.parametrize("plan", ["force_custom_plan", "force_generic_plan"])
async def test_a_page_reads_little_of_a_long_table(cast, fund, stored, wanted, plan):
    for wallet in ("wallet", "other"):
        await fund(wallet)
    await stored.run(_FILL)
    await stored.run("VACUUM ANALYZE video_jobs")
    middle = await stored.value("SELECT id FROM video_jobs ORDER BY id OFFSET 10000 LIMIT 1")
    for after in (None, middle):
        statement, arguments = repository.statement(wanted, after, newest_first=True, limit=21)

        async def explain(tx, statement=statement, arguments=arguments):
            await tx.execute(f"SET LOCAL plan_cache_mode = {plan}")
            return await tx.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", *arguments)

        [found] = json.loads(await cast(explain))

        assert found["Plan"]["Shared Hit Blocks"] + found["Plan"]["Shared Read Blocks"] < 150
