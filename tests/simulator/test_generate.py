"""The create call on an ordinary day: shapes, validation, bearer, credits, the send window."""

import contextlib
import json
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelgate_simulator import validation
from reelgate_simulator.envelope import Refusal
from reelgate_simulator.window import SendWindow

IMAGE = "https://example.com/a.png"


async def test_a_task_is_accepted_with_a_hex_id(kie):
    answer = await kie.generate()

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"
    body = answer.json()
    assert (body["code"], body["msg"], list(body["data"])) == (200, "success", ["taskId"])
    assert re.fullmatch("[0-9a-f]{32}", body["data"]["taskId"])


async def test_param_json_echoes_the_request_with_the_defaults_filled_in(kie):
    task_id = await kie.create("a cat é", aspectRatio="9:16", imageUrls=[IMAGE], watermark="w", seeds=12345)

    params = json.loads((await kie.record(task_id))["data"]["paramJson"])
    assert params == {
        "prompt": "a cat é",
        "aspectRatio": "9:16",
        "callBackUrl": kie.receiver.url,
        "duration": 8,
        "enableFallback": False,
        "enableTranslation": True,
        "generationType": "FIRST_AND_LAST_FRAMES_2_VIDEO",
        "imageUrls": [IMAGE],
        "model": "veo3_fast",
        "resolution": "720p",
        "seeds": 12345,
        "waterMark": "w",
    }


@pytest.mark.parametrize("name", ["aspect_ratio", "aspectRatio"])
async def test_both_spellings_of_the_ratio_are_taken(kie, name):
    task_id = await kie.create(**{name: "Auto"})

    assert json.loads((await kie.record(task_id))["data"]["paramJson"])["aspectRatio"] == "Auto"


@pytest.mark.parametrize(
    ("images", "kind"),
    [(0, "TEXT_2_VIDEO"), (2, "FIRST_AND_LAST_FRAMES_2_VIDEO"), (3, "REFERENCE_2_VIDEO")],
)
async def test_the_generation_type_follows_the_images(kie, images, kind):
    task_id = await kie.create(imageUrls=[IMAGE] * images)

    assert json.loads((await kie.record(task_id))["data"]["paramJson"])["generationType"] == kind


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"prompt": ""}, "Please enter prompt."),
        ({"prompt": None}, "Please enter prompt."),
        ({"prompt": 7}, "Please enter prompt."),
        ({"model": "sora"}, "model is not supported"),
        ({"model": ["veo3"]}, "model is not supported"),
        ({"generationType": "VIDEO"}, "generationType is not supported"),
        ({"aspect_ratio": "4:3"}, "aspect_ratio is not supported"),
        ({"aspectRatio": "4:3"}, "aspectRatio is not supported"),
        ({"resolution": "8k"}, "resolution is not supported"),
        ({"duration": 5}, "duration is not supported"),
        ({"duration": True}, "duration is not supported"),
        ({"seeds": 1}, "seeds must be"),
        ({"imageUrls": IMAGE}, "imageUrls must be"),
        ({"imageUrls": [1]}, "imageUrls must be"),
        ({"imageUrls": [IMAGE] * 4}, "REFERENCE_2_VIDEO supports at most 3 images."),
        ({"generationType": "FIRST_AND_LAST_FRAMES_2_VIDEO", "imageUrls": [IMAGE] * 3}, "at most 2 images"),
        ({"generationType": "REFERENCE_2_VIDEO"}, "at least one image"),
        ({"generationType": "REFERENCE_2_VIDEO", "imageUrls": [IMAGE], "model": "veo3"}, "only supports the"),
        ({"generationType": "REFERENCE_2_VIDEO", "imageUrls": [IMAGE], "duration": 4}, "duration of 8"),
        ({"callBackUrl": "ftp://example.com"}, "callBackUrl must be"),
        ({"enableTranslation": "yes"}, "enableTranslation has the wrong type"),
        ({"prompt": "sim:typo"}, "Unknown simulator scenario sim:typo"),
    ],
)
async def test_a_wrong_field_is_refused_by_a_sentence_inside_http_200(kie, fields, told):
    answer = await kie.generate(**({"prompt": "a cat"} | fields))

    body = answer.json()
    assert (answer.status_code, body["code"], body["data"]) == (200, 422, None)
    assert told in body["msg"]
    assert await kie.tasks() == []


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'{"prompt": NaN}', b'{"prompt": "\\ud800"}', b"\xff"])
async def test_a_body_that_is_no_json_object_is_refused(kie, raw):
    answer = await kie.http.post("/api/v1/veo/generate", content=raw, headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (200, 400)


async def test_a_body_of_another_content_type_is_refused(kie):
    answer = await kie.http.post("/api/v1/veo/generate", data={"prompt": "a cat"})

    assert (answer.status_code, answer.json()["code"]) == (200, 400)


@settings(deadline=None, max_examples=30)
@given(
    st.dictionaries(
        st.sampled_from(
            ["prompt", "model", "imageUrls", "duration", "aspect_ratio", "seeds", "callBackUrl", "watermark"]
        ),
        st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists),
    )
)
def test_any_json_object_is_either_normalised_or_refused(body):
    with contextlib.suppress(Refusal):
        params = validation.normalise(body, reference_image_limit=3)

        assert params["prompt"] == body["prompt"]


@pytest.mark.parametrize("header", ["", "Bearer", "Basic abc"])
async def test_without_a_bearer_nothing_is_let_in(kie, header):
    for method, path in [("POST", "veo/generate"), ("GET", "veo/record-info"), ("GET", "chat/credit")]:
        answer = await kie.http.request(method, f"/api/v1/{path}", headers={"Authorization": header})

        assert answer.status_code == 200
        assert answer.json()["code"] == 401
        assert list(answer.json()) == ["code", "msg"]


async def test_only_the_configured_bearer_is_let_in(kie):
    await kie.configure(api_key="secret")

    assert (await kie.generate()).json()["code"] == 401
    assert (await kie.generate(headers={"Authorization": "Bearer secret"})).json()["code"] == 200
    assert "secret" not in (await kie.http.get("/sim/config")).text


async def test_credits_are_taken_by_model_and_resolution(kie):
    await kie.configure(credits=1000.25)

    await kie.create(model="veo3_lite")
    await kie.create(model="veo3", resolution="1080p")

    assert await kie.credit() == 1000.25 - 30 - 255


async def test_a_short_balance_refuses_and_takes_nothing(kie):
    await kie.configure(credits=59.5)

    body = (await kie.generate()).json()

    assert (body["code"], body["data"]) == (402, None)
    assert body["msg"].startswith("Credits insufficient")
    assert await kie.credit() == 59.5


async def test_a_failed_task_gives_its_credits_back(kie):
    before = await kie.credit()
    task_id = await kie.create("sim:stuck")
    assert await kie.credit() == before - 60

    await kie.http.post(f"/sim/tasks/{task_id}/finish", json={"outcome": "sim:policy"})

    assert await kie.credit() == before


@pytest.mark.parametrize(
    ("form", "status", "code"), [("body-429", 200, 429), ("body-430", 200, 430), ("http-429", 429, 429)]
)
async def test_sends_beyond_the_window_are_refused(kie, form, status, code):
    await kie.configure(sends_per_window=2, send_window_seconds=60, throttle_form=form)

    answers = [await kie.generate() for _ in range(3)]

    assert [answer.json()["code"] for answer in answers] == [200, 200, code]
    assert answers[2].status_code == status
    assert "frequency is too high" in answers[2].json()["msg"]


async def test_a_send_is_taken_again_when_the_window_has_slid(kie):
    await kie.configure(sends_per_window=1, send_window_seconds=0.3)
    began = time.monotonic()
    await kie.create()

    while (await kie.generate()).json()["code"] != 200:
        pass

    assert time.monotonic() - began >= 0.3


def test_the_window_slides_and_counts_only_what_it_let_in():
    window = SendWindow()

    admitted = [window.admit(now, limit=2, seconds=10) for now in (0, 4, 5, 9.9, 10, 10.1, 13.9, 14)]

    assert admitted == [True, True, False, False, True, False, False, True]


async def test_a_slow_vendor_answers_late(kie):
    await kie.configure(submit_delay_seconds=0.1, record_delay_seconds=0.1)
    began = time.monotonic()

    await kie.record(await kie.create())

    assert time.monotonic() - began >= 0.2
