"""The file host: a real, playable clip, whole or in parts, for finished tasks."""


async def test_the_result_is_a_playable_mp4(kie):
    response = (await kie.ended(await kie.create()))["response"]

    answer = await kie.http.get(response["resultUrls"][0])

    assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")
    clip = answer.content
    assert clip[4:8] == b"ftyp"
    assert 0 < clip.index(b"moov") < clip.index(b"mdat")
    assert b"avc1" in clip
    assert len(clip) == int(answer.headers["content-length"]) < 30_000


async def test_the_clip_is_served_in_parts(kie):
    url = (await kie.ended(await kie.create()))["response"]["resultUrls"][0]
    whole = (await kie.http.get(url)).content

    part = await kie.http.get(url, headers={"Range": "bytes=100-199"})

    assert part.status_code == 206
    assert part.content == whole[100:200]
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole)}"


async def test_an_unsatisfiable_range_is_416(kie):
    url = (await kie.ended(await kie.create()))["response"]["resultUrls"][0]

    assert (await kie.http.get(url, headers={"Range": "bytes=999999-"})).status_code == 416


async def test_head_tells_the_size_without_the_clip(kie):
    url = (await kie.ended(await kie.create()))["response"]["resultUrls"][0]

    answer = await kie.http.head(url)

    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) > 1000
    assert answer.content == b""


async def test_a_video_that_is_not_made_yet_is_not_served(kie):
    task_id = await kie.create("sim:stuck")

    assert (await kie.http.get(f"/media/{task_id}.mp4")).status_code == 404
    assert (await kie.http.get("/media/passwd")).status_code == 404


async def test_files_outlive_the_memory_of_tasks(kie):
    url = (await kie.ended(await kie.create("sim:origin")))["response"]["originUrls"][0]
    await kie.http.post("/sim/reset")

    assert (await kie.http.get(url)).status_code == 200
