"""Extend, 1080p, 4K and download links, with the vendor's odd codes."""

import json

import httpx
import pytest


async def call(kie, method, path, **options):
    return (await kie.http.request(method, f"/api/v1/{path}", **options)).json()


async def finished(kie, **fields):
    task_id = await kie.create(**fields)
    await kie.ended(task_id)
    return task_id


async def test_1080p_is_400_then_422_then_a_url(kie):
    task_id = await finished(kie, callBackUrl=None)
    await kie.configure(video_seconds=0.5)
    path = f"veo/get-1080p-video?taskId={task_id}&index=0"
    before = await kie.credit()

    first, second = await call(kie, "GET", path), await call(kie, "GET", path)
    while (last := await call(kie, "GET", path))["code"] != 200:
        assert last["code"] == 422

    assert (first["code"], second["code"]) == (400, 422)
    assert first["msg"].startswith("1080P is processing.")
    assert (await kie.http.get(last["data"]["resultUrl"])).status_code == 200
    assert await kie.credit() == before - 5


async def test_4k_is_nothing_then_422_and_in_the_end_a_422_with_the_urls(kie):
    task_id = await finished(kie, callBackUrl=None)
    await kie.configure(video_seconds=0.5)
    order = {"taskId": task_id, "callBackUrl": kie.receiver.url}

    first, second = [await call(kie, "POST", "veo/get-4k-video", json=order) for _ in range(2)]
    (callback,) = await kie.receiver.wait_for()
    last = await call(kie, "POST", "veo/get-4k-video", json=order)

    assert first == {
        "code": 200,
        "msg": "success",
        "data": {"taskId": task_id, "resultUrls": None, "imageUrls": None},
    }
    assert (second["code"], second["data"]) == (422, first["data"])
    assert (last["code"], last["msg"]) == (422, "The video has been generated successfully")
    assert last["data"]["resultUrls"] == callback["data"]["info"]["resultUrls"]
    assert callback["data"]["creditsConsumed"] == 120


async def test_an_extension_is_a_new_task_with_the_whole_clip(kie):
    source = await finished(kie, aspect_ratio="9:16", callBackUrl=None)
    order = {"taskId": source, "prompt": "and then", "model": "quality", "callBackUrl": kie.receiver.url}
    before = await kie.credit()

    task_id = (await call(kie, "POST", "veo/extend", json=order))["data"]["taskId"]

    data = await kie.ended(task_id)
    params = json.loads(data["paramJson"])
    assert (params["taskId"], params["model"], params["aspectRatio"]) == (source, "veo3", "9:16")
    assert data["response"]["fullResultUrls"][0].endswith(f"{task_id}-full.mp4")
    assert (await kie.receiver.wait_for())[0]["msg"] == "Veo3.1 video extension successful."
    assert await kie.credit() == before - 250


async def test_an_extension_knows_scenarios_and_is_refused_for_bad_sources(kie):
    source = await finished(kie, callBackUrl=None)
    upgraded = await finished(kie, callBackUrl=None)
    await call(kie, "GET", f"veo/get-1080p-video?taskId={upgraded}")

    for order, code in [
        ({"taskId": source, "prompt": "sim:refuse-455"}, 455),
        ({"taskId": source, "prompt": "a", "model": "veo3"}, 422),
        ({"taskId": source, "prompt": "a", "model": []}, 422),
        ({"taskId": source}, 422),
        ({"taskId": upgraded, "prompt": "a"}, 422),
        ({"taskId": "0" * 32, "prompt": "a"}, 422),
        ({"taskId": ["x"], "prompt": "a"}, 422),
    ]:
        assert (await call(kie, "POST", "veo/extend", json=order))["code"] == code


async def test_upgrades_of_unknown_or_unfinished_tasks_are_422(kie):
    stuck = await kie.create("sim:stuck")

    for task_id, told in [("0" * 32, "Record does not exist"), (stuck, "record status is not success")]:
        for answer in [
            await call(kie, "GET", f"veo/get-1080p-video?taskId={task_id}"),
            await call(kie, "POST", "veo/get-4k-video", json={"taskId": task_id}),
        ]:
            assert (answer["code"], answer["msg"]) == (422, told)


async def test_an_upgrade_takes_its_own_time(kie):
    task_id = await finished(kie, callBackUrl=None)
    await kie.configure(upgrade_seconds=0)
    path = f"veo/get-1080p-video?taskId={task_id}"

    assert [(await call(kie, "GET", path))["code"] for _ in range(3)] == [400, 200, 200]


async def test_an_upgrade_lies_on_the_host_only_once_it_is_made(kie):
    task_id = await finished(kie, callBackUrl=None)
    await kie.configure(upgrade_seconds=60)
    await call(kie, "GET", f"veo/get-1080p-video?taskId={task_id}")

    assert (await kie.http.get(f"/media/{task_id}-1080p.mp4")).status_code == 404
    assert (await kie.http.get(f"/media/{task_id}-4k.mp4")).status_code == 404


@pytest.mark.parametrize(
    ("balance", "method", "path"), [(4.9, "GET", "get-1080p-video"), (119.9, "POST", "get-4k-video")]
)
async def test_an_upgrade_beyond_the_balance_is_402_and_not_begun(kie, balance, method, path):
    task_id = await finished(kie, callBackUrl=None)
    await kie.configure(credits=balance)
    options = {"params": {"taskId": task_id}} if method == "GET" else {"json": {"taskId": task_id}}

    assert [(await call(kie, method, f"veo/{path}", **options))["code"] for _ in range(2)] == [402, 402]

    assert await kie.credit() == balance
    assert (await kie.stats())["upgrades"] == {}


async def test_an_upgrade_is_billed_once_however_often_it_is_asked_for(kie):
    task_id = await finished(kie, callBackUrl=None)
    before = await kie.credit()

    for _ in range(3):
        await call(kie, "POST", "veo/get-4k-video", json={"taskId": task_id})

    assert await kie.credit() == before - 120
    assert (await kie.stats())["upgrades"] == {"4k": 1}


async def test_the_first_reads_of_an_upgrade_may_be_500(kie):
    task_id = await finished(kie, prompt="sim:upgrade-500", callBackUrl=None)
    await kie.configure(upgrade_seconds=0)

    codes = [(await call(kie, "GET", f"veo/get-1080p-video?taskId={task_id}"))["code"] for _ in range(5)]

    assert codes == [400, 500, 500, 500, 200]


async def upgraded_to_4k(kie, prompt):
    task_id = await finished(kie, prompt=prompt, callBackUrl=None)
    order = {"taskId": task_id, "callBackUrl": kie.receiver.url}
    first = await call(kie, "POST", "veo/get-4k-video", json=order)
    (callback,) = await kie.receiver.wait_for()
    return task_id, first, callback, await call(kie, "POST", "veo/get-4k-video", json=order)


async def test_a_4k_that_is_unavailable_says_so_and_gives_its_credits_back(kie):
    before = await kie.credit() - 60

    task_id, first, callback, last = await upgraded_to_4k(kie, "sim:4k-unavailable")

    told = "The 4K version of this video is unavailable. Please try a different video."
    assert first["code"] == 200
    assert callback == {"code": 500, "msg": told, "data": {"taskId": task_id}}
    assert (last["code"], last["msg"]) == (500, told)
    assert await kie.credit() == before


async def test_a_failed_4k_may_call_back_without_data(kie):
    _, _, callback, _ = await upgraded_to_4k(kie, "sim:4k-null-data")

    assert (callback["code"], callback["data"]) == (500, None)


async def test_the_4k_callback_may_be_in_snake_case(kie):
    task_id, _, callback, last = await upgraded_to_4k(kie, "sim:4k-snake")

    assert callback["data"]["task_id"] == task_id
    assert callback["data"]["result_urls"] == last["data"]["resultUrls"]


@pytest.mark.parametrize(("words", "flag"), [("", 1), ("sim:4k-unavailable", 3)])
async def test_a_4k_may_be_a_task_of_its_own_that_record_info_knows(kie, words, flag):
    task_id, first, callback, last = await upgraded_to_4k(kie, f"sim:4k-new-task {words}")

    new = first["data"]["taskId"]
    assert new != task_id
    assert callback["data"]["taskId"] == last["data"]["taskId"] == new
    data = (await kie.record(new))["data"]
    assert (data["successFlag"], json.loads(data["paramJson"])["resolution"]) == (flag, "4k")


async def test_the_4k_callback_is_signed(kie):
    await kie.configure(hmac_key="hook-key")

    await upgraded_to_4k(kie, "a cat")

    assert "x-webhook-signature" in kie.receiver.headers[0]


async def test_a_video_of_the_fallback_model_can_not_be_taken_further(kie):
    task_id = await finished(kie, prompt="sim:fallback", callBackUrl=None)

    for answer in [
        await call(kie, "GET", f"veo/get-1080p-video?taskId={task_id}"),
        await call(kie, "POST", "veo/extend", json={"taskId": task_id, "prompt": "on"}),
    ]:
        assert answer["code"] == 422


async def test_an_unfinished_or_forgotten_video_can_not_be_extended(kie):
    stuck = await kie.create("sim:stuck")
    done = await finished(kie, callBackUrl=None)
    failed = await finished(kie, prompt="sim:policy", callBackUrl=None)
    before = await kie.credit()

    for task_id in (stuck, failed):
        answer = await call(kie, "POST", "veo/extend", json={"taskId": task_id, "prompt": "on"})
        assert (answer["code"], answer["msg"]) == (422, "record status is not success")
    await kie.configure(retention_seconds=0)
    answer = await call(kie, "POST", "veo/extend", json={"taskId": done, "prompt": "on"})
    assert (answer["code"], answer["msg"]) == (422, "Record does not exist")
    assert await kie.credit() == before


@pytest.mark.parametrize(
    ("word", "status", "code"),
    [("refuse-402", 200, 402), ("refuse-433", 200, 433), ("http-403-1010", 403, None), ("throttle-430", 200, 430)],
)
async def test_a_header_spoils_every_other_call_too(kie, word, status, code):
    task_id = await finished(kie, callBackUrl=None)
    before = await kie.credit()
    calls = [
        ("GET", f"veo/get-1080p-video?taskId={task_id}", {}),
        ("POST", "veo/get-4k-video", {"json": {"taskId": task_id}}),
        ("GET", "chat/credit", {}),
        ("POST", "common/download-url", {"json": {"url": f"{kie.http.base_url}/media/{task_id}.mp4"}}),
    ]

    for method, path, options in calls:
        answer = await kie.http.request(method, f"/api/v1/{path}", headers={"X-Sim-Scenario": word}, **options)
        assert answer.status_code == status
        assert code is None or answer.json()["code"] == code

    assert await kie.credit() == before


async def test_the_answer_of_an_upgrade_that_was_begun_may_be_lost(kie):
    task_id = await finished(kie, callBackUrl=None)

    with pytest.raises(httpx.ReadError):
        await kie.http.post(
            "/api/v1/veo/get-4k-video", json={"taskId": task_id}, headers={"X-Sim-Scenario": "submit-reset"}
        )
    assert (await kie.stats())["upgrades"] == {"4k": 1}


async def test_the_knobs_for_creates_hold_for_upgrades_and_for_nothing_free(kie):
    task_id = await finished(kie, callBackUrl=None)
    await kie.configure(refuse_all=455)

    assert (await call(kie, "POST", "veo/get-4k-video", json={"taskId": task_id}))["code"] == 455
    assert (await call(kie, "GET", "chat/credit"))["code"] == 200
    await kie.configure(refuse_all=None, default_scenarios="refuse-433")
    assert (await call(kie, "GET", f"veo/get-1080p-video?taskId={task_id}"))["code"] == 433
    assert (await call(kie, "GET", "chat/credit"))["code"] == 200


async def link_to(kie, url):
    return await call(kie, "POST", "common/download-url", json={"url": url})


async def test_a_download_link_is_given_for_own_finished_videos_only(kie):
    own = f"{kie.http.base_url}/media/{await finished(kie)}.mp4"
    unfinished = f"{kie.http.base_url}/media/{await kie.create('sim:stuck')}.mp4"

    link = (await link_to(kie, own))["data"]

    assert link.startswith(f"{own}?Expires=")
    assert (await kie.http.get(link)).content == (await kie.http.get(own)).content
    for url in (unfinished, "https://example.com/a.mp4", f"{kie.http.base_url}/media/passwd", 7, None):
        answer = await link_to(kie, url)
        assert (answer["code"], answer["msg"]) == (422, "url is wrong")


async def test_a_download_link_ends(kie):
    own = f"{kie.http.base_url}/media/{await finished(kie)}.mp4"
    await kie.configure(link_seconds=0)

    link = (await link_to(kie, own))["data"]

    assert (await kie.http.get(link)).status_code == 403


async def test_a_download_link_can_not_be_prolonged(kie):
    link = (await link_to(kie, f"{kie.http.base_url}/media/{await finished(kie)}.mp4"))["data"]

    assert (await kie.http.get(link.replace("Expires=", "Expires=9"))).status_code == 403
    assert (await kie.http.get(link + "0")).status_code == 403
