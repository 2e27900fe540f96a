"""When a webhook is sent again, and how it is signed."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from uuid import uuid4

import pytest
from standardwebhooks import Webhook

from reelgate_callback.webhooks import signature
from reelgate_callback.webhooks.schedule import DELAYS, delay_after, read_retry_after

NONE = timedelta(0)


@pytest.mark.parametrize(("tries", "planned"), list(enumerate(DELAYS, start=1)))
def test_a_pause_is_the_planned_one_spread_by_a_fifth(tries, planned):
    pauses = [delay_after(tries, retry_after=None) for _ in range(50)]

    assert all(0.8 * planned <= pause.total_seconds() <= 1.2 * planned for pause in pauses)
    assert len(set(pauses)) > 1


def test_after_the_last_pause_there_is_none():
    assert delay_after(len(DELAYS) + 1, retry_after=timedelta(seconds=5)) is None


def test_a_receiver_may_ask_for_more_time_but_not_for_less_and_not_for_ever():
    assert delay_after(1, retry_after=timedelta(hours=2)) == timedelta(hours=2)
    assert delay_after(9, retry_after=timedelta(seconds=1)) > timedelta(hours=19)
    assert delay_after(1, retry_after=timedelta(days=400)) == timedelta(hours=24)
    assert delay_after(1, retry_after=timedelta(days=-400)) > NONE


@pytest.mark.parametrize("text", [None, "", "soon", "-1", "1.5", "\u0663", "Wed, 99 Foo 2026", "0x10", "NaN"])
def test_a_retry_after_that_says_nothing_is_none(text):
    assert read_retry_after(text) is None


def test_a_retry_after_is_seconds_or_a_date():
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)

    assert read_retry_after(" 120 ") == timedelta(seconds=120)
    for text in (format_datetime(in_an_hour, usegmt=True), format_datetime(in_an_hour).replace("+0000", "-0000")):
        assert timedelta(minutes=59) < read_retry_after(text) <= timedelta(hours=1)


def test_a_date_far_away_is_no_accident():
    assert delay_after(1, retry_after=read_retry_after("Fri, 31 Dec 9999 23:59:59 GMT")) == timedelta(hours=24)
    assert delay_after(1, retry_after=read_retry_after("9" * 5000)) == timedelta(hours=24)


@pytest.mark.parametrize("body", ["{}", '{"prompt":"ein Bär läuft 🐻"}', ""])
def test_each_secret_verifies(body):
    secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"]

    headers = signature.headers(uuid4(), datetime.now(UTC), body, secrets=secrets)

    for secret in secrets:
        Webhook(secret).verify(body, headers, json_parse=False)


def test_the_signature_is_the_one_of_the_standards_own_example():
    # github.com/standard-webhooks/standard-webhooks, libraries/python/tests
    content = b'msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}'

    assert signature._sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", content) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )
