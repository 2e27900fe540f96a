"""What an answer of record-info says about a task."""

import json

import pytest

from reelgate_common.kie.answers import Empty, Failed, Generating, NotYet, read_task

URL = "https://tempfile.aiquickdraw.com/v/a.mp4"
CALLBACK = "https://gateway.example/api/video/kie-ai-callback?attempt=1"


def read(code=200, *, msg="success", status=200, **data):
    return read_task(status, json.dumps({"code": code, "msg": msg, "data": data or None}).encode())


def succeeded(**data):
    return read(successFlag=1, **data)


def test_flag_0_is_still_generating():
    assert isinstance(read(successFlag=0), Generating)


def test_flag_0_with_a_complete_time_is_still_generating():
    assert isinstance(read(successFlag=0, completeTime=1787093516000), Generating)


def test_flag_1_with_a_url_succeeded():
    assert succeeded(response={"resultUrls": [URL]}).video_url == URL


@pytest.mark.parametrize("flag", [2, 3])
def test_flags_2_and_3_failed_with_the_vendors_reason(flag):
    info = read(successFlag=flag, errorCode=500, errorMessage="internal error, please try again later.")

    assert (type(info), info.code, info.message) == (Failed, 500, "internal error, please try again later.")


@pytest.mark.parametrize("message", [None, "", 7, {}])
def test_a_failure_without_words_gets_some(message):
    assert read(successFlag=3, errorMessage=message).message == "Video generation failed"


@pytest.mark.parametrize(("flag", "kind"), [("0", Generating), ("3", Failed), ("1", Empty)])
def test_a_flag_as_a_string_is_read(flag, kind):
    assert isinstance(read(successFlag=flag), kind)


@pytest.mark.parametrize("flag", [None, 4, -1, True, False, 1.0, "", "yes", [1], 10**300])
def test_an_unknown_flag_says_nothing(flag):
    assert isinstance(read(successFlag=flag, response={"resultUrls": [URL]}), NotYet)


def test_complete_time_without_a_flag_says_nothing():
    assert isinstance(read(completeTime=1787093516000), NotYet)


@pytest.mark.parametrize(
    "urls",
    [
        [URL],
        json.dumps([URL]),
        f"[{URL}]",
        URL,
        json.dumps(URL),
        [f"  {URL} "],
        ["", URL],
        [None, 7, URL],
        ["ftp://x/y", URL],
        f"[{URL},https://other.example/b.mp4]",
    ],
)
def test_the_first_usable_url_is_found_in_every_shape(urls):
    assert succeeded(response={"resultUrls": urls}).video_url == URL


@pytest.mark.parametrize("holder", ["response", "info"])
def test_the_url_is_found_in_response_and_info(holder):
    assert succeeded(**{holder: {"resultUrls": [URL]}}).video_url == URL


def test_the_url_is_found_at_the_top_as_in_the_old_api():
    assert succeeded(resultUrls=json.dumps([URL])).video_url == URL


def test_response_wins_over_info():
    info = succeeded(response={"resultUrls": [URL]}, info={"resultUrls": ["https://other.example/b.mp4"]})

    assert info.video_url == URL


@pytest.mark.parametrize(
    "urls",
    [
        None,
        [],
        "",
        "[]",
        "null",
        "{}",
        7,
        {"0": URL},
        [[URL]],
        ["ftp://x/y.mp4"],
        ["javascript:alert(1)"],
        ["file:///etc/passwd"],
        ["https://"],
        ["http://[::1"],
        ["//x/y"],
        ["https://x/" + "y" * 2048],
        "[" * 50_000,
    ],
)
def test_success_without_a_usable_url_is_empty(urls):
    assert isinstance(succeeded(response={"resultUrls": urls}), Empty)


@pytest.mark.parametrize("url", ["https://x/a\x00b.mp4", "https://x/\ud800.mp4"])
def test_a_url_that_postgresql_cannot_store_is_not_usable(url):
    assert isinstance(succeeded(response={"resultUrls": [url]}), Empty)


@pytest.mark.parametrize("code", [400, 451, 501])
def test_a_failure_may_stand_at_the_top(code):
    info = read(code, msg="public error unsafe image upload")

    assert (type(info), info.code, info.message) == (Failed, code, "public error unsafe image upload")


@pytest.mark.parametrize(
    "msg",
    [
        "Record not found for taskId: 0819",
        "record is null",
        "Temporarily supports records within 14 days",
        "record result data is blank",
        "record status is not success",
    ],
)
def test_422_is_not_yet(msg):
    assert isinstance(read(422, msg=msg), NotYet)


@pytest.mark.parametrize("code", [401, 402, 404, 408, 429, 430, 433, 455, 500, 505, None, True, "x"])
def test_every_other_code_says_nothing(code):
    assert isinstance(read(code), NotYet)


@pytest.mark.parametrize("data", [None, [], "text", 7, True])
def test_success_without_data_says_nothing(data):
    assert isinstance(read_task(200, json.dumps({"code": 200, "msg": "success", "data": data}).encode()), NotYet)


@pytest.mark.parametrize("status", [201, 204, 301, 400, 401, 403, 404, 429, 500, 502, 503])
def test_any_other_http_status_says_nothing(status):
    assert isinstance(read(400, status=status), NotYet)


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"<html>", b"\xff", b'{"code":200', b"[" * 100_000])
def test_what_is_no_json_object_says_nothing(body):
    assert isinstance(read_task(200, body), NotYet)


def test_the_echo_of_the_request_is_read_from_a_json_string():
    info = read(successFlag=0, paramJson=json.dumps({"prompt": "A cat", "callBackUrl": CALLBACK}))

    assert (info.prompt, info.callback_url) == ("A cat", CALLBACK)


def test_the_echo_of_the_request_is_read_from_an_object():
    assert read(successFlag=0, paramJson={"prompt": "A cat"}).prompt == "A cat"


@pytest.mark.parametrize("param", [None, "", "{", "[]", "null", 7, [], '{"prompt": 7}', "[" * 50_000, "\ud800"])
def test_a_garbled_echo_is_no_echo(param):
    info = read(successFlag=0, paramJson=param)

    assert (info.prompt, info.callback_url) == (None, None)
