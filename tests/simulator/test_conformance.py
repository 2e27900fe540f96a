"""Exchanges with the real vendor, as recorded or documented, replayed against the simulator.

What differs from call to call (ids, times, addresses) is compared by its form: a regular expression or a type.
"""

import json
import re

import pytest

UNKNOWN = "0819326cc7fddfd620baf6e1f0db7e2b"
HEX = re.compile(r"[0-9a-f]{32}")
URL = re.compile(r"https?://\S+")
SECOND = re.compile(r"\d{10}000")  # epoch milliseconds, rounded to the second
ASKED = {
    "prompt": "a cat",
    "model": "veo3_lite",
    "aspect_ratio": "9:16",
    "duration": 4,
    "generationType": "TEXT_2_VIDEO",
}
NOTHING = {"taskId": HEX, "resultUrls": None, "imageUrls": None}


def conforms(told, form):
    """Whether an answer has this form: the same keys, and values that are equal or match."""
    if isinstance(form, dict):
        same_keys = isinstance(told, dict) and told.keys() == form.keys()
        return same_keys and all(conforms(told[name], form[name]) for name in form)
    if isinstance(form, list):
        return isinstance(told, list) and len(told) == len(form) and all(map(conforms, told, form))
    if isinstance(form, re.Pattern):
        return form.fullmatch(str(told)) is not None
    if isinstance(form, type):
        return type(told) is form
    return type(told) is type(form) and told == form


# Recorded: (method, path, body or None, the answer's body).
RECORDED = {
    "create": ("POST", "veo/generate", ASKED, {"code": 200, "msg": "success", "data": {"taskId": HEX}}),
    "record of an unknown task": (
        "GET",
        f"veo/record-info?taskId={UNKNOWN}",
        None,
        {"code": 422, "msg": f"Record not found for taskId: {UNKNOWN}", "data": None},
    ),
    "1080p of an unknown task": (
        "GET",
        f"veo/get-1080p-video?taskId={UNKNOWN}&index=0",
        None,
        {"code": 422, "msg": "Record does not exist", "data": None},
    ),
    "4K of an unknown task": (
        "POST",
        "veo/get-4k-video",
        {"taskId": UNKNOWN, "index": 0},
        {"code": 422, "msg": "Record does not exist", "data": None},
    ),
    "download link to a foreign file": (
        "POST",
        "common/download-url",
        {"url": "https://example.com/a.mp4"},
        {"code": 422, "msg": "url is wrong", "data": None},
    ),
    "balance": ("GET", "chat/credit", None, {"code": 200, "msg": "success", "data": 5916.25}),
}


@pytest.mark.parametrize("name", RECORDED)
async def test_a_recorded_exchange_comes_out_the_same(kie, name):
    method, path, body, expected = RECORDED[name]
    await kie.configure(credits=5916.25)

    answer = await kie.http.request(method, f"/api/v1/{path}", json=body)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"
    assert conforms(answer.json(), expected), answer.text


async def test_a_wrong_key_is_told_as_recorded(kie):
    answer = await kie.http.get("/api/v1/chat/credit", headers={"Authorization": "Basic abc"})

    assert (answer.status_code, answer.json()) == (
        200,
        {
            "code": 401,
            "msg": "Unauthorized \N{EN DASH} Authentication failed. Please check that your Authorization"
            " and Content-Type headers are correctly set.",
        },
    )


async def test_a_running_task_is_told_as_recorded(kie):
    await kie.configure(video_seconds=60)
    created = (await kie.http.post("/api/v1/veo/generate", json=ASKED)).json()

    told = await kie.record(created["data"]["taskId"])

    params = json.loads(told["data"]["paramJson"])
    assert params == {
        "duration": 4,
        "enableTranslation": True,
        "generationType": "TEXT_2_VIDEO",
        "aspectRatio": "9:16",
        "model": "veo3_lite",
        "enableFallback": False,
        "resolution": "720p",
        "prompt": "a cat",
    }
    assert conforms(
        told,
        {
            "code": 200,
            "msg": "success",
            "data": {
                "taskId": HEX,
                "paramJson": str,
                "response": None,
                "successFlag": 0,
                "fallbackFlag": False,
                "completeTime": None,
                "createTime": SECOND,
                "errorCode": None,
                "errorMessage": "",
            },
        },
    ), told


