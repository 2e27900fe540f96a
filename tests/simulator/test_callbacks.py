"""Callbacks: documented shapes and their variants, signature, copies, forgeries, retries."""

import base64
import hashlib
import hmac
import json
import time

import pytest


def signature_of(task_id: str, timestamp: str, key: str) -> str:
    digest = hmac.new(key.encode(), f"{task_id}.{timestamp}".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


async def test_a_success_is_told_in_the_documented_shape(kie):
    task_id = await kie.create("a cat", resolution="1080p")

    (body,) = await kie.receiver.wait_for()

    prompt_json = body["data"].pop("promptJson")
    assert body == {
        "code": 200,
        "msg": "Veo3.1 video generated successfully.",
        "data": {
            "taskId": task_id,
            "info": {"resultUrls": [f"{kie.http.base_url}/media/{task_id}.mp4"], "resolution": "1080p"},
            "fallbackFlag": False,
        },
    }
    assert (prompt_json["prompt"], prompt_json["callBackUrl"]) == ("a cat", kie.receiver.url)
    assert kie.receiver.headers[0]["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("word", "shape"),
    [("sim:url-array", '["{}"]'), ("sim:url-json", '"[\\"{}\\"]"'), ("sim:url-bracket", '"[{}]"')],
)
async def test_result_urls_come_in_three_forms(kie, word, shape):
    task_id = await kie.create(word)

    (body,) = await kie.receiver.wait_for()

    expected = shape.replace("{}", f"{kie.http.base_url}/media/{task_id}.mp4")
    assert json.dumps(body["data"]["info"]["resultUrls"]) == expected


async def test_origin_urls_are_told(kie):
    await kie.create("sim:origin sim:url-bracket")

    (body,) = await kie.receiver.wait_for()

    assert body["data"]["info"]["originUrls"].endswith("-origin.mp4]")


async def test_the_id_may_be_spelt_otherwise(kie):
    task_id = await kie.create("sim:task_id")

    (body,) = await kie.receiver.wait_for()

    assert body["data"]["task_id"] == task_id
    assert "taskId" not in body["data"]


@pytest.mark.parametrize(
    ("word", "kind"), [("sim:prompt-json-string", str), ("sim:prompt-json-absent", type(None)), ("sim:ok", dict)]
)
async def test_the_prompt_comes_as_object_string_or_not_at_all(kie, word, kind):
    await kie.create(word)

    (body,) = await kie.receiver.wait_for()

    assert type(body["data"].get("promptJson")) is kind


@pytest.mark.parametrize(("words", "flag"), [("sim:record-shape", 1), ("sim:record-shape sim:policy", 3)])
async def test_a_callback_may_look_like_record_info(kie, words, flag):
    task_id = await kie.create(words)

    (body,) = await kie.receiver.wait_for()

    assert body["data"] == (await kie.record(task_id))["data"]
    assert body["data"]["successFlag"] == flag


async def test_without_a_key_nothing_is_signed(kie):
    await kie.create()
    await kie.receiver.wait_for()

    assert not [name for name in kie.receiver.headers[0] if name.startswith("x-webhook")]


@pytest.mark.parametrize(("word", "is_valid"), [("sim:ok", True), ("sim:task_id", True), ("sim:bad-signature", False)])
async def test_with_a_key_the_task_id_and_the_time_are_signed(kie, word, is_valid):
    await kie.configure(hmac_key="hook-key")
    task_id = await kie.create(word)
    await kie.receiver.wait_for()

    headers = kie.receiver.headers[0]
    timestamp = headers["x-webhook-timestamp"]
    assert abs(int(timestamp) - time.time()) < 5
    assert (headers["x-webhook-signature"] == signature_of(task_id, timestamp, "hook-key")) is is_valid


async def test_a_callback_may_be_unsigned_in_spite_of_the_key(kie):
    await kie.configure(hmac_key="hook-key")
    await kie.create("sim:unsigned")
    await kie.receiver.wait_for()

    assert "x-webhook-signature" not in kie.receiver.headers[0]


async def test_a_lost_callback_never_comes(kie):
    lost = await kie.create("sim:lost-callback")
    await kie.ended(lost)
    other = await kie.create()

    bodies = await kie.receiver.wait_for()

    assert [body["data"]["taskId"] for body in bodies] == [other]


async def test_a_callback_may_come_three_times(kie):
    await kie.create("sim:dup-callback")

    first, second, third = await kie.receiver.wait_for(3)

    assert first == second == third


async def test_a_callback_may_come_long_after_the_end(kie):
    task_id = await kie.create("sim:delayed-callback")
    await kie.configure(video_seconds=0.2)  # the delay is five of these
    await kie.ended(task_id)
    ended_at = time.monotonic()
    assert kie.receiver.bodies == []

    await kie.receiver.wait_for()

    assert kie.receiver.times[0] - ended_at > 0.1


@pytest.mark.parametrize(("words", "forged", "real"), [("", 501, 200), ("sim:policy", 200, 400)])
async def test_a_forgery_comes_first_and_claims_the_opposite(kie, words, forged, real):
    task_id = await kie.create(f"sim:forged-callback sim:stuck {words}")

    (lie,) = await kie.receiver.wait_for()
    assert (await kie.record(task_id))["data"]["successFlag"] == 0
    assert lie["code"] == forged

    await kie.http.post(f"/sim/tasks/{task_id}/finish", json={"outcome": words})
    (_, truth) = await kie.receiver.wait_for(2)
    assert truth["code"] == real
    assert lie["data"]["taskId"] == truth["data"]["taskId"] == task_id
    assert str(kie.http.base_url) not in json.dumps(lie["data"].get("info"))


async def test_a_callback_not_answered_by_200_is_sent_three_times_more(kie):
    kie.receiver.answers = [500, 404, 201, 302, 200]
    await kie.create()

    await kie.receiver.wait_for(4)

    while (callbacks := (await kie.stats())["callbacks"]) != {"sent": 4, "delivered": 0, "failed": 1}:
        assert callbacks["failed"] == 0
    gaps = [later - sooner for sooner, later in zip(kie.receiver.times, kie.receiver.times[1:], strict=False)]
    assert min(gaps) >= 0.05


async def test_a_retry_that_is_answered_by_200_is_the_last(kie):
    kie.receiver.answers = [503]
    await kie.create()
    await kie.receiver.wait_for(2)

    while (callbacks := (await kie.stats())["callbacks"]) != {"sent": 2, "delivered": 1, "failed": 0}:
        assert callbacks["delivered"] == 0


async def test_a_receiver_that_takes_too_long_is_tried_again(kie):
    await kie.configure(callback_timeout_seconds=0.1)
    kie.receiver.hold.clear()
    await kie.create()

    await kie.receiver.wait_for(2)

    kie.receiver.hold.set()
    assert kie.receiver.times[1] - kie.receiver.times[0] >= 0.1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/hook", "http://[::1", "http://h:99999/", "http://\u0000/"])
async def test_an_unreachable_callback_url_fails_quietly(kie, url):
    await kie.configure(callback_retry_seconds=0)
    await kie.create(callBackUrl=url)

    while (await kie.stats())["callbacks"]["failed"] == 0:
        pass
    assert (await kie.stats())["callbacks"]["sent"] == 4


async def test_without_a_callback_url_nobody_is_called(kie):
    await kie.ended(await kie.create(callBackUrl=None))

    assert (await kie.stats())["callbacks"]["sent"] == 0
