"""Extend, 1080p, 4K and download links, with the vendor's odd codes."""

import json


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


async def test_a_download_url_is_given_for_own_files_only(kie):
    url = f"{kie.http.base_url}/media/{await kie.create()}.mp4"

    own = await call(kie, "POST", "common/download-url", json={"url": url})
    foreign = await call(kie, "POST", "common/download-url", json={"url": "https://example.com/a.mp4"})

    assert own["data"] == url
    assert (foreign["code"], foreign["msg"]) == (422, "url is wrong")