async def test_a_failed_task_is_told_as_recorded(kie):
    data = await kie.ended(await kie.create("sim:fail-500"))

    told = {name: data[name] for name in ("response", "completeTime", "successFlag", "errorCode", "errorMessage")}
    assert conforms(
        told,
        {
            "response": None,
            "completeTime": SECOND,
            "successFlag": 3,
            "errorCode": 500,
            "errorMessage": "internal error, please try again later.",
        },
    ), told


async def test_a_finished_task_is_told_as_documented(kie):
    data = await kie.ended(await kie.create(aspect_ratio="9:16"))

    assert conforms(
        data["response"],
        {
            "taskId": HEX,
            "resultUrls": [URL],
            "originUrls": [URL],
            "resolution": "720p",
            "hasAudioList": [True],
            "seeds": [int],
        },
    ), data


async def test_an_upload_is_told_as_recorded(kie):
    answer = await kie.http.post(
        "/api/file-stream-upload", data={"uploadPath": "images"}, files={"file": ("cat.png", b"\x89PNG\r\n\x1a\n")}
    )

    assert conforms(
        answer.json(),
        {
            "success": True,
            "code": 200,
            "msg": "File uploaded successfully",
            "data": {
                "success": True,
                "fileName": "cat.png",
                "filePath": re.compile(r"kieai/\w+/images/cat\.png"),
                "downloadUrl": re.compile(r"https?://\S+/kieai/\w+/images/cat\.png"),
                "fileSize": 8,
                "mimeType": "image/png",
                "uploadedAt": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"),
            },
        },
    ), answer.text


async def test_4k_is_told_as_documented_from_its_start_to_its_callback(kie):
    task_id = await kie.create(callBackUrl=None)
    await kie.ended(task_id)
    await kie.configure(upgrade_seconds=0.3)
    order = {"taskId": task_id, "index": 0, "callBackUrl": kie.receiver.url}

    first, second = [(await kie.http.post("/api/v1/veo/get-4k-video", json=order)).json() for _ in range(2)]
    (callback,) = await kie.receiver.wait_for()
    last = (await kie.http.post("/api/v1/veo/get-4k-video", json=order)).json()

    processing = "4k is processing. It should be ready in 5-10 minutes. Please check back shortly."
    done = {"taskId": HEX, "resultUrls": [URL], "imageUrls": []}
    assert conforms(first, {"code": 200, "msg": "success", "data": NOTHING}), first
    if not second["data"]["resultUrls"]:  # on a slow machine it may be done already
        assert conforms(second, {"code": 422, "msg": processing, "data": NOTHING}), second
    assert conforms(last, {"code": 422, "msg": "The video has been generated successfully", "data": done}), last
    assert callback == {
        "code": 200,
        "msg": "4K Video generated successfully.",
        "data": {
            "taskId": task_id,
            "creditsConsumed": 120,
            "info": {"resultUrls": last["data"]["resultUrls"], "imageUrls": []},
        },
    }


REJECTED = (
    "Your request was rejected by Flow(public error prominent people upload). You may consider using our other"
    " fallback channels, which are likely to succeed. Please refer to the documentation."
)
# Documented in the vendor's table of callback texts: (scenario, code, sentence).
FAILURES = [
    ("sim:policy", 400, "Your prompt was flagged by Website as violating content policies."),
    ("sim:fail-language", 400, "Only English prompts are supported at this time."),
    (
        "sim:image-fetch",
        400,
        "Failed to fetch the image. Kindly verify any access limits set by you or your service provider.",
    ),
    ("sim:fail-image", 400, "public error unsafe image upload"),
    ("sim:fail-422", 422, REJECTED),
    ("sim:fail-500", 500, "Internal Error, Please try again later."),
    ("sim:fail-timeout", 500, "Internal Error - Timeout"),
    ("sim:fail-501", 501, "Failed - Video generation task failed"),
]


@pytest.mark.parametrize(("word", "code", "sentence"), FAILURES)
async def test_a_failure_calls_back_in_the_documented_words(kie, word, code, sentence):
    task_id = await kie.create(word)

    (callback,) = await kie.receiver.wait_for()

    assert callback == {"code": code, "msg": sentence, "data": {"taskId": task_id, "fallbackFlag": False}}
