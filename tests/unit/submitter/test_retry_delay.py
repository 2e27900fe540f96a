"""How long a job that was surely not taken waits for its next try."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelgate_common.domain.job import SendOutcome
from reelgate_submitter.handlers import Submitter
from reelgate_submitter.settings import Settings

TRIES = st.integers(1, 10_000)
SURE = st.sampled_from([SendOutcome.THROTTLED, SendOutcome.BLOCKED, SendOutcome.NOT_SENT])


def settings(**overrides):
    needed = {"database_url": "x", "amqp_url": "x", "kie_ai_api_key": "x", "public_base_url": "http://localhost"}
    return Settings(**needed | overrides)


def delay(outcome, tries, **overrides):
    submitter = Submitter(db=None, vendor=None, relay=None, settings=settings(**overrides))
    return submitter._delay_seconds(outcome, tries)


@given(SURE, TRIES)
def test_no_wait_is_longer_than_twice_the_longest(outcome, tries):
    assert 0 <= delay(outcome, tries, retry_max_seconds=60, kie_send_window_seconds=10) <= 120


@given(TRIES)
def test_a_lost_connection_is_tried_again_within_its_doubling_limit(tries):
    assert delay(SendOutcome.NOT_SENT, tries, retry_first_seconds=1, retry_max_seconds=300) <= min(
        2.0 ** min(tries, 20), 300
    )


@given(TRIES)
def test_a_throttled_job_waits_for_the_window_to_move_on(tries):
    assert delay(SendOutcome.THROTTLED, tries, kie_send_window_seconds=10) >= 5


@given(TRIES)
def test_a_blocked_job_waits_behind_the_breakers_probe(tries):
    waited = delay(SendOutcome.BLOCKED, tries, breaker_first_seconds=5, retry_max_seconds=300)

    assert waited >= min(5 * 2.0 ** min(tries, 20), 300)


@pytest.mark.parametrize("outcome", [SendOutcome.THROTTLED, SendOutcome.BLOCKED, SendOutcome.NOT_SENT])
def test_jobs_do_not_come_back_in_step(outcome):
    assert len({delay(outcome, 3) for _ in range(50)}) == 50
