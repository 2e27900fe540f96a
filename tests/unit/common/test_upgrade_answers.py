"""What an answer of get-1080p-video or get-4k-video says, under codes that mean two things."""

import json

import pytest

from reelgate_common.kie.upgrades import read_upgrade

TASK = "0819326cc7fddfd620baf6e1f0db7e2b"
URL = "https://tempfile.aiquickdraw.com/p/a.mp4"
CREDITS = "Credits insufficient : Your current balance isn't enough to run this request. Please top up to continue."
PROCESSING_1080P = "1080P is processing. It should be ready in 1-2 minutes. Please check back shortly."
PROCESSING_4K = "4k is processing. It should be ready in 5-10 minutes. Please check back shortly."
READY_4K = "The video has been generated successfully"
NOTHING = {"taskId": TASK, "resultUrls": None, "imageUrls": None}
DONE = {"taskId": TASK, "resultUrls": [URL], "imageUrls": []}


def judged(status, body, *, wanted=lambda _: True):
    return read_upgrade(status, body, wanted=wanted)


def read(code, msg="success", data=None, *, status=200):
    return judged(status, json.dumps({"code": code, "msg": msg, "data": data}).encode())


# Every answer met or documented: (code, words, data, outcome, video).
TABLE = [
    (200, "success", {"resultUrl": URL}, "accepted", URL),
    (400, PROCESSING_1080P, None, "accepted", None),
    (422, "Records are being generated", None, "accepted", None),
    (500, "Internal Error, Please try again later.", None, "unknown", None),
    (422, "Record does not exist", None, "refused", None),
    (200, "success", NOTHING, "accepted", None),
    (422, PROCESSING_4K, NOTHING, "accepted", None),
    (422, READY_4K, DONE, "accepted", URL),
    (422, READY_4K, NOTHING, "accepted", None),
    (500, "The 4K version of this video is unavailable. Please try a different video.", NOTHING, "refused", None),
    (422, "Temporarily supports records within 14 days", None, "refused", None),
    (404, "Not Found", None, "refused", None),
    (401, "You do not have access permissions", None, "blocked", None),
    (402, CREDITS, None, "blocked", None),
    (500, CREDITS, None, "blocked", None),
    (433, "The current number of points used by apiKey has exceeded the daily limit", None, "blocked", None),
    (455, "maintenance", None, "blocked", None),
    (429, "slow down", None, "throttled", None),
    (430, "slow down", None, "throttled", None),
    (422, "Your call frequency is too high. Please try again later.", None, "throttled", None),
    (451, "no", None, "refused", None),
    (501, "failed", None, "refused", None),
    (505, "disabled", None, "refused", None),
]


@pytest.mark.parametrize(("code", "msg", "data", "outcome", "video"), TABLE)
def test_every_answer_met_has_its_outcome(code, msg, data, outcome, video):
    upgrade = read(code, msg, data)

    assert (upgrade.outcome, upgrade.video_url) == (outcome, video)
    assert (upgrade.code, upgrade.message) == (code, msg)


@pytest.mark.parametrize("data", [DONE, {"task_id": TASK, "result_urls": [URL], "media_ids": [], "image_urls": []}])
@pytest.mark.parametrize("code", [200, 422])
def test_a_finished_4k_is_read_in_camel_and_snake_case(code, data):
    upgrade = read(code, READY_4K, data)

    assert (upgrade.outcome, upgrade.video_url, upgrade.task_id) == ("accepted", URL, TASK)


@pytest.mark.parametrize("urls", [json.dumps([URL]), f"[{URL}]", ["", URL], ["ftp://x/y", URL]])
def test_the_urls_may_come_in_every_form_met(urls):
    assert read(422, READY_4K, {"taskId": TASK, "resultUrls": urls}).video_url == URL


@pytest.mark.parametrize("code", [400, 422])
@pytest.mark.parametrize("msg", ["", None, "record status is not success", "record is null", "something new"])
def test_an_unknown_sentence_under_a_code_that_means_two_things_is_unknown(code, msg):
    assert read(code, msg).outcome == "unknown"


@pytest.mark.parametrize("code", [422, 400])
def test_the_urls_speak_even_when_the_sentence_is_new(code):
    assert read(code, "something new", DONE).video_url == URL


@pytest.mark.parametrize("code", [401, 402, 404, 429, 433, 455, 500, 501, 505, 999])
def test_urls_beside_any_other_error_are_not_believed(code):
    upgrade = read(code, "something", DONE)

    assert upgrade.outcome != "accepted"
    assert (upgrade.video_url, upgrade.task_id) == (None, None)


@pytest.mark.parametrize("data", [None, {}, [], "text", 7, {"resultUrl": "ftp://x/y"}, {"taskId": 7}])
def test_success_without_work_or_video_is_unknown(data):
    assert read(200, data=data).outcome == "unknown"


@pytest.mark.parametrize("status", [408, 500, 502, 301])
def test_an_http_status_that_proves_nothing_is_unknown(status):
    assert read(422, READY_4K, DONE, status=status).outcome == "unknown"


@pytest.mark.parametrize(("status", "outcome"), [(429, "throttled"), (403, "blocked"), (404, "blocked")])
def test_an_http_refusal_is_no_word_about_the_clip(status, outcome):
    assert read(404, status=status).outcome == outcome


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"<html>", b"[" * 100_000, b'{"code":200', b"{}"])
def test_what_is_not_understood_is_unknown(body):
    assert judged(200, body).outcome == "unknown"


def test_a_video_on_a_host_the_operator_does_not_take_counts_as_none():
    body = json.dumps({"code": 422, "msg": READY_4K, "data": DONE | {"resultUrls": ["https://evil.example/a", URL]}})

    assert judged(200, body.encode(), wanted=lambda url: url == URL).video_url == URL
    assert judged(200, body.encode(), wanted=lambda _: False).video_url is None
