"""The file host: three ways in, real files out, and what it does not take."""

import base64
import re

import httpx
import pytest

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
JPEG = b"\xff\xd8\xff\xe0" + b"\r\n--boundary\r\n\r\n" * 9
WEBP = b"RIFF\x10\x00\x00\x00WEBPVP8 "


async def stream(kie, content=PNG, *, headers=None, **words):
    form = {"uploadPath": "images/users", "fileName": "cat.png"} | words
    data = {name: value for name, value in form.items() if value is not None}
    return await kie.http.post(
        "/api/file-stream-upload", data=data, files={"file": ("mine.png", content)}, headers=headers
    )


async def encoded(kie, text, **words):
    body = {"base64Data": text, "uploadPath": "images", "fileName": "cat.png"} | words
    return (await kie.http.post("/api/file-base64-upload", json=body)).json()


async def fetched(kie, url, **words):
    body = {"fileUrl": url, "uploadPath": "images", "fileName": "cat.mp4"} | words
    return (await kie.http.post("/api/file-url-upload", json=body)).json()


async def test_an_upload_is_answered_as_on_the_wire_and_served_back(kie):
    answer = await stream(kie)

    assert answer.status_code == 200
    body = answer.json()
    assert (body["success"], body["code"], body["msg"]) == (True, 200, "File uploaded successfully")
    data = body["data"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", data.pop("uploadedAt"))
    assert re.fullmatch(r"kieai/\d+/images/users/cat\.png", data["filePath"])
    assert data == {
        "success": True,
        "fileName": "cat.png",
        "filePath": data["filePath"],
        "downloadUrl": f"{kie.http.base_url}/{data['filePath']}",
        "fileSize": len(PNG),
        "mimeType": "image/png",
    }
    stored = await kie.http.get(data["downloadUrl"], headers={"Authorization": ""})
    assert (stored.content, stored.headers["content-type"]) == (PNG, "image/png")
    assert (await kie.stats())["uploads"] == 1


@pytest.mark.parametrize("content", [PNG, JPEG, WEBP, bytes(range(256)) * 40, b"\r\n", b"--", b"\r\n\r\n--x--\r\n"])
async def test_every_byte_of_a_stream_is_kept(kie, content):
    data = (await stream(kie, content)).json()["data"]

    assert (await kie.http.get(data["downloadUrl"])).content == content


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
async def test_base64_comes_raw_or_in_a_data_url(kie, prefix):
    body = await encoded(kie, prefix + base64.b64encode(PNG).decode())

    assert (await kie.http.get(body["data"]["downloadUrl"])).content == PNG


async def test_a_file_is_fetched_by_its_address(kie):
    url = (await kie.ended(await kie.create()))["response"]["resultUrls"][0]

    body = await fetched(kie, url)

    assert body["data"]["mimeType"] == "video/mp4"
    assert (await kie.http.get(body["data"]["downloadUrl"])).content == (await kie.http.get(url)).content


async def test_the_same_name_replaces_a_file(kie):
    first = (await stream(kie, PNG)).json()["data"]["downloadUrl"]
    second = (await stream(kie, JPEG)).json()["data"]["downloadUrl"]

    assert first == second
    assert (await kie.http.get(first)).content == JPEG


async def test_without_a_name_one_is_taken_or_made_up(kie):
    by_form = (await stream(kie, fileName=None)).json()["data"]
    by_host = await encoded(kie, base64.b64encode(JPEG).decode(), fileName=None)

    assert by_form["fileName"] == "mine.png"
    assert re.fullmatch(r"\d{13}-[0-9a-f]+\.jpg", by_host["data"]["fileName"])


async def test_the_kind_of_a_file_is_seen_by_its_content_first(kie):
    kinds = [(await stream(kie, content)).json()["data"]["mimeType"] for content in (JPEG, WEBP, b"GIF89a", b"text")]

    assert kinds == ["image/jpeg", "image/webp", "image/gif", "image/png"]


async def test_a_file_expires(kie):
    url = (await stream(kie)).json()["data"]["downloadUrl"]

    await kie.configure(upload_seconds=0)

    assert (await kie.http.get(url)).status_code == 404


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"uploadPath": None}, "uploadPath is required."),
        ({"uploadPath": "../up"}, "is not valid"),
        ({"uploadPath": "a//b"}, "is not valid"),
        ({"fileName": "../cat.png"}, "is not valid"),
        ({"fileName": ".."}, "is not valid"),
    ],
)
async def test_a_wrong_path_is_refused(kie, words, told):
    body = (await stream(kie, **words)).json()

    assert (body["success"], body["code"]) == (False, 400)
    assert told in body["msg"]


