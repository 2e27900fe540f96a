"""The life of a job: which state may follow which, and what the caller is shown."""

import pytest

from reelgate_common.domain.job import BY_DEADLINE, FINAL, FOLLOWERS, FailureCode, JobStatus, leading_to


def test_every_state_has_its_followers():
    assert set(FOLLOWERS) == set(JobStatus)


@pytest.mark.parametrize("status", JobStatus)
def test_no_state_follows_itself(status):
    assert status not in FOLLOWERS[status]


def test_the_only_way_out_of_a_final_state_is_recovery():
    ways_out = {(before, after) for before in FINAL for after in FOLLOWERS[before]}

    assert ways_out == {(JobStatus.FAILED, JobStatus.COMPLETED)}


def test_a_video_comes_only_from_a_job_that_was_sent_or_failed():
    assert leading_to(JobStatus.COMPLETED) == {JobStatus.PROCESSING, JobStatus.FAILED}


def test_a_job_that_may_be_at_the_vendor_is_not_canceled():
    assert leading_to(JobStatus.CANCELED) == {JobStatus.PENDING}


def test_only_a_lease_leads_to_unknown():
    assert leading_to(JobStatus.UNKNOWN) == {JobStatus.SUBMITTING}


@pytest.mark.parametrize("status", [status for status in JobStatus if status not in FINAL])
def test_every_open_state_can_end(status):
    reached, waiting = set(), [status]
    while waiting:
        for after in FOLLOWERS[waiting.pop()] - reached:
            reached.add(after)
            waiting.append(after)

    assert {JobStatus.COMPLETED, JobStatus.FAILED} <= reached


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ("pending", "pending"),
        ("submitting", "processing"),
        ("unknown", "processing"),
        ("processing", "processing"),
        ("completed", "completed"),
        ("failed", "failed"),
        ("canceled", "failed"),
    ],
)
def test_the_caller_is_shown_the_four_words_of_the_guide(status, word):
    assert JobStatus(status).shown == word


@pytest.mark.parametrize("status", JobStatus)
def test_final_is_what_the_caller_sees_as_over(status):
    assert status.is_final == (status.shown in {"completed", "failed"})


def test_only_our_own_deadlines_leave_hope_for_a_video():
    assert {FailureCode.SUBMIT_UNKNOWN, FailureCode.PROCESSING_TIMEOUT} == BY_DEADLINE
