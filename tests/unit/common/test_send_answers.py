"""What an answer to generate says: taken, refused, put off, or nobody knows."""

import json

import pytest

from reelgate_common.kie.answers import read_extend, read_send

TASK = "0819326cc7fddfd620baf6e1f0db7e2b"
CREDITS = "Credits insufficient : Your current balance isn't enough to run this request. Please top up to continue."
FREQUENCY = "Your call frequency is too high. Please try again later."


def read(code, msg="said so", *, status=200, data=None):
    return read_send(status, json.dumps({"code": code, "msg": msg, "data": data}).encode())


def test_a_task_id_beside_code_200_is_accepted():
    send = read(200, "success", data={"taskId": TASK})

    assert (send.outcome, send.task_id) == ("accepted", TASK)


@pytest.mark.parametrize("code", [400, 422, 451, 501, 505])
def test_a_sure_refusal_keeps_the_vendors_words(code):
    send = read(code, "Your prompt was flagged")

    assert (send.outcome, send.code, send.message) == ("refused", code, "Your prompt was flagged")


# Every row of the vendor's table of codes, with the words met: (code, words, outcome).
TABLE = [
    (400, "Your prompt was flagged by Website as violating content policies.", "refused"),
    (400, "Only English prompts are supported at this time.", "refused"),
    (400, "public error unsafe image upload", "refused"),
    (
        401,
        "Unauthorized \N{EN DASH} Authentication failed. Please check that your Authorization",
        "blocked",
    ),
    (401, "You do not have access permissions", "blocked"),
    (402, CREDITS, "blocked"),
    (500, CREDITS, "blocked"),
    (404, "Not Found", "blocked"),
    (408, "upstream gave nothing for 10 minutes", "unknown"),
    (422, "Validation Error", "refused"),
    (422, "model not supported", "refused"),
    (422, "Page does not exist or is not published", "refused"),
    (429, "Too many requests", "throttled"),
    (430, FREQUENCY, "throttled"),
    (433, "The current number of points used by apiKey has exceeded the daily limit", "blocked"),
    (451, "Failed to fetch the image. Kindly verify any access limits set by you or your", "refused"),
    (455, "Service Unavailable - System is currently undergoing maintenance", "blocked"),
    (500, "internal error, please try again later.", "unknown"),
    (500, "Internal Error - Timeout", "unknown"),
    (501, "Failed - Video generation task failed", "refused"),
    (505, "Feature Disabled", "refused"),
    (4030, "region not supported", "unknown"),
]


@pytest.mark.parametrize(("code", "msg", "outcome"), TABLE)
def test_every_row_of_the_vendors_table_has_its_outcome(code, msg, outcome):
    assert read(code, msg).outcome == outcome


@pytest.mark.parametrize(("code", "msg", "outcome"), TABLE)
def test_an_extension_is_judged_by_the_same_table_but_for_the_clip_it_names(code, msg, outcome):
    send = read_extend(200, json.dumps({"code": code, "msg": msg, "data": None}).encode())

    assert send.outcome == ("refused" if code == 404 else outcome)


def test_an_extension_is_accepted_by_its_new_task_id():
    body = json.dumps({"code": 200, "msg": "success", "data": {"taskId": TASK}}).encode()

    assert (read_extend(200, body).outcome, read_extend(200, body).task_id) == ("accepted", TASK)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [(404, b"<html>no such page</html>", "blocked"), (404, b'{"code":404,"msg":"x"}', "blocked")],
)
def test_a_page_that_is_not_there_is_not_about_the_clip(status, body, outcome):
    assert read_extend(status, body).outcome == outcome


def test_a_clip_that_is_not_found_beside_a_task_id_is_unknown():
    body = json.dumps({"code": 404, "msg": "x", "data": {"taskId": TASK}}).encode()

    assert read_extend(200, body).outcome == "unknown"


def test_what_the_newest_pages_call_message_is_read_too():
    send = read_send(200, b'{"code":422,"message":"so they say","data":null}')

    assert send.message == "so they say"


def test_msg_comes_before_message():
    assert read_send(200, b'{"code":422,"msg":"first","message":"second"}').message == "first"


@pytest.mark.parametrize("code", [401, 402, 404, 433, 455])
def test_trouble_with_the_account_blocks(code):
    assert read(code).outcome == "blocked"


