"""What the database refuses by itself, whatever a service tries."""

from itertools import product

import asyncpg
import pytest

from reelgate_common.domain.job import FOLLOWERS, JobStatus, SendOutcome
from reelgate_common.ids import new_id

CHECK = asyncpg.CheckViolationError
UNIQUE = asyncpg.UniqueViolationError
PAIRS = [(a, b) for a, b in product(JobStatus, JobStatus) if a is not b]

# What a job in each state must have, so that only the transition itself is judged.
SHAPES = {
    "status": "$2",
    "video_url": "CASE WHEN $2 = 'completed' THEN 'https://x/y' END",
    "failure_code": "CASE WHEN $2 IN ('failed', 'canceled') THEN 'refused' END",
    "completed_at": "CASE WHEN $2 IN ('completed', 'failed', 'canceled') THEN now() END",
    "next_attempt_at": "CASE WHEN $2 = 'pending' THEN now() END",
    "deadline_at": "CASE WHEN $2 NOT IN ('completed', 'failed', 'canceled') THEN now() END",
    "recovered_at": "CASE WHEN status = 'failed' AND $2 = 'completed' THEN now() END",
}
MOVE = f"UPDATE video_jobs SET {', '.join(f'{name} = {value}' for name, value in SHAPES.items())} WHERE id = $1"


@pytest.fixture
def book(stored):
    """Write a ledger row, as a faulty service might."""

    async def write(kind, amount, *, job=None, wallet="wallet", reference=None):
        await stored.run(
            """
            INSERT INTO credit_transactions (id, wallet_address, job_id, transaction_type, amount, reference)
            VALUES ($1, $2, $3, $4, $5, $6)
            """,
            new_id(),
            wallet,
            job.id if job else None,
            kind,
            amount,
            reference,
        )

    return write


@pytest.mark.parametrize(("before", "after"), PAIRS)
async def test_domain_and_database_agree_on_every_pair_of_states(make_job, stored, before, after):
    job = await make_job(before)

    try:
        await stored.run(MOVE, job.id, after)
        moved = True
    except CHECK:
        moved = False

    assert moved == (after in FOLLOWERS[before])


async def test_a_failed_job_completes_only_as_recovered(make_job, stored):
    job = await make_job(JobStatus.FAILED)

    with pytest.raises(CHECK, match="may not go from failed to completed"):
        await stored.run(
            "UPDATE video_jobs SET status = 'completed', video_url = 'x', failure_code = NULL WHERE id = $1", job.id
        )


async def test_a_second_charge_is_refused(make_job, book):
    job = await make_job()

    with pytest.raises(UNIQUE):
        await book("charge", -4, job=job)


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELED])
async def test_a_second_refund_is_refused(make_job, book, status):
    job = await make_job(status)
    await book("refund", 4, job=job)

    with pytest.raises(UNIQUE):
        await book("refund", 4, job=job)


@pytest.mark.parametrize("status", [status for status in JobStatus if status not in ("failed", "canceled")])
async def test_a_refund_of_a_job_that_did_not_fail_is_refused(make_job, book, status):
    job = await make_job(status)

    with pytest.raises(CHECK, match="nothing to refund"):
        await book("refund", 4, job=job)


@pytest.mark.parametrize("amount", [1, 3, 5, 400])
async def test_a_refund_of_another_size_is_refused(make_job, book, amount):
    job = await make_job(JobStatus.FAILED)

    with pytest.raises(CHECK, match="nothing to refund"):
        await book("refund", amount, job=job)


async def test_a_refund_to_another_wallet_is_refused(make_job, fund, book):
    job = await make_job(JobStatus.FAILED)
    await fund("thief")

    with pytest.raises(CHECK, match="nothing to refund"):
        await book("refund", 4, job=job, wallet="thief")


@pytest.mark.parametrize(
    ("kind", "amount", "of_job"),
    [
        ("charge", 4, True),
        ("charge", 0, True),
        ("charge", -4, False),
        ("refund", -4, True),
        ("recharge", 4, True),
        ("recharge", -4, False),
        ("signup", -1, False),
        ("signup", 0, False),
        ("signup", 1, True),
        ("grant", 0, False),
        ("grant", -1, False),
        ("adjustment", 0, False),
        ("gift", 1, False),
    ],
)
async def test_a_ledger_row_of_a_wrong_shape_is_refused(make_job, book, kind, amount, of_job):
    job = await make_job(JobStatus.FAILED)

    with pytest.raises((CHECK, UNIQUE)):
        await book(kind, amount, job=job if of_job else None)


