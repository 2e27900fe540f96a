"""Whatever the vendor sends, nothing raises and nothing is believed without its evidence."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelgate_common.domain.job import SendOutcome
from reelgate_common.kie import account, answers, upgrades, uploads
from reelgate_common.kie.answers import Empty, Failed, Generating, Succeeded

NAMES = ["code", "msg", "message", "data", "taskId", "task_id", "successFlag", "resultUrls", "response", "info"]
NAMES += ["resultUrl", "result_urls", "fullResultUrls", "downloadUrl", "success"]
NAMES += ["errorCode", "errorMessage", "paramJson", "prompt", "callBackUrl"]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([0, 1, 2, 3, 200, 400, 422, 429, 500, 501, "200", "1", "[https://x/y]", '["https://x/y"]'])
    | st.text()
    | st.sampled_from(["\ud800", "a\x00b", "https://x/\ud800", "https://x/\x00"])  # PostgreSQL stores none of these
)
ANY_JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | st.text(), inner, max_size=6),
    max_leaves=20,
)
ANSWERS = st.fixed_dictionaries({}, optional={"msg": LEAVES, "taskId": LEAVES, "code": LEAVES, "data": ANY_JSON})
BODIES = st.binary() | ANY_JSON.map(lambda v: json.dumps(v).encode()) | ANSWERS.map(lambda v: json.dumps(v).encode())
STATUSES = st.sampled_from([200, 200, 200, 201, 302, 400, 403, 408, 429, 500, 503]) | st.integers(100, 599)


def storable(text):
    return text is None or (text.encode() and "\x00" not in text) or text == ""


@given(STATUSES, BODIES)
def test_a_send_is_accepted_or_refused_only_by_a_readable_answer(status, body):
    send = answers.read_send(status, body)

    if send.outcome in {SendOutcome.ACCEPTED, SendOutcome.REFUSED}:
        parsed = json.loads(body)
        assert 200 <= status < 300
        evidence = {"200"} if send.outcome is SendOutcome.ACCEPTED else {"400", "422", "451", "501", "505"}
        assert str(parsed["code"]).lstrip("0") in evidence
        assert (send.task_id is not None) == (send.outcome is SendOutcome.ACCEPTED)


SENTENCES = [
    "4k is processing.",
    "Records are being generated",
    "The video has been generated successfully",
    "Record does not exist",
    "The 4K version of this video is unavailable.",
    "Credits insufficient",
    "Your call frequency is too high.",
]
DATA = ANY_JSON | st.fixed_dictionaries(
    {},
    optional={"taskId": LEAVES, "resultUrl": LEAVES, "resultUrls": ANY_JSON, "downloadUrl": LEAVES},
)
TALK = BODIES | st.fixed_dictionaries(
    {},
    optional={
        "code": LEAVES | st.sampled_from([200, 400, 404, 422, 500]),
        "msg": LEAVES | st.sampled_from(SENTENCES),
        "data": DATA,
        "success": LEAVES,
    },
).map(lambda v: json.dumps(v).encode())
SURELY = {SendOutcome.ACCEPTED, SendOutcome.REFUSED}


@given(STATUSES, TALK)
def test_an_extension_is_accepted_or_refused_only_by_a_readable_answer(status, body):
    send = answers.read_extend(status, body)

    if send.outcome in SURELY:
        assert 200 <= status < 300
        evidence = {"200"} if send.outcome is SendOutcome.ACCEPTED else {"400", "404", "422", "451", "501", "505"}
        assert str(json.loads(body)["code"]).lstrip("0") in evidence
        assert (send.task_id is not None) == (send.outcome is SendOutcome.ACCEPTED)


@given(STATUSES, TALK)
def test_an_upgrade_is_accepted_or_refused_only_by_a_readable_answer(status, body):
    upgrade = upgrades.read_upgrade(status, body, wanted=lambda _: True)

    if upgrade.outcome in SURELY:
        assert 200 <= status < 300
        code = str(json.loads(body)["code"]).lstrip("0")
        yes, no = {"200", "400", "422"}, {"400", "404", "422", "451", "500", "501", "505"}
        assert code in (yes if upgrade.outcome is SendOutcome.ACCEPTED else no)
    if upgrade.outcome is not SendOutcome.ACCEPTED:
        assert (upgrade.task_id, upgrade.video_url) == (None, None)
    if upgrade.video_url:
        assert storable(upgrade.video_url)
        assert upgrade.video_url.startswith(("http://", "https://"))
    assert storable(upgrade.task_id)


@pytest.mark.parametrize(
    ("read", "name"), [(account.read_balance, "credits"), (account.read_link, "url"), (uploads.read_upload, "url")]
)
def test_what_was_asked_for_comes_with_code_200_and_only_then(read, name):
    @given(STATUSES, TALK)
    def holds(status, body):
        answer = read(status, body)

        is_there = getattr(answer, name) is not None
        assert is_there == (answer.outcome is SendOutcome.ACCEPTED)
        if is_there:
            assert 200 <= status < 300
            assert str(json.loads(body)["code"]).lstrip("0") == "200"
        assert storable(answer.message)

    holds()


@given(BODIES)
def test_a_send_is_never_acted_on_after_a_server_error(body):
    assert answers.read_send(502, body).outcome is SendOutcome.UNKNOWN


@given(STATUSES, BODIES)
def test_what_a_send_says_can_be_stored(status, body):
    send = answers.read_send(status, body)

    assert storable(send.message)
    assert storable(send.task_id)
    assert send.code is None or abs(send.code) < 2**31


@given(STATUSES, BODIES)
def test_a_task_is_over_only_by_a_readable_answer(status, body):
    info = answers.read_task(status, body)

    if isinstance(info, Succeeded | Empty | Failed):
        parsed = json.loads(body)
        assert status == 200
        code = str(parsed["code"]).lstrip("0")
        assert code == "200" or (code in {"400", "451", "501"} and isinstance(info, Failed))
        if code == "200":
            wanted = {"2", "3"} if isinstance(info, Failed) else {"1"}
            assert str(parsed["data"]["successFlag"]).lstrip("0") in wanted


@given(BODIES)
def test_what_a_task_says_can_be_stored(body):
    info = answers.read_task(200, body)

    if isinstance(info, Succeeded):
        assert storable(info.video_url)
        assert info.video_url.startswith(("http://", "https://"))
    if isinstance(info, Failed):
        assert storable(info.message)


@given(LEAVES, LEAVES)
def test_any_echo_of_the_request_is_read(prompt, param):
    for echoed in (param, {"prompt": prompt}, json.dumps({"prompt": prompt})):
        body = json.dumps({"code": 200, "data": {"successFlag": 0, "paramJson": echoed}})
        assert isinstance(answers.read_task(200, body.encode()), Generating)


@given(ANY_JSON)
def test_a_task_id_is_short_and_printable(value):
    if isinstance(value, dict):
        task_id = answers.task_id_of(value)
        assert task_id is None or (0 < len(task_id) <= 128 and task_id.isprintable())


@pytest.mark.parametrize(
    "body",
    [
        {"data": {"taskId": "t"}},
        {"data": {"task_id": "t"}},
        {"taskId": "t"},
        {"task_id": "t"},
        {"data": None, "taskId": "t"},
        {"data": {"taskId": 7}, "task_id": "t"},
        {"data": {"taskId": " t "}},
    ],
)
def test_a_callback_may_spell_its_task_id_in_every_way_met(body):
    assert answers.task_id_of(body) == "t"


@pytest.mark.parametrize("value", [None, "", " ", 7, True, [], {}, "a\nb", "a\x00b", "x" * 129, "\ud800"])
def test_what_is_no_task_id_is_none(value):
    assert answers.task_id_of({"data": {"taskId": value}}) is None
