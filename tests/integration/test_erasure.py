"""A wallet is forgotten: no word of it is left in any table, and the books are what they were."""

import asyncio
import contextlib
import functools
import json
import os
import sys

import aio_pika
import asyncpg
import pytest

from reelgate_common import audit, erasure, keys, parked, settlement, topology
from reelgate_common.audit import RunningAudit
from reelgate_common.domain.errors import IdempotencyMismatch, InvalidInput, Unavailable
from reelgate_common.domain.job import FINAL, FailureCode, JobStatus
from reelgate_common.erasure import NotErasable
from reelgate_common.grants import Movement, adjust, grant
from reelgate_common.ids import new_id

# In every word that can be told to us about a wallet, its own name included; also where JSON writes it another way.
MARK = 'mark"ed'
WALLET = f"0x{MARK}"
SAID = f"said-{MARK}"

# Every table that can hold such a word. One that is new belongs here, and into `a_full_life`, if it can.
EXPECTED = {
    "api_keys",
    "blind_requests",
    "callbacks",
    "credit_transactions",
    "credits",
    "idempotency_keys",
    "job_attempts",
    "job_events",
    "outbox",
    "rate_limits",
    "sessions",
    "video_jobs",
    "videos",
    "wallet_checkpoints",
    "webhook_attempts",
    "webhook_deliveries",
    "webhook_endpoints",
}


@pytest.fixture
def tables_with(stored):
    """The tables in which these characters stand, whatever the column and however JSON escapes them."""

    async def find(*words):
        tables = await stored.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        found = set()
        for name in (row["tablename"] for row in tables):
            whole = f'SELECT count(*) FROM "{name}" AS row WHERE strpos(to_jsonb(row)::text, $1) > 0'
            for word in words:
                if await stored.value(whole, word):
                    found.add(name)
        return found

    return find


def spellings(word):
    """As text in a row that is shown as JSON, and as JSON inside of such a text."""
    once = json.dumps(word)[1:-1]
    return once, json.dumps(once)[1:-1]


@pytest.fixture
async def a_full_life(make_job, make_new, cast, stored, fund, db):
    """A wallet with something in every table that can hold something; every job of it is over."""
    own, _ = await cast(keys.create_key, SAID, scopes=["jobs"], wallets=[WALLET])
    endpoint = await an_endpoint(stored, own.id, url=f"https://{SAID}.example", description=SAID)
    told = {
        "wallet_address": WALLET,
        "prompt": SAID,
        "image_urls": (f"https://images.example/{SAID}.png",),
        "metadata": {"scene": SAID},
        "watermark": SAID,
        "client_reference_id": SAID,
        "key": SAID,
        "owner": str(own.id),
        "webhook_url": f"https://{SAID}.example/job",
    }
    await cast(grant, Movement(wallet=WALLET, amount=500, reference="invoice-1", description=SAID))
    await cast(adjust, Movement(wallet=WALLET, amount=-100, reference="correction-1", description=SAID))
    for number, status in enumerate(sorted(FINAL)):
        await make_job(status, **told | {"key": f"{SAID}-{number}"})
    for job in await stored.rows("SELECT id FROM video_jobs WHERE status <> 'completed'"):
        await cast(settlement.refund, job["id"], by="tests")
    await stored.run("UPDATE video_jobs SET error_message = $1 WHERE status = 'failed'", SAID)
    await stored.run("UPDATE video_jobs SET video_url = $1 WHERE status = 'completed'", SAID)
    await stored.run("UPDATE videos SET error = $1", SAID)
    await stored.run("UPDATE job_attempts SET vendor_message = $1", SAID)
    await stored.run("UPDATE job_events SET reason = $1", SAID)
    await stored.run("UPDATE outbox SET payload = payload || jsonb_build_object('message', $1::text)", SAID)
    await stored.run(
        """
        INSERT INTO callbacks (id, task_id, job_id, attempt_id, token_ok, body_hash, body)
        SELECT id, 'task', job_id, id, true, 'hash', $1 FROM job_attempts
        """,
        SAID,
    )
    await stored.run(
        """
        INSERT INTO webhook_attempts (delivery_id, n, milliseconds, answer)
        SELECT id, 1, 5, $1 FROM webhook_deliveries
        """,
        SAID,
    )
    await stored.run(
        "INSERT INTO idempotency_keys (owner, key, request_hash, answer) VALUES ($1, 'k', 'h', $2)",
        str(own.id),
        {"url": SAID},
    )
    await stored.run(
        """
        INSERT INTO blind_requests (job_id, owner, request_hash, retry, original_came)
        SELECT id, $1, 'h', 0, true FROM video_jobs
        """,
        f"wallet:{WALLET}",
    )
    await stored.run("INSERT INTO sessions VALUES ('token', $1, now(), now() + interval '1 h')", WALLET)
    await stored.run("INSERT INTO rate_limits VALUES ($1, now() + interval '1 h')", f"wallet:{WALLET}")
    await stored.run("INSERT INTO wallet_checkpoints VALUES ($1, $2, 0)", WALLET, new_id())
    return endpoint


