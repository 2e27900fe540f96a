"""What record-info says over the life of a task, scenario by scenario."""

import asyncio
import json
import time

import pytest


async def test_a_running_task_looks_as_on_the_wire(kie):
    await kie.configure(video_seconds=60)
    task_id = await kie.create()

    body = await kie.record(task_id)

    data = body.pop("data")
    assert body == {"code": 200, "msg": "success"}
    assert abs(data["createTime"] - time.time() * 1000) < 5000
    assert data["createTime"] % 1000 == 0
    del data["createTime"], data["paramJson"]
    assert data == {
        "taskId": task_id,
        "response": None,
        "successFlag": 0,
        "fallbackFlag": False,
        "completeTime": None,
        "errorCode": None,
        "errorMessage": "",
    }


async def test_a_finished_task_shows_its_video(kie):
    task_id = await kie.create("sim:ok", resolution="1080p")

    data = await kie.ended(task_id)

    response = data["response"]
    assert data["successFlag"] == 1
    assert data["completeTime"] % 1000 == 0
    assert response["resultUrls"] == [f"{kie.http.base_url}/media/{task_id}.mp4"]
    assert (response["taskId"], response["originUrls"], response["resolution"]) == (task_id, None, "1080p")


@pytest.mark.parametrize("fields", [{"prompt": "sim:origin"}, {"aspect_ratio": "9:16"}])
async def test_origin_urls_come_with_the_word_or_another_ratio(kie, fields):
    response = (await kie.ended(await kie.create(**fields)))["response"]

    assert response["originUrls"][0].endswith("-origin.mp4")


@pytest.mark.parametrize(
    ("words", "flag", "code", "told"),
    [
        ("sim:policy", 3, 400, "Your prompt was flagged"),
        ("sim:image-fetch", 3, 400, "Failed to fetch the image"),
        ("sim:flag2", 2, 500, "Internal Error"),
        ("sim:flag3", 3, 422, "failed"),
        ("sim:fail-500", 3, 500, "internal error, please try again later."),
        ("sim:fail-501", 3, 501, "Failed - Video generation task failed"),
        ("sim:fail-422", 3, 422, "Your request was rejected by Flow"),
        ("sim:fail-402", 3, 402, "Credits insufficient"),
        ("sim:fail-timeout", 3, 500, "Internal Error - Timeout"),
        ("sim:fail-language", 3, 400, "Only English prompts"),
        ("sim:fail-image", 3, 400, "public error unsafe image upload"),
        ("sim:fail-audio", 3, 400, "The Google model was unable to generate audio"),
    ],
)
async def test_a_failure_is_told_inside_a_success(kie, words, flag, code, told):
    task_id = await kie.create(words)

    data = await kie.ended(task_id)

    assert (data["successFlag"], data["errorCode"], data["response"]) == (flag, code, None)
    assert data["errorMessage"].startswith(told)
    assert data["completeTime"]
    (callback,) = await kie.receiver.wait_for()
    assert callback["code"] == code
    assert callback["data"] == {"taskId": task_id, "fallbackFlag": False}


async def test_an_image_no_server_can_fetch_fails_later(kie):
    data = await kie.ended(await kie.create(imageUrls=["data:image/png;base64,AA"]))

    assert data["errorMessage"].startswith("Failed to fetch the image")


async def test_a_failure_may_be_told_by_the_top_level_code(kie):
    task_id = await kie.create("sim:record-400")
    await kie.receiver.wait_for()

    body = await kie.record(task_id)

    assert (body["code"], body["data"]) == (400, None)
    assert body["msg"].startswith("Your prompt was flagged")


@pytest.mark.parametrize("task_id", ["0" * 32, "", "%00é"])
async def test_an_unknown_task_is_422(kie, task_id):
    assert await kie.record(task_id) == {
        "code": 422,
        "msg": f"Record not found for taskId: {task_id}",
        "data": None,
    }


async def test_a_new_task_may_be_invisible_at_first(kie):
    began = time.monotonic()
    task_id = await kie.create("sim:invisible")
    assert (await kie.record(task_id))["code"] == 422

    while (await kie.record(task_id))["code"] == 422:
        await asyncio.sleep(0.02)
        assert time.monotonic() - began < 5

    assert time.monotonic() - began >= 1


async def test_record_info_may_fail_at_first(kie):
    task_id = await kie.create("sim:record-500")

    codes = [(await kie.record(task_id))["code"] for _ in range(4)]

    assert codes == [500, 500, 500, 200]