@pytest.mark.parametrize("text", ["", "not base64!", 7, None, "data:image/png;base64,%%%", "data:image/png,AAAA"])
async def test_what_is_no_base64_is_refused(kie, text):
    body = await encoded(kie, text)

    assert (body["success"], body["code"]) == (False, 400)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/a.png", "ftp://x/y", "cat.png", "http://[::1", "{}/media/none.mp4"]
)
async def test_what_can_not_be_fetched_is_refused(kie, url):
    body = await fetched(kie, url.format(str(kie.http.base_url).rstrip("/")))

    assert (body["success"], body["code"], body["msg"]) == (False, 400, "Failed to download the file from fileUrl.")


async def test_an_empty_file_is_refused(kie):
    assert (await stream(kie, b"")).json()["msg"] == "The file is empty."


async def test_a_file_over_the_limit_is_refused_by_every_way(kie):
    url = (await kie.ended(await kie.create()))["response"]["resultUrls"][0]
    await kie.configure(upload_max_bytes=1000)

    for body in [
        (await stream(kie, bytes(1001))).json(),
        (await stream(kie, bytes(200_000))).json(),
        await encoded(kie, base64.b64encode(bytes(1001)).decode()),
        await fetched(kie, url),
    ]:
        assert (body["code"], body["msg"]) == (400, "The file is too large.")
    assert (await stream(kie, bytes(1000))).json()["code"] == 200


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"--x--"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\ncut off'),
    ],
)
async def test_what_is_no_form_with_a_file_is_refused(kie, kind, raw):
    answer = await kie.http.post("/api/file-stream-upload", content=raw, headers={"Content-Type": kind})

    assert (answer.status_code, answer.json()["code"]) == (200, 400)


async def test_only_the_right_bearer_may_upload(kie):
    await kie.configure(api_key="secret")

    body = (await stream(kie)).json()

    assert (body["success"], body["code"]) == (False, 401)
    assert (await stream(kie, headers={"Authorization": "Bearer secret"})).json()["code"] == 200


async def test_an_upload_may_be_stored_and_its_answer_lost(kie):
    with pytest.raises(httpx.ReadError):
        await stream(kie, headers={"X-Sim-Scenario": "submit-reset"})

    assert (await kie.stats())["uploads"] == 1


@pytest.mark.parametrize("content", [PNG, JPEG, WEBP])
async def test_a_video_is_made_of_an_uploaded_image(kie, content):
    url = (await stream(kie, content)).json()["data"]["downloadUrl"]

    assert (await kie.ended(await kie.create(imageUrls=[url])))["successFlag"] == 1


async def test_no_video_is_made_of_an_upload_that_is_no_image_or_gone(kie):
    text = (await stream(kie, b"just text", fileName="notes.txt")).json()["data"]["downloadUrl"]

    for url in (text, text.replace("notes.txt", "none.png")):
        data = await kie.ended(await kie.create(imageUrls=[url], callBackUrl=None))
        assert data["errorMessage"].startswith("Failed to fetch the image")


async def test_reset_forgets_the_files(kie):
    url = (await stream(kie)).json()["data"]["downloadUrl"]
    await kie.http.post("/sim/reset")

    assert (await kie.http.get(url)).status_code == 404