async def an_endpoint(stored, key_id, *, url, description=None):
    endpoint_id = new_id()
    await stored.run(
        "INSERT INTO webhook_endpoints (id, key_id, url, description, secret) VALUES ($1, $2, $3, $4, 'whsec_')",
        endpoint_id,
        key_id,
        url,
        description,
    )
    return endpoint_id


@pytest.fixture
def totals(stored):
    """What the books say of everybody together, and of each entry but for whose it is."""

    async def add_up():
        entries = await stored.rows(
            """
            SELECT id, job_id, transaction_type, amount, reference, created_at
              FROM credit_transactions WHERE reference IS NULL OR reference NOT LIKE 'erasure:%' ORDER BY id
            """
        )
        return entries, await stored.value("SELECT sum(amount)::bigint FROM credit_transactions")

    return add_up


# Nothing is left -----------------------------------------------------------------------------------


async def test_nothing_of_a_wallet_is_left_in_any_table(a_full_life, tables_with, db):
    assert await tables_with(*spellings(MARK)) == EXPECTED  # else this test would look for too little

    await erasure.erase(db, WALLET, forfeit_credits=True)

    assert await tables_with(*spellings(MARK)) == set()


async def test_the_books_are_what_they_were_but_for_the_name(a_full_life, totals, stored, db):
    before, total = await totals()
    left = await stored.balance(WALLET)

    erased = await erasure.erase(db, WALLET, forfeit_credits=True)

    after, total_after = await totals()
    assert (after, total_after) == (before, total - left)
    assert erased.credits_forfeited == left > 0
    assert await stored.balance(erased.pseudonym) == 0
    assert await stored.books_balance()
    assert await audit.verify(db) == []
    assert await RunningAudit(db).run_once() == []


async def test_it_tells_what_went(a_full_life, stored, db):
    ledger = await stored.count("credit_transactions")

    erased = await erasure.erase(db, WALLET, forfeit_credits=True)

    assert (erased.jobs, erased.keys, erased.sessions) == (len(FINAL), 1, 1)
    assert erased.ledger_entries == ledger + 1  # what was forfeited


async def test_what_belongs_to_others_stays(a_full_life, make_job, cast, stored, db):
    """Also in a key, an endpoint and a repeat's answer that they share with the wallet."""
    shared, _ = await cast(keys.create_key, "shop", scopes=["jobs"], wallets=[WALLET, "another's"])
    endpoint = await an_endpoint(stored, shared.id, url="https://shop.example")
    job = await make_job(JobStatus.COMPLETED, wallet_address="another's", owner=str(shared.id), key="k")
    balance = await stored.balance("another's")

    await erasure.erase(db, WALLET, forfeit_credits=True)

    assert (await stored.job(job.id)).prompt == job.prompt
    assert await stored.balance("another's") == balance
    assert await stored.rows("SELECT id, wallets FROM api_keys") == [{"id": shared.id, "wallets": ["another's"]}]
    assert [row["id"] for row in await stored.rows("SELECT id FROM webhook_endpoints")] == [endpoint]
    assert await stored.rows("SELECT job_id FROM idempotency_keys") == [{"job_id": job.id}]
    assert await stored.rows("SELECT job_id, endpoint_id FROM webhook_deliveries") == [
        {"job_id": job.id, "endpoint_id": endpoint}
    ]


@pytest.mark.parametrize("answer", [{"wallet_address": "bobby"}, {"wallets": ["al", "bobby"]}, {"bob": "id"}])
async def test_an_answer_about_another_stays_for_its_repeat(fund, stored, db, answer):
    """Else what was answered is made again: names that begin alike, and one that is a word of every answer."""
    await fund("bob")
    await stored.run(
        "INSERT INTO idempotency_keys (owner, key, request_hash, answer) VALUES ('admin', 'k', 'h', $1)", answer
    )

    await erasure.erase(db, "bob", forfeit_credits=True)

    assert await stored.count("idempotency_keys") == 1


@pytest.mark.parametrize("answer", [{"wallet_address": WALLET}, {"wallets": ["al", WALLET]}])
async def test_an_answer_that_names_the_wallet_goes_whoever_got_it(fund, stored, db, answer):
    await fund(WALLET)
    await stored.run(
        "INSERT INTO idempotency_keys (owner, key, request_hash, answer) VALUES ('admin', 'k', 'h', $1)", answer
    )

    await erasure.erase(db, WALLET, forfeit_credits=True)

    assert await stored.count("idempotency_keys") == 0


async def test_more_jobs_than_go_at_once_all_go(make_job, stored, db, monkeypatch):
    monkeypatch.setattr(erasure, "_AT_ONCE", 2)
    for _ in range(5):
        await make_job(JobStatus.COMPLETED, wallet_address=WALLET)

    erased = await erasure.erase(db, WALLET, forfeit_credits=True)

    assert erased.jobs == 5
    assert await stored.count("video_jobs") == 0


async def test_a_video_and_what_continues_it_go_together(make_job, make_further, stored, db):
    source = await make_job(JobStatus.COMPLETED, wallet_address=WALLET)
    await make_further("extend", JobStatus.COMPLETED, source=source, wallet_address=WALLET, task_id="another")

    await erasure.erase(db, WALLET, forfeit_credits=True)

    assert await stored.count("video_jobs") == 0


async def test_a_video_that_may_still_come_is_waited_for_no_longer(make_job, cast, stored, db):
    job = await make_job(JobStatus.FAILED, wallet_address=WALLET, failure_code=FailureCode.SUBMIT_UNKNOWN)
    await cast(settlement.refund, job.id, by="tests")

    await erasure.erase(db, WALLET, forfeit_credits=True)

    assert await stored.count("video_jobs") == 0


# When it cannot be ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [status for status in JobStatus if status is not JobStatus.COMPLETED])
async def test_a_wallet_with_a_job_that_is_not_over_is_left_whole(make_job, stored, db, status):
    """Not over is also a failed or canceled one, until its refund is there."""
    job = await make_job(status, wallet_address=WALLET)

    with pytest.raises(NotErasable, match=f"1 jobs are not over.*{job.id}"):
        await erasure.erase(db, WALLET, forfeit_credits=True)
    assert await stored.status(job.id) is status


@pytest.mark.parametrize(
    "begun",
    [
        "attempts = 1, due_at = now() + interval '15 min 30 s'",  # a copy has its time first
        "attempts = 2, state = 'deleting', due_at = now() + interval '15 min 30 s'",
    ],
)
async def test_videos_leave_the_bucket_first(make_job, stored, db, begun):
    """Those that are just being copied, and those that could not be removed yet. It says when to come again."""
    job = await make_job(JobStatus.COMPLETED, wallet_address=WALLET)
    await stored.run(f"UPDATE videos SET {begun}")

    with pytest.raises(NotErasable, match="1 videos are being removed from the bucket: run this again in 16 min"):
        await erasure.erase(db, WALLET, forfeit_credits=True)
    assert await stored.value("SELECT state FROM videos WHERE job_id = $1", job.id) == "deleting"

    await stored.run("UPDATE videos SET state = 'deleted', due_at = NULL")  # as the reconciler does
    await erasure.erase(db, WALLET, forfeit_credits=True)
    assert await stored.count("video_jobs") == 0


async def test_a_kept_video_leaves_the_bucket_first(make_job, stored, db):
    await make_job(JobStatus.COMPLETED, wallet_address=WALLET)
    await stored.run("UPDATE videos SET attempts = 1, state = 'kept', due_at = NULL, bytes = 1, sha256 = 'x'")

    with pytest.raises(NotErasable, match="run this again in 1 min"):
        await erasure.erase(db, WALLET, forfeit_credits=True)


