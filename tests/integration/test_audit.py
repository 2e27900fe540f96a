"""The books, read whole and read where they are new: what is wrong is found, what is right is not."""

from datetime import timedelta

import pytest

from reelgate_common import audit, ids, metrics, settlement
from reelgate_common.audit import RULES, RunningAudit
from reelgate_common.domain.job import FailureCode, JobStatus
from reelgate_common.ids import new_id
from reelgate_common.settings import JobSettings

BALANCE, CHARGE, REFUND, _, RECHARGE, DUE = RULES

# How each rule is broken: by hand, past the triggers that keep services from it. A delivered job marked as refunded
# is refused even then, by a CHECK.
BREAKS = {
    BALANCE: "UPDATE credits SET credits = credits + 1",
    CHARGE: "UPDATE video_jobs SET cost = cost + 1",
    REFUND: "DELETE FROM credit_transactions WHERE transaction_type = 'refund'",
    RECHARGE: """
        INSERT INTO credit_transactions (id, wallet_address, job_id, transaction_type, amount)
        SELECT $1, wallet_address, id, 'recharge', -cost FROM video_jobs
         WHERE status = 'completed' AND recovered_at IS NULL
    """,
    DUE: """
        UPDATE video_jobs SET refunded_at = NULL, completed_at = now() - interval '2 minutes' WHERE status = 'failed'
    """,
}


@pytest.fixture
def by_hand(db):
    """Change rows as somebody with the owner's rights might: no trigger, no foreign key."""

    async def change(statement, *arguments):
        async with db.transaction() as tx:
            await tx.execute("SET LOCAL session_replication_role = replica")
            await tx.execute(statement, *arguments)

    return change


@pytest.fixture
async def every_end(make_job, cast):
    """A job in every state, one of them failed and refunded, and one recovered under each policy."""
    for status in JobStatus:
        job = await make_job(status)
        if status.is_final:
            await cast(settlement.refund, job.id, by="tests")
    for policy in ("give", "recharge"):
        late = await make_job(JobStatus.FAILED, failure_code=FailureCode.SUBMIT_UNKNOWN)
        await cast(settlement.refund, late.id, by="tests")
        await cast(
            settlement.deliver,
            late.id,
            video_url="https://media.example/late.mp4",
            attempt_id=late.attempt_id,
            by="tests",
            policy=JobSettings(late_success=policy),
        )


@pytest.mark.usefixtures("every_end")
async def test_the_books_of_every_kind_of_end_are_right(db, stored):
    running = RunningAudit(db)

    found = [await audit.verify(db), await running.run_once(), await running.run_once()]

    assert await stored.value("SELECT count(*) FROM video_jobs WHERE recovered_at IS NOT NULL") == 2
    assert found == [[], [], []]


@pytest.mark.parametrize("rule", BREAKS)
@pytest.mark.usefixtures("every_end")
async def test_a_broken_rule_is_found_by_either(db, by_hand, rule):
    running = RunningAudit(db)
    await running.run_once()
    await by_hand(BREAKS[rule], *([new_id()] if "$1" in BREAKS[rule] else []))

    found = [{finding.rule for finding in findings} for findings in (await audit.verify(db), await running.run_once())]

    assert [rule in rules for rules in found] == [True, True]


@pytest.mark.usefixtures("every_end")
async def test_what_is_found_is_a_metric_until_it_is_mended(db, by_hand):
    running = RunningAudit(db)
    await by_hand(BREAKS[BALANCE])
    await running.report()
    broken = metrics.ledger_drift.labels(BALANCE)._value.get()
    await by_hand("UPDATE credits SET credits = credits - 1")
    await running.report()

    assert (broken, metrics.ledger_drift.labels(BALANCE)._value.get()) == (1, 0)


@pytest.fixture
def history(by_hand, fund):
    """A wallet with so many jobs of long ago, all in order."""

    async def make(count):
        await fund("old", 4 * count)
        await by_hand(
            """
            WITH old AS (
                SELECT n, encode(int8send((extract(epoch FROM now() - interval '30 days') * 1000)::bigint), 'hex') AS ms
                  FROM generate_series(1, $1) AS n
            ), job AS (
                INSERT INTO video_jobs (id, status, wallet_address, prompt, aspect_ratio, model, generation_type,
                                        resolution, duration, cost, turn, completed_at, expires_at, video_url)
                SELECT (right(ms, 12) || '70018' || lpad(to_hex(n), 15, '0'))::uuid, 'completed', 'old', 'p', '16:9',
                       'veo3_fast', 'TEXT_2_VIDEO', '720p', 8, 4, 1, now(), now(), 'https://media.example/v.mp4'
                  FROM old
                RETURNING id
            ), charge AS (
                INSERT INTO credit_transactions (id, wallet_address, job_id, transaction_type, amount)
                SELECT id, 'old', id, 'charge', -4 FROM job
            )
            UPDATE credits SET credits = 0 WHERE wallet_address = 'old'
            """,
            count,
        )
        await by_hand("ANALYZE video_jobs, credit_transactions, credits")

    return make


