"""What the answers to the balance, a download link and an upload say."""

import json

import pytest

from reelgate_common.kie.account import read_balance, read_link
from reelgate_common.kie.uploads import read_upload

URL = "https://tempfile.redpandaai.co/kieai/1/images/cat.png"
FILE = {
    "success": True,
    "fileName": "cat.png",
    "filePath": "kieai/1/images/cat.png",
    "downloadUrl": URL,
    "fileSize": 3,
    "mimeType": "image/png",
    "uploadedAt": "2026-05-01T10:00:00.000Z",
}
READERS = [read_balance, read_link, read_upload]

each_reader = pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)


def body(code=200, data=None, *, msg="success", **more):
    return json.dumps({"code": code, "msg": msg, "data": data} | more).encode()


@pytest.mark.parametrize("left", [5916.25, 0, 12, -3.5])
def test_a_balance_is_a_bare_number(left):
    balance = read_balance(200, body(data=left))

    assert (balance.outcome, balance.credits) == ("accepted", left)


@pytest.mark.parametrize("data", [None, True, "5916.25", [], {}, float("nan"), float("inf"), 10**400])
def test_what_is_no_number_is_no_balance(data):
    balance = read_balance(200, body(data=data))

    assert (balance.outcome, balance.credits) == ("unknown", None)


def test_a_link_is_a_bare_string():
    link = read_link(200, body(data=URL))

    assert (link.outcome, link.url) == ("accepted", URL)


@pytest.mark.parametrize("data", [None, True, 7, [URL], {"url": URL}, "", "ftp://x/y", "https://", "http://[::1"])
def test_what_is_no_usable_string_is_no_link(data):
    link = read_link(200, body(data=data))

    assert (link.outcome, link.url) == ("unknown", None)


def test_a_foreign_file_gets_no_link():
    assert read_link(200, body(422, msg="url is wrong")).outcome == "refused"


def test_an_upload_says_where_the_file_is():
    upload = read_upload(200, body(data=FILE, success=True, msg="File uploaded successfully"))

    assert (upload.outcome, upload.url) == ("accepted", URL)


@pytest.mark.parametrize(
    "data", [None, [], "text", {}, FILE | {"downloadUrl": None}, FILE | {"downloadUrl": "x"}, {"fileUrl": URL}]
)
def test_an_upload_without_a_usable_url_is_unknown(data):
    upload = read_upload(200, body(data=data, success=True))

    assert (upload.outcome, upload.url) == ("unknown", None)


def test_an_upload_that_says_both_yes_and_no_is_unknown():
    assert read_upload(200, body(data=FILE, success=False)).outcome == "unknown"


@each_reader
@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (400, "refused"),
        (401, "blocked"),
        (402, "blocked"),
        (404, "blocked"),
        (422, "refused"),
        (429, "throttled"),
        (430, "throttled"),
        (433, "blocked"),
        (455, "blocked"),
        (500, "unknown"),
        (999, "unknown"),
        (None, "unknown"),
    ],
)
def test_every_code_means_the_same_everywhere(read, code, outcome):
    answer = read(200, body(code, 5.0, msg="said so"))

    assert (answer.outcome, answer.message) == (outcome, "said so")


@each_reader
@pytest.mark.parametrize(
    ("status", "outcome"), [(403, "blocked"), (413, "blocked"), (429, "throttled"), (500, "unknown"), (302, "unknown")]
)
def test_every_http_status_means_the_same_everywhere(read, status, outcome):
    assert read(status, b"error code: 1010").outcome == outcome


@each_reader
@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"<html>", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_unknown(read, raw):
    assert read(200, raw).outcome == "unknown"