async def test_a_session_that_is_opened_meanwhile_ends_too(make_job, stored, db, monkeypatch):
    await make_job(JobStatus.COMPLETED, wallet_address=WALLET)
    remove = erasure._remove_jobs

    async def remove_while_he_signs_in(*arguments):
        await stored.run(
            "INSERT INTO sessions VALUES ('again', $1, now(), now() + interval '1 h') ON CONFLICT DO NOTHING", WALLET
        )
        return await remove(*arguments)

    monkeypatch.setattr(erasure, "_remove_jobs", remove_while_he_signs_in)

    erased = await erasure.erase(db, WALLET, forfeit_credits=True)

    assert (erased.sessions, await stored.count("sessions")) == (1, 0)


async def test_what_is_left_of_an_erased_wallet_is_not_erased_again(fund, stored, db):
    await fund(WALLET, 5)
    erased = await erasure.erase(db, WALLET, forfeit_credits=True)

    with pytest.raises(NotErasable, match="was erased"):
        await erasure.erase(db, erased.pseudonym)


async def test_a_wallet_that_could_never_be_erased_is_not_opened(cast, make_request, stored):
    with pytest.raises(InvalidInput, match="must not begin with erased:"):
        await cast(grant, Movement(wallet="erased:mine", amount=5, reference="r"))
    with pytest.raises(InvalidInput, match="must not begin with erased:"):
        make_request(wallet_address="erased:mine")

    assert await stored.count("credits") == 0


async def test_credits_are_not_lost_unless_that_is_said(make_job, stored, db):
    job = await make_job(JobStatus.COMPLETED, wallet_address=WALLET)

    with pytest.raises(NotErasable, match="96 credits are left"):
        await erasure.erase(db, WALLET)
    assert await stored.status(job.id) is JobStatus.COMPLETED


async def test_a_wallet_nobody_knows_is_told_as_such(db):
    with pytest.raises(NotErasable, match="nothing is known"):
        await erasure.erase(db, WALLET)


async def test_a_job_that_comes_meanwhile_is_not_lost(make_job, stored, db, monkeypatch):
    """It is under way when the wallet itself should go: that is refused, and done by the next call."""
    await make_job(JobStatus.COMPLETED, wallet_address=WALLET)
    remove = erasure._remove_jobs

    async def remove_while_one_comes(*arguments):
        count = await remove(*arguments)
        if count:
            await make_job(wallet_address=WALLET)
        return count

    monkeypatch.setattr(erasure, "_remove_jobs", remove_while_one_comes)

    with pytest.raises(NotErasable, match="1 jobs are not over"):
        await erasure.erase(db, WALLET, forfeit_credits=True)
    assert await stored.value("SELECT status FROM video_jobs") == "pending"
    assert await stored.books_balance()


async def test_a_job_that_comes_and_is_over_meanwhile_is_taken_by_the_next(make_job, stored, db, monkeypatch):
    await make_job(JobStatus.COMPLETED, wallet_address=WALLET)
    remove = erasure._remove_jobs

    async def remove_before_one_comes(*arguments):
        count = await remove(*arguments)
        if not count:
            await make_job(JobStatus.COMPLETED, wallet_address=WALLET)
        return count

    with monkeypatch.context() as patch:
        patch.setattr(erasure, "_remove_jobs", remove_before_one_comes)
        with pytest.raises(NotErasable, match="run this again"):
            await erasure.erase(db, WALLET, forfeit_credits=True)
    assert await stored.books_balance()

    await erasure.erase(db, WALLET, forfeit_credits=True)
    assert await stored.count("video_jobs") == 0


async def test_one_that_died_on_the_way_is_finished_by_the_next(a_full_life, tables_with, stored, db, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(erasure, "_rename", died)
        with pytest.raises(Unavailable):
            await erasure.erase(db, WALLET, forfeit_credits=True)
    assert await stored.books_balance()

    await erasure.erase(db, WALLET, forfeit_credits=True)

    assert await tables_with(*spellings(MARK)) == set()


async def died(*_):
    raise ConnectionError


async def test_work_beside_it_loses_no_credit(make_job, fund, stored, db, cast):
    """Jobs and grants of the same wallet come all the time."""
    await make_job(JobStatus.COMPLETED, wallet_address=WALLET)

    async def come():
        for _ in range(10):
            await fund(WALLET, 5)

    async def go():
        for _ in range(5):
            with contextlib.suppress(NotErasable):  # nothing came since the last time
                await erasure.erase(db, WALLET, forfeit_credits=True)

    await asyncio.gather(come(), come(), go())

    assert await stored.books_balance()
    assert await audit.verify(db) == []


# What the database allows ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "amount = amount + 1",
        "wallet_address = 'erased:1', amount = amount + 1",
        "wallet_address = 'erased:1', reference = 'other'",
        "wallet_address = 'erased:1', created_at = now()",
        "wallet_address = 'erased:1', description = 'other'",
        "wallet_address = 'another'",
        "description = NULL",
    ],
)
async def test_nothing_else_of_the_ledger_can_be_changed(fund, stored, change):
    await fund("wallet", 5)

    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await stored.run(f"UPDATE credit_transactions SET {change}")


