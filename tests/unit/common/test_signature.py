"""Kie.ai's webhook signature."""

import time

import pytest

from reelgate_common.kie.signature import Signature, check, sign

KEY = "hmac key"


def now(offset=0):
    return str(int(time.time()) + offset)


def test_a_signature_is_what_openssl_makes_of_it():
    # printf %s '0819326c.1700000000' | openssl dgst -sha256 -hmac 'hmac key' -binary | base64
    assert sign(KEY, "0819326c", "1700000000") == "KoyPyA7vqdQSzNd9Snt0F12Pjc+btBvvumE+V+PVi6Q="


def test_a_good_signature_is_good():
    stamp = now()

    assert check(KEY, "task", timestamp=stamp, signature=sign(KEY, "task", stamp)) is Signature.GOOD


@pytest.mark.parametrize(("key", "task"), [("other key", "task"), (KEY, "other task")])
def test_a_signature_of_another_key_or_task_is_bad(key, task):
    stamp = now()

    assert check(KEY, "task", timestamp=stamp, signature=sign(key, task, stamp)) is Signature.BAD


def test_a_signature_of_another_time_is_bad():
    assert check(KEY, "task", timestamp=now(), signature=sign(KEY, "task", now(-1000))) is Signature.BAD


@pytest.mark.parametrize("offset", [-301, -100_000, 302])
def test_a_good_signature_outside_of_five_minutes_is_old(offset):
    stamp = now(offset)

    assert check(KEY, "task", timestamp=stamp, signature=sign(KEY, "task", stamp)) is Signature.OLD


@pytest.mark.parametrize("stamp", ["soon", "-5", "1.5", "²", "9" * 5000])
def test_a_signed_timestamp_that_is_no_time_is_old(stamp):
    assert check(KEY, "task", timestamp=stamp, signature=sign(KEY, "task", stamp)) is Signature.OLD


@pytest.mark.parametrize(("stamp", "given"), [(None, "x"), ("", "x"), ("1", None), ("1", ""), (None, None)])
def test_without_timestamp_or_signature_it_is_missing(stamp, given):
    assert check(KEY, "task", timestamp=stamp, signature=given) is Signature.MISSING


@pytest.mark.parametrize("given", ["x", "ä", "====", "OPENSSL"])
def test_garbage_is_bad(given):
    assert check(KEY, "task", timestamp=now(), signature=given) is Signature.BAD