async def test_record_info_may_be_html_at_first(kie):
    task_id = await kie.create("sim:record-html")

    path = f"/api/v1/veo/record-info?taskId={task_id}"
    answers = [await kie.http.get(path) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [502, 502, 502, 200]
    assert answers[0].text.startswith("<html>")


async def test_a_success_may_be_empty(kie):
    task_id = await kie.create("sim:empty")

    data = await kie.ended(task_id)

    assert (data["successFlag"], data["response"]["resultUrls"]) == (1, [])
    (callback,) = await kie.receiver.wait_for()
    assert callback["data"]["info"]["resultUrls"] == []


async def test_a_success_may_be_empty_at_first(kie):
    task_id = await kie.create("sim:empty-first")
    (callback,) = await kie.receiver.wait_for()
    assert callback["data"]["info"]["resultUrls"] == []

    reads = [(await kie.record(task_id))["data"]["response"]["resultUrls"] for _ in range(4)]

    assert [len(urls) for urls in reads] == [0, 0, 0, 1]


async def test_a_result_url_may_be_unfit_to_fetch(kie):
    data = await kie.ended(await kie.create("sim:bad-url"))

    assert data["response"]["resultUrls"][0].startswith("ftp://")
    assert "169.254.169.254" in data["response"]["resultUrls"][1]


async def test_the_complete_time_may_come_before_the_flag(kie):
    await kie.configure(video_seconds=0.3)
    task_id = await kie.create("sim:lag")
    await kie.configure(video_seconds=1)  # so long is the lag

    await kie.receiver.wait_for()
    data = (await kie.record(task_id))["data"]

    assert data["completeTime"]
    assert (data["successFlag"], data["response"]) == (0, None)
    assert (await kie.ended(task_id))["response"]["resultUrls"]
    assert len(kie.receiver.bodies) == 1


@pytest.mark.parametrize(("word", "factor"), [("sim:slow", 5), ("sim:late-success", 20), ("sim:ok", 1)])
async def test_a_task_takes_its_time_and_then_calls_back(kie, word, factor):
    await kie.configure(video_seconds=0.03)
    began = time.monotonic()
    task_id = await kie.create(word)

    await kie.receiver.wait_for()

    assert kie.receiver.times[0] - began >= 0.03 * factor
    assert (await kie.record(task_id))["data"]["successFlag"] == 1


async def test_late_can_be_set_by_itself(kie):
    await kie.configure(video_seconds=60, late_seconds=0.05)

    assert (await kie.ended(await kie.create("sim:late-success")))["successFlag"] == 1


async def test_a_stuck_task_never_ends(kie):
    stuck = await kie.create("sim:stuck")
    await kie.ended(await kie.create("sim:slow"))

    assert (await kie.record(stuck))["data"]["successFlag"] == 0
    assert [body["data"]["taskId"] == stuck for body in await kie.receiver.wait_for()] == [False]


@pytest.mark.parametrize(("word", "code"), [("sim:record-451", 451), ("sim:record-501", 501)])
async def test_a_failure_on_top_comes_with_other_codes_too(kie, word, code):
    task_id = await kie.create(word)
    await kie.receiver.wait_for()

    body = await kie.record(task_id)

    assert (body["code"], body["data"]) == (code, None)


async def test_the_first_reads_may_say_that_the_result_is_blank(kie):
    task_id = await kie.create("sim:record-422")

    reads = [await kie.record(task_id) for _ in range(4)]

    assert [read["code"] for read in reads] == [422, 422, 422, 200]
    assert reads[0]["msg"] == "record result data is blank"


async def test_the_first_reads_may_be_a_success_without_data(kie):
    task_id = await kie.create("sim:record-null")

    reads = [await kie.record(task_id) for _ in range(4)]

    assert [(read["code"], read["data"] is None) for read in reads] == [(200, True)] * 3 + [(200, False)]


async def test_record_info_may_have_the_shape_of_the_old_api(kie):
    data = await kie.ended(await kie.create("sim:record-old"))

    assert "response" not in data
    assert json.loads(data["resultUrls"])[0].endswith(f"{data['taskId']}.mp4")


async def test_record_info_may_give_dates_as_the_documentation_does(kie):
    data = await kie.ended(await kie.create("sim:record-dates"))

    for name in ("createTime", "completeTime"):
        time.strptime(data[name], "%Y-%m-%d %H:%M:%S")


async def test_the_fallback_model_shows_in_record_and_callback(kie):
    data = await kie.ended(await kie.create("sim:fallback"))
    (callback,) = await kie.receiver.wait_for()

    assert data["fallbackFlag"] is callback["data"]["fallbackFlag"] is True
    assert callback["msg"].endswith("(using fallback model).")


async def test_after_its_days_a_task_and_its_video_are_forgotten(kie):
    task_id = await kie.create()
    url = (await kie.ended(task_id))["response"]["resultUrls"][0]
    assert (await kie.http.get(url)).status_code == 200

    await kie.configure(retention_seconds=0)

    body = await kie.record(task_id)
    assert (body["code"], body["msg"], body["data"]) == (422, "Temporarily supports records within 14 days", None)
    assert (await kie.http.get(url)).status_code == 404


async def test_queries_beyond_their_own_limit_are_refused(kie):
    task_id = await kie.create()
    await kie.configure(queries_per_second=1)

    answers = await asyncio.gather(*(kie.record(task_id) for _ in range(20)))

    codes = [body["code"] for body in answers]
    refused = codes.count(429)
    assert codes.count(200) + refused == 20
    assert refused == (await kie.stats())["queries_refused"]
    assert refused > 0