async def test_what_was_made_unknown_stays_so(fund, stored, db):
    await fund(WALLET, 5)
    erased = await erasure.erase(db, WALLET, forfeit_credits=True)

    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await stored.run("UPDATE credit_transactions SET wallet_address = 'erased:other'")
    assert erased.pseudonym.startswith("erased:")


async def test_a_repeated_grant_does_not_fill_the_wallet_again(cast, stored, db):
    movement = Movement(wallet=WALLET, amount=5, reference="invoice-1")
    await cast(grant, movement)
    await erasure.erase(db, WALLET, forfeit_credits=True)

    with pytest.raises(IdempotencyMismatch):
        await cast(grant, movement)
    assert await stored.value("SELECT count(*) FROM credits WHERE wallet_address = $1", WALLET) == 0


# The command -----------------------------------------------------------------------------------------


@pytest.fixture
def reelgate(run_reelgate):
    """Run the command on this database and broker; its exit code, output and errors."""
    return functools.partial(run_reelgate, {})


@pytest.fixture
def run_reelgate(database_url, broker):
    """The same, with some settings of its own."""

    async def run(overrides, *words):
        settings = {"DATABASE_URL": database_url, "AMQP_URL": broker.amqp_url.get_secret_value()} | overrides
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "reelgate_cli", *words),
            env=os.environ | settings,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    return run


async def park(channel, body):
    headers = parked.headers_of(queue="q", reason="r", original=None)
    message = aio_pika.Message(json.dumps(body).encode(), headers=headers)
    await channel.default_exchange.publish(message, topology.PARKED)


async def test_a_dry_run_changes_nothing(a_full_life, reelgate, stored):
    code, out, _ = await reelgate("erase", WALLET, "--dry-run", "--json")

    told = json.loads(out)
    assert code == 0
    assert (told["jobs"], told["under_way"], told["keys"], told["sessions"]) == (len(FINAL), [], 1, 1)
    assert told["credits"] == await stored.balance(WALLET)
    assert await stored.count("video_jobs") == len(FINAL)


async def test_the_command_forgets_what_is_parked_in_the_broker_too(make_job, reelgate, channel, stored):
    mine = await make_job(JobStatus.COMPLETED, wallet_address=WALLET)
    other = await make_job(JobStatus.COMPLETED, wallet_address="another's")
    for job in (mine, other):
        await park(channel, {"job_id": str(job.id), "video_url": job.video_url})

    code, out, err = await reelgate("erase", WALLET, "--forfeit-credits", "--json")

    assert (code, err) == (0, "")
    assert json.loads(out)["parked_messages"] == 1
    queue = await channel.get_queue(topology.PARKED, ensure=False)
    [left] = [await queue.get(no_ack=True), *filter(None, [await queue.get(no_ack=True, fail=False)])]
    assert json.loads(left.body)["job_id"] == str(other.id)


async def test_a_broker_that_is_away_does_not_hide_what_was_done(fund, database_url, broker, run_reelgate, stored):
    await fund(WALLET, 5)

    code, out, err = await run_reelgate(
        {"AMQP_URL": "amqp://guest:guest@127.0.0.1:9/"}, "erase", WALLET, "--forfeit-credits", "--json"
    )

    told = json.loads(out)
    assert (code, told["credits_forfeited"], told["parked_messages"]) == (1, 5, None)
    assert "run this again" in err


async def test_the_command_says_why_it_refuses(make_job, reelgate, stored):
    job = await make_job(wallet_address=WALLET)

    code, out, err = await reelgate("erase", WALLET)

    assert (code, out) == (1, "")
    assert str(job.id) in err