def test_missing_credits_under_code_500_block_too():
    assert read(500, CREDITS).outcome == "blocked"


def test_missing_credits_under_code_402_block():
    assert read(402, CREDITS).outcome == "blocked"


@pytest.mark.parametrize("code", [429, 430])
def test_a_throttle_in_the_body_is_a_throttle(code):
    assert read(code).outcome == "throttled"


@pytest.mark.parametrize("code", [400, 422, 500, 455])
def test_the_sentence_of_a_throttle_is_one_under_any_code(code):
    assert read(code, FREQUENCY).outcome == "throttled"


@pytest.mark.parametrize("body", [b"", b"slow down", b'{"code":429,"msg":"slow down"}'])
@pytest.mark.parametrize("status", [429, 430])
def test_a_throttle_by_http_status_is_a_throttle(status, body):
    assert read_send(status, body).outcome == "throttled"


@pytest.mark.parametrize("code", [500, 408, 502, 0, -1, 201, 4030, 999])
def test_every_other_code_is_unknown(code):
    assert read(code, "Internal Error, Please try again later.").outcome == "unknown"


@pytest.mark.parametrize("status", [101, 408, 500, 502, 503, 504, 520, 524, 301, 302, 307])
def test_an_http_status_that_proves_nothing_is_unknown(status):
    assert read_send(status, b"<html>Bad Gateway</html>").outcome == "unknown"


@pytest.mark.parametrize("status", [500, 502, 408])
def test_a_task_id_in_a_broken_answer_is_not_believed(status):
    assert read(200, data={"taskId": TASK}, status=status).outcome == "unknown"


def test_a_refusal_in_a_broken_answer_is_not_believed():
    assert read(422, status=500).outcome == "unknown"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 415])
def test_an_http_refusal_comes_from_an_edge_and_blocks(status):
    assert read_send(status, b"no").outcome == "blocked"


def test_the_edges_1010_blocks_and_is_quoted():
    send = read_send(403, b"error code: 1010")

    assert (send.outcome, send.message) == ("blocked", "HTTP 403: error code: 1010")


@pytest.mark.parametrize(
    "data",
    [None, {}, [], "text", {"taskId": None}, {"taskId": ""}, {"taskId": 7}, {"taskId": ["x"]}, {"taskId": "a\x00b"}],
)
def test_success_without_a_task_id_is_unknown(data):
    send = read(200, "success", data=data)

    assert (send.outcome, send.task_id, send.message) == ("unknown", None, "accepted without a task id")


@pytest.mark.parametrize("code", [400, 402, 422, 429, 500, 501])
def test_a_task_id_beside_an_error_may_well_be_running(code):
    assert read(code, data={"taskId": TASK}).outcome == "unknown"


@pytest.mark.parametrize("name", ["taskId", "task_id"])
def test_the_task_id_is_found_in_both_spellings(name):
    assert read(200, data={name: TASK}).task_id == TASK


@pytest.mark.parametrize("code", [True, None, [], {}, 200.0, "2e2", 2**31, 10**300, "٤٢٢"])
def test_a_code_of_a_wrong_type_is_unknown(code):
    assert read(code).outcome == "unknown"


def test_a_code_as_a_string_of_digits_is_read():
    assert read("422").outcome == "refused"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"accepted"',
        b"<html>",
        b"\xff\xfe\x00",
        b'{"code":200,"data":{"taskId":"x"}',
        b'{"code":' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"data":' * 50_000,
    ],
)
def test_what_is_no_json_object_is_unknown(body):
    assert read_send(200, body).outcome == "unknown"


@pytest.mark.parametrize("msg", [None, 7, [], {}, ""])
def test_a_message_of_a_wrong_type_leaves_the_code_as_the_reason(msg):
    assert read(422, msg).message == "code 422"


def test_a_long_message_is_cut():
    assert len(read(422, "x" * 10_000).message) == 500


@pytest.mark.parametrize("msg", ["bad \x00 text", "bad \ud800 text"])
def test_a_message_can_be_stored_in_postgresql(msg):
    message = read(422, msg).message

    assert "\x00" not in message
    assert message.encode()


def test_an_edges_bytes_can_be_stored_in_postgresql():
    assert read_send(403, b"no\x00\xff\xed\xa0\x80").message.replace("\ufffd", "?").startswith("HTTP 403: no?")
