"""What an answer of record-info says about a task."""

import json

import pytest

from reelgate_common.kie.answers import Empty, Failed, Generating, NotYet, read_task
from reelgate_common.kie.urls import is_on

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


def test_an_extension_brings_its_whole_clip():
    info = succeeded(response={"resultUrls": ["https://other.example/new-part.mp4"], "fullResultUrls": [URL]})

    assert info.video_url == URL


@pytest.mark.parametrize("whole", [None, [], "", ["ftp://x/y"]])
def test_without_a_whole_clip_the_new_part_is_the_result(whole):
    assert succeeded(response={"resultUrls": [URL], "fullResultUrls": whole}).video_url == URL


# Every failure met or documented in record-info: (errorCode, errorMessage).
FAILURES = [
    (500, "internal error, please try again later."),
    (422, "failed"),
    (400, "The Google model was unable to generate audio for this request."),
    (402, "Credits insufficient : Your current balance isn't enough to run this request."),
    (501, "Failed - Video generation task failed"),
    ("400", "Only English prompts are supported at this time."),
]


@pytest.mark.parametrize(("code", "message"), FAILURES)
@pytest.mark.parametrize("flag", [2, 3])
def test_every_failure_met_is_kept_in_the_vendors_words(flag, code, message):
    info = read(successFlag=flag, errorCode=code, errorMessage=message, completeTime=1787093516000)

    assert (type(info), info.code, info.message) == (Failed, int(code), message)


@pytest.mark.parametrize("times", [1785999477000, "2025-06-06 10:30:00", "2025-06-06T10:30:00Z", None])
def test_times_in_any_form_do_not_matter(times):
    info = succeeded(response={"resultUrls": [URL]}, createTime=times, completeTime=times)

    assert info.video_url == URL


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
        "record result data is empty",
        "record result data not exist",
        "recordInfo is null",
        "Record does not exist",
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


# Hosts of results -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "is_there"),
    [
        ("https://cdn.example/v.mp4", True),
        ("https://CDN.example./v.mp4", True),
        ("https://cdn.example:8443/v.mp4", True),
        ("https://a.media.example/v.mp4", True),
        ("https://a.b.media.example/v.mp4", True),
        ("https://media.example/v.mp4", False),
        ("https://notcdn.example/v.mp4", False),
        ("https://cdn.example.evil.example/v.mp4", False),
        ("https://evil.example/cdn.example", False),
        ("https://evil.example/?cdn.example", False),
        ("https://cdn.example@evil.example/v.mp4", False),
        ("https://evil.example\\@cdn.example/v.mp4", False),
        ("https://cdn.example\\.evil.example/v.mp4", False),
        ("https://evil.example#@cdn.example/v.mp4", False),
        ("https://xmedia.example/v.mp4", False),
        ("https://.media.example/v.mp4", False),
        ("https://evil.example%2f.media.example/v.mp4", False),
        ("https://evil.example%23.media.example/v.mp4", False),
        ("https://evil.example;.media.example/v.mp4", False),
        ("https://evil.example .media.example/v.mp4", False),
        ("https://evil.example[v1.media.example]/v.mp4", False),
        ("https://[v1.media.example]/v.mp4", False),
        ("https://evil.example\N{FRACTION SLASH}.media.example/v.mp4", False),
        ("https://evil.example\N{DIVISION SLASH}.media.example/v.mp4", False),
        ("https://\N{FULLWIDTH LATIN SMALL LETTER C}dn.example/v.mp4", False),
        ("https://\N{CYRILLIC SMALL LETTER ES}dn.example/v.mp4", False),
        ("https://cdn\N{IDEOGRAPHIC FULL STOP}example/v.mp4", False),
        ("https://xn--cdn.example/v.mp4", False),
        ("https://xn--bcher-kva.media.example/v.mp4", True),
    ],
)
def test_a_result_is_taken_only_from_the_hosts_that_are_named(url, is_there):
    assert is_on(url, ["cdn.example", ".media.example"]) == is_there


def test_a_wanted_result_is_found_behind_one_that_is_not():
    data = {"successFlag": 1, "response": {"resultUrls": ["https://other.example/v.mp4", "https://cdn.example/v.mp4"]}}
    body = json.dumps({"code": 200, "data": data}).encode()

    found = read_task(200, body, wanted=lambda url: is_on(url, ["cdn.example"]))
    none = read_task(200, body, wanted=lambda url: is_on(url, ["third.example"]))

    assert found.video_url == "https://cdn.example/v.mp4"
    assert isinstance(none, Empty)
