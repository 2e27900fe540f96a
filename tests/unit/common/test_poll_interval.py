"""How soon a task is asked about again."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelgate_common.domain.job import Job, JobStatus
from reelgate_common.settings import JobSettings
from reelgate_common.verification import Verifier


def job_of(age, status=JobStatus.PROCESSING):
    started = datetime.now(UTC) - timedelta(seconds=age)
    values = dict.fromkeys(Job.__dataclass_fields__)
    return Job(**values | {"status": status, "created_at": started, "started_at": started})


def next_check(job, *, waits_for_url=False, **policy):
    verifier = Verifier(db=None, vendor=None, policy=JobSettings(**policy), by="tests")
    return verifier._next_check_seconds(job, waits_for_url=waits_for_url)


@given(st.floats(0, 1e7), st.floats(0.1, 300), st.floats(0.1, 300))
def test_the_next_question_is_never_far(age, first, most):
    assert 0 < next_check(job_of(age), first_poll_seconds=first, max_poll_seconds=most) <= most


def test_a_young_task_is_asked_about_sooner_than_an_old_one():
    waits = [next_check(job_of(age), first_poll_seconds=2, max_poll_seconds=60) for age in (0, 10, 60, 600)]

    assert waits == sorted(waits)
    assert waits[0] == pytest.approx(1)
    assert waits[-1] == 60


def test_a_missing_url_is_asked_for_within_its_grace():
    assert next_check(job_of(1000), waits_for_url=True, empty_result_grace_seconds=20) == 10


def test_no_grace_does_not_mean_a_storm_of_questions():
    assert next_check(job_of(1000), waits_for_url=True, empty_result_grace_seconds=0) >= 0.5


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.COMPLETED])
def test_a_late_video_is_looked_for_rarely(status):
    assert next_check(job_of(10, status), late_check_seconds=3600) == 3600