async def test_a_second_signup_grant_is_refused(fund, book):
    await fund()
    await book("signup", 10)

    with pytest.raises(UNIQUE):
        await book("signup", 10)


async def test_a_grant_is_written_once_by_its_reference(fund, book):
    await fund()
    await book("grant", 10, reference="invoice 7")

    with pytest.raises(UNIQUE):
        await book("grant", 10, reference="invoice 7")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE credit_transactions SET amount = amount + 1",
        "DELETE FROM credit_transactions",
        "TRUNCATE credit_transactions",
        "TRUNCATE credits CASCADE",
    ],
)
async def test_the_ledger_is_append_only(make_job, stored, statement):
    await make_job()

    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await stored.run(statement)


async def test_a_negative_balance_is_refused(fund, stored):
    await fund(amount=10)

    with pytest.raises(CHECK):
        await stored.run("UPDATE credits SET credits = credits - 11")


@pytest.mark.parametrize("outcome", [None, SendOutcome.UNKNOWN, SendOutcome.ACCEPTED])
async def test_a_second_attempt_is_refused_while_one_may_be_at_the_vendor(make_job, stored, outcome):
    state = {None: "submitting", "unknown": "unknown", "accepted": "processing"}[outcome]
    job = await make_job(JobStatus(state))

    with pytest.raises(UNIQUE, match="one_live"):
        await stored.run(
            "INSERT INTO job_attempts (id, job_id, n, token_hash) VALUES ($1, $2, 2, 'x')", new_id(), job.id
        )


@pytest.mark.parametrize("outcome", ["refused", "throttled", "blocked", "not_sent"])
async def test_a_second_attempt_is_allowed_after_a_sure_no(make_job, stored, outcome):
    job = await make_job(JobStatus.SUBMITTING)
    await stored.run("UPDATE job_attempts SET outcome = $2, outcome_at = now() WHERE job_id = $1", job.id, outcome)

    await stored.run("INSERT INTO job_attempts (id, job_id, n, token_hash) VALUES ($1, $2, 2, 'x')", new_id(), job.id)


async def test_one_task_belongs_to_one_attempt(make_job, stored):
    sent = await make_job(JobStatus.PROCESSING)
    other = await make_job(JobStatus.SUBMITTING)

    with pytest.raises(UNIQUE, match="job_attempts_task"):
        await stored.run(
            "UPDATE job_attempts SET outcome = 'accepted', outcome_at = now(), task_id = $2 WHERE job_id = $1",
            other.id,
            sent.task_id,
        )


@pytest.mark.parametrize(
    ("status", "change"),
    [
        ("processing", "status = 'completed', completed_at = now(), deadline_at = NULL"),
        ("processing", "video_url = 'https://x/y'"),
        ("processing", "status = 'failed', completed_at = now(), deadline_at = NULL"),
        ("processing", "failure_code = 'refused'"),
        ("processing", "completed_at = now()"),
        ("processing", "deadline_at = NULL"),
        ("processing", "next_attempt_at = now()"),
        ("processing", "refunded_at = now()"),
        ("processing", "recovered_at = now()"),
        ("pending", "next_attempt_at = NULL"),
        ("pending", "cost = 0"),
        ("pending", "status = 'lost'"),
        ("completed", "video_url = NULL"),
        ("completed", "refunded_at = now()"),
        ("completed", "deadline_at = now()"),
        ("failed", "failure_code = NULL"),
        ("canceled", "completed_at = NULL"),
    ],
)
async def test_a_job_of_a_wrong_shape_is_refused(make_job, stored, status, change):
    job = await make_job(JobStatus(status))

    with pytest.raises(CHECK):
        await stored.run(f"UPDATE video_jobs SET {change} WHERE id = $1", job.id)


@pytest.mark.parametrize(
    "change", ["outcome = 'accepted', outcome_at = now()", "outcome = 'lost'", "outcome_at = now()"]
)
async def test_an_attempt_of_a_wrong_shape_is_refused(make_job, stored, change):
    job = await make_job(JobStatus.SUBMITTING)

    with pytest.raises(CHECK):
        await stored.run(f"UPDATE job_attempts SET {change} WHERE job_id = $1", job.id)


@pytest.mark.parametrize("status", [status for status in JobStatus if status is not JobStatus.COMPLETED])
async def test_a_job_that_is_owed_something_cannot_be_deleted(make_job, stored, status):
    """Its video, or its refund."""
    job = await make_job(status)

    with pytest.raises(asyncpg.RestrictViolationError, match="is not over, or its refund is due"):
        await stored.run("DELETE FROM video_jobs WHERE id = $1", job.id)