async def test_a_pass_does_not_read_what_was_added_up_before(db, history, make_job, stored):
    """The second pass over 20,000 old jobs of one wallet reads some hundred rows."""
    await history(20_000)
    running = RunningAudit(db)
    first = await running.run_once()
    before = await rows_read(stored)
    await make_job(wallet_address="old")
    second = await running.run_once()

    assert (first, second) == ([], [])
    assert await rows_read(stored) - before < 2_000


async def test_a_late_entry_among_old_ones_is_no_finding(db, history, fund):
    """An entry whose clock was far behind: what was added up is doubted, added up anew, and found right."""
    await history(10)
    running = RunningAudit(db)
    await running.run_once()
    await fund("old", 7)
    async with db.transaction() as tx:
        await tx.execute("SET LOCAL session_replication_role = replica")
        await tx.execute("UPDATE credit_transactions SET id = '01000000-0000-7000-8000-000000000001' WHERE amount = 7")

    assert await running.run_once() == []
    assert await running.run_once() == []


async def test_a_balance_edited_long_ago_is_found_in_its_turn(db, by_hand, monkeypatch):
    """Wallets without a new entry are looked at slice by slice; what is found is told until it is mended."""
    monkeypatch.setattr(audit, "_SLICE", 2)
    monkeypatch.setattr(audit, "_FIRST_LOOK", timedelta(0))
    for n in range(5):
        await by_hand("INSERT INTO credits (wallet_address) VALUES ($1)", f"w{n}")
    await by_hand("UPDATE credits SET credits = 1 WHERE wallet_address = 'w3'")
    running = RunningAudit(db)

    found = [[finding.subject for finding in await running.run_once()] for _ in range(4)]
    await by_hand("UPDATE credits SET credits = 0 WHERE wallet_address = 'w3'")

    assert found == [[], ["w3"], ["w3"], ["w3"]]
    assert await running.run_once() == []


async def test_a_job_that_is_wrong_is_told_until_it_is_mended(db, by_hand, make_job, monkeypatch):
    """Also when it is not new any more."""
    monkeypatch.setattr(audit, "_OVERLAP", timedelta(0))
    await make_job()
    await by_hand("UPDATE video_jobs SET cost = cost + 1")
    running = RunningAudit(db)

    found = [[finding.rule for finding in await running.run_once()] for _ in range(3)]
    await by_hand("UPDATE video_jobs SET cost = cost - 1")

    assert found == [[CHARGE]] * 3
    assert await running.run_once() == []


async def test_a_new_job_that_is_wrong_is_told_once_in_each_pass(db, by_hand, make_job):
    """It is among the new ones and among those that were found before."""
    await make_job()
    await by_hand("UPDATE video_jobs SET cost = cost + 1")
    running = RunningAudit(db)

    assert [[finding.rule for finding in await running.run_once()] for _ in range(2)] == [[CHARGE]] * 2


async def test_money_that_moves_long_after_the_job_is_looked_at(db, by_hand, make_job, cast, monkeypatch):
    """A refund is new, its job is not."""
    monkeypatch.setattr(audit, "_OVERLAP", timedelta(0))
    job = await make_job(JobStatus.FAILED)
    running = RunningAudit(db)
    before = await running.run_once()
    await cast(settlement.refund, job.id, by="tests")
    right = await running.run_once()
    other = await make_job(JobStatus.FAILED)
    await running.run_once()
    await cast(settlement.refund, other.id, by="tests")
    await by_hand("UPDATE video_jobs SET refunded_at = NULL WHERE id = $1", other.id)

    assert (before, right) == ([], [])
    assert [(found.rule, found.subject) for found in await running.run_once()] == [(REFUND, str(other.id))]


async def test_an_entry_of_a_slower_clock_is_its_jobs_own(db, by_hand, make_job, monkeypatch):
    """Its id is lower than those that are new; its job's is not."""
    job = await make_job()
    running = RunningAudit(db)
    await running.run_once()
    monkeypatch.setattr(audit, "_OVERLAP", timedelta(minutes=1))
    running._last = ids.made_at(job.id) + timedelta(minutes=1)
    await by_hand(
        "UPDATE credit_transactions SET id = $1 WHERE job_id IS NOT NULL",
        ids.first_id(running._last - timedelta(seconds=90)),
    )

    assert await running.run_once() == []


@pytest.mark.usefixtures("every_end")
async def test_a_refund_of_another_amount_is_found_though_the_balance_agrees(db, by_hand):
    await by_hand("UPDATE credit_transactions SET amount = 40 WHERE transaction_type = 'refund'")
    await by_hand(
        """
        UPDATE credits c SET credits = (SELECT sum(amount) FROM credit_transactions t
                                         WHERE t.wallet_address = c.wallet_address)
        """
    )

    found = [
        {finding.rule for finding in findings}
        for findings in (await audit.verify(db), await RunningAudit(db).run_once())
    ]

    assert found == [{REFUND}, {REFUND}]


async def rows_read(stored):
    """Rows that any query read of the tables that grow, counted by the server."""
    await stored.value("SELECT pg_stat_force_next_flush()")
    return await stored.value(
        """
        SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_user_tables
         WHERE relname IN ('video_jobs', 'credit_transactions')
        """
    )
