"""The OpenAI videos format, as OpenAI's own client meets it."""

from uuid import UUID, uuid4

import httpx
import openai
import pytest
from fault_proxy import FaultProxy
from yarl import URL

from reelgate_common.domain.job import JobStatus

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")

IMAGE = "https://images.example/cat.png"
CAT = {"prompt": "A cat"}


@pytest.fixture
def post(api_url, key):
    """A request by hand."""

    async def send(path="/v1/videos", *, headers=None, **keywords):
        async with httpx.AsyncClient(base_url=api_url, trust_env=False) as http:
            return await http.post(path, headers={"Authorization": f"Bearer {key}"} | (headers or {}), **keywords)

    return send


# Create -----------------------------------------------------------------------------------------------


async def test_a_prompt_alone_makes_a_video_from_text(client, fund, stored):
    await fund()

    video = await client.videos.create(prompt="A cat on a skateboard")

    job = await stored.job(UUID(video.id))
    assert (job.status, job.prompt, job.wallet_address) == ("pending", "A cat on a skateboard", "wallet")
    assert (job.generation_type, job.image_urls, job.model) == ("TEXT_2_VIDEO", [], "veo3_fast")
    assert await stored.ledger(job.id) == {"charge": -4}


async def test_a_new_video_has_every_field_of_the_format(client, fund):
    await fund()

    video = await client.videos.create(prompt="A cat", model="veo3", seconds="4", size="720x1280")

    assert (video.object, video.status, video.progress) == ("video", "queued", 0)
    assert (video.model, video.seconds, video.size, video.prompt) == ("veo3", "4", "720x1280", "A cat")
    assert (video.completed_at, video.expires_at, video.error, video.remixed_from_video_id) == (None, None, None, None)
    assert isinstance(video.created_at, int)


@pytest.mark.parametrize(
    ("size", "ratio", "resolution"),
    [
        ("1280x720", "16:9", "720p"),
        ("720x1280", "9:16", "720p"),
        ("1920x1080", "16:9", "1080p"),
        ("1080x1920", "9:16", "1080p"),
        ("3840x2160", "16:9", "4k"),
        ("2160x3840", "9:16", "4k"),
    ],
)
async def test_a_size_is_a_ratio_and_a_resolution(client, fund, stored, size, ratio, resolution):
    await fund()

    video = await client.videos.create(prompt="A cat", size=size)

    job = await stored.job(UUID(video.id))
    assert (job.aspect_ratio, job.resolution, video.size) == (ratio, resolution, size)


async def test_the_gateways_own_fields_come_through_a_form(client, fund, stored):
    await fund()

    video = await client.videos.create(
        prompt="A cat",
        extra_body={
            "wallet_address": "wallet",
            "image_urls": [IMAGE, "https://images.example/dog.png"],
            "generation_type": "FIRST_AND_LAST_FRAMES_2_VIDEO",
            "metadata": {"order": "17", "of": {"shop": "cats"}, "tags": ["a", "b"]},
            "client_reference_id": "mine",
            "seeds": 12345,
            "enable_translation": False,
            "aspect_ratio": "auto",
        },
    )

    job = await stored.job(UUID(video.id))
    assert job.image_urls == [IMAGE, "https://images.example/dog.png"]
    assert job.metadata == {"order": "17", "of": {"shop": "cats"}, "tags": ["a", "b"]}
    assert (job.generation_type, job.client_reference_id) == ("FIRST_AND_LAST_FRAMES_2_VIDEO", "mine")
    assert (job.seeds, job.enable_translation, job.aspect_ratio, video.size) == (12345, False, "Auto", "auto")


async def test_metadata_may_be_json_in_a_form(client, fund, stored):
    await fund()

    video = await client.videos.create(prompt="A cat", extra_body={"metadata": '{"n": 1, "x": null}'})

    assert (await stored.job(UUID(video.id))).metadata == {"n": 1, "x": None}


async def test_json_does_what_a_form_does(post, fund, stored):
    await fund()
    body = {"prompt": "A cat", "seconds": "6", "size": "1280x720", "image_urls": [IMAGE], "metadata": {"n": 1}}

    answer = await post(json=body | {"generation_type": "FIRST_AND_LAST_FRAMES_2_VIDEO"})

    assert (answer.status_code, answer.headers["openai-poll-after-ms"]) == (200, "2000")
    job = await stored.job(UUID(answer.json()["id"]))
    assert (job.duration, job.image_urls, job.metadata) == (6, [IMAGE], {"n": 1})


async def test_images_without_a_type_are_references_as_everywhere(client, fund, stored):
    await fund()

    video = await client.videos.create(prompt="A cat", extra_body={"image_urls": [IMAGE]})

    assert (await stored.job(UUID(video.id))).generation_type == "REFERENCE_2_VIDEO"


async def test_an_input_reference_by_its_url_is_the_first_frame(post, fund, stored):
    await fund()

    answer = await post(json=CAT | {"seconds": 4, "input_reference": {"image_url": IMAGE}})

    job = await stored.job(UUID(answer.json()["id"]))
    assert (job.image_urls, job.generation_type, job.duration) == ([IMAGE], "FIRST_AND_LAST_FRAMES_2_VIDEO", 4)


@pytest.mark.parametrize(
    ("asked", "param", "message"),
    [
        ({"seconds": "12"}, "seconds", "seconds must be 4, 6, 8"),
        ({"seconds": ""}, "seconds", "seconds must be 4, 6, 8"),
        ({"seconds": True}, "seconds", "seconds must be 4, 6, 8"),
        (
            {"size": "1792x1024"},
            "size",
            "size must be 1280x720, 720x1280, 1920x1080, 1080x1920, 3840x2160, 2160x3840",
        ),
        ({"size": ["1280x720"]}, "size", "size must be"),
        ({"size": "1280x720", "resolution": "4k"}, "size", "give one or the other"),
        ({"seconds": "8", "duration": 8}, "seconds", "give one of them"),
        ({"model": "sora-2"}, "model", "model must be veo3_fast, veo3 or veo3_lite"),
        ({"prompt": ""}, "prompt", "prompt required"),
        ({"prompt": None}, "prompt", "prompt required"),
        ({"prompt": "x" * 5001}, "prompt", "prompt must be at most 5000 characters"),
        ({"seconds": "4", "image_urls": [IMAGE]}, "seconds", "seconds with REFERENCE_2_VIDEO must be 8"),
        ({"generation_type": "REFERENCE_2_VIDEO"}, "image_urls", "image_urls required"),
        ({"image_urls": ["http://127.0.0.1/x.png"]}, "image_urls[0]", "must be public"),
        ({"input_reference": {"image_url": "http://10.0.0.1/x"}}, "image_urls[0]", "must be public"),
        ({"input_reference": {"file_id": "file-1"}}, "input_reference", "an object with image_url"),
        ({"input_reference": {"image_url": IMAGE}, "image_urls": [IMAGE]}, "input_reference", "give one of them"),
        ({"wallet_address": ""}, "wallet_address", "wallet_address required"),
        ({"metadata": []}, "metadata", "metadata must be a JSON object"),
        ({"seeds": "12345"}, "seeds", "seeds: input should be a valid integer"),
    ],
)
async def test_bad_input_names_the_field_and_the_fix_and_changes_nothing(post, fund, stored, asked, param, message):
    await fund()

    answer = await post(json=CAT | asked)

    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["type"]) == (400, param, "invalid_request_error")
    assert message in error["message"]
    assert (await stored.count("video_jobs"), await stored.balance()) == (0, 100)


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"metadata": "{"}, "metadata"),
        ({"metadata": "x", "metadata[a]": "y"}, "metadata[a]"),
        ({"metadata[a]": "x", "metadata[a][b]": "y"}, "metadata[a][b]"),
        ({"image_urls[]": [IMAGE], "image_urls[a]": "y"}, "image_urls[a]"),
        ({"image_urls": [IMAGE, IMAGE]}, "image_urls"),
        ({"metadata" + "[a]" * 20: "x"}, "metadata" + "[a]" * 20),
        ({"metadata[][a]": "x"}, "metadata[][a]"),
        ({"seeds": "many"}, "seeds"),
        ({"enable_translation": "perhaps"}, "enable_translation"),
    ],
)
async def test_a_form_that_cannot_be_read_is_named(post, form, param):
    texts = [(name, text) for name, given in form.items() for text in ([given] if isinstance(given, str) else given)]

    answer = await post(files=[(name, (None, text)) for name, text in [*CAT.items(), *texts]])

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"\xff", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"prompt", "text/plain"),
        (b"prompt", ""),
        (b"prompt", "multipart/form-data"),
        (b"--a\r\nrubbish", "multipart/form-data; boundary=a"),
    ],
)
async def test_a_body_that_cannot_be_read_is_400(post, body, kind):
    answer = await post(content=body, headers={"Content-Type": kind})

    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_another_file_than_the_reference_is_refused(post):
    answer = await post(data=CAT, files={"video": b"x"})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "video")


async def test_the_wallet_must_be_named_with_a_key_for_several(make_client, make_key, fund, stored):
    await fund("one")
    async with make_client(await make_key(wallets=("one", "two"))) as client:
        with pytest.raises(openai.BadRequestError, match="wallet_address required"):
            await client.videos.create(prompt="A cat")
        video = await client.videos.create(prompt="A cat", extra_body={"wallet_address": "one"})

    assert (await stored.job(UUID(video.id))).wallet_address == "one"


# Errors -----------------------------------------------------------------------------------------------


async def test_an_unknown_key_is_an_authentication_error(make_client):
    async with make_client("rg_live_wrong") as client:
        with pytest.raises(openai.AuthenticationError, match="unknown, revoked or expired") as caught:
            await client.videos.list()

    assert (caught.value.code, caught.value.type) == ("unauthorized", "authentication_error")


async def test_another_wallet_is_permission_denied(client):
    with pytest.raises(openai.PermissionDeniedError, match="may not act for that wallet") as caught:
        await client.videos.create(prompt="A cat", extra_body={"wallet_address": "other"})

    assert (caught.value.code, caught.value.type) == ("forbidden", "permission_error")


async def test_an_empty_wallet_is_402(client, stored):
    with pytest.raises(openai.APIStatusError, match="the video costs 4, the balance is 0") as caught:
        await client.videos.create(prompt="A cat")

    assert (caught.value.status_code, caught.value.code) == (402, "insufficient_credits")
    assert await stored.count("blind_requests") == 0


async def test_what_is_not_there_is_not_found(client, make_job):
    others = await make_job(JobStatus.COMPLETED, wallet_address="other")

    for video_id in (str(uuid4()), "video_123", str(others.id)):
        for call in (client.videos.retrieve, client.videos.delete, client.videos.download_content):
            with pytest.raises(openai.NotFoundError, match="Video not found"):
                await call(video_id)


async def test_a_path_and_a_method_that_are_not_there_are_told_in_the_format(client, post):
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.list()
    wrong_method = await post("/v1/videos/some-id")

    assert (caught.value.code, caught.value.type) == ("not_found", "invalid_request_error")
    assert (wrong_method.status_code, wrong_method.json()["error"]["code"]) == (405, "method_not_allowed")


async def test_too_large_a_body_is_told_in_the_format(client):
    with pytest.raises(openai.APIStatusError, match=r"larger than \d+ bytes") as caught:
        await client.videos.create(prompt="x" * 15_000_000)

    assert (caught.value.status_code, caught.value.code) == (413, "too_large")


async def test_the_same_key_for_another_request_is_unprocessable(client, fund):
    await fund()
    header = {"Idempotency-Key": "mine"}
    await client.videos.create(prompt="A cat", extra_headers=header)

    with pytest.raises(openai.UnprocessableEntityError, match="take a new one"):
        await client.videos.create(prompt="A dog", extra_headers=header)


async def test_what_breaks_on_our_side_is_an_internal_error_without_its_cause(make_client, key, stored):
    await stored.run("ALTER TABLE video_jobs RENAME COLUMN hidden_at TO gone")
    try:
        async with make_client(key, max_retries=0) as client:
            with pytest.raises(openai.InternalServerError) as caught:
                await client.videos.list()
    finally:
        await stored.run("ALTER TABLE video_jobs RENAME COLUMN gone TO hidden_at")

    assert (caught.value.status_code, caught.value.body["message"]) == (500, "Internal error: it was logged")


async def test_a_database_that_is_away_is_told_and_may_be_tried_again(serve_api, make_client, key, database_url):
    database = URL(database_url)
    async with FaultProxy.open(database.host, database.port) as proxy:
        detour = str(database.with_host("127.0.0.1").with_port(proxy.port))
        async with serve_api(database_url=detour) as url, make_client(key, base=url, max_retries=0) as client:
            proxy.refuse()
            with pytest.raises(openai.InternalServerError) as caught:
                await client.videos.list()

    assert (caught.value.status_code, caught.value.code) == (503, "unavailable")
    assert int(caught.value.response.headers["retry-after"]) > 0


async def test_elsewhere_errors_stay_as_they_were(post):
    answer = await post("/api/video/generate", json={})

    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["error"] == "wallet_address required"


# Retrieve ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (JobStatus.PENDING, "queued"),
        (JobStatus.SUBMITTING, "in_progress"),
        (JobStatus.UNKNOWN, "in_progress"),
        (JobStatus.PROCESSING, "in_progress"),
        (JobStatus.COMPLETED, "completed"),
        (JobStatus.FAILED, "failed"),
        (JobStatus.CANCELED, "failed"),
    ],
)
async def test_every_state_has_its_word(client, make_job, status, shown):
    job = await make_job(status)

    answer = await client.videos.with_raw_response.retrieve(str(job.id))

    assert answer.parse().status == shown
    assert answer.headers.get("openai-poll-after-ms") == (None if status.is_final else "2000")


async def test_a_completed_video_tells_when_it_goes(client, make_job):
    job = await make_job(JobStatus.COMPLETED)

    video = await client.videos.retrieve(str(job.id))

    assert (video.progress, video.error) == (100, None)
    assert video.completed_at == int(job.completed_at.timestamp())
    assert video.expires_at - video.completed_at == 14 * 24 * 3600


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELED])
async def test_a_failed_video_tells_why(client, make_job, status):
    job = await make_job(status)

    video = await client.videos.retrieve(str(job.id))

    assert (video.error.code, video.error.message) == (job.failure_code, job.error_message)
    assert (video.expires_at, video.progress) == (None, 0)


@pytest.mark.parametrize(("seconds", "progress"), [(90, 50), (10_000, 99)])
async def test_progress_is_estimated_and_never_done_before_the_end(client, make_job, stored, seconds, progress):
    job = await make_job(JobStatus.PROCESSING)
    await stored.age(job.id, "started_at", seconds)

    assert progress <= (await client.videos.retrieve(str(job.id))).progress <= min(progress + 2, 99)


async def test_an_extension_names_the_video_it_continues(client, make_further):
    job = await make_further("extend")

    assert (await client.videos.retrieve(str(job.id))).remixed_from_video_id == str(job.source_job_id)


async def test_polling_ends_with_the_video(client, make_job):
    job = await make_job(JobStatus.COMPLETED)

    assert (await client.videos.poll(str(job.id))).status == "completed"


# List -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wallets", [("wallet",), ("other", "wallet", "wallet", "third"), None])
async def test_pages_hold_every_video_once_in_order(make_client, make_key, make_job, wallets):
    made = [str((await make_job(wallet_address=wallet)).id) for wallet in ("wallet", "wallet", "wallet")]
    await make_job(wallet_address="foreign") if wallets else None

    async with make_client(await make_key(wallets=wallets)) as client:
        newest_first = [video.id async for video in client.videos.list(limit=2)]
        oldest_first = [video.id async for video in client.videos.list(limit=1, order="asc")]

    assert (newest_first, oldest_first) == (made[::-1], made)


async def test_a_page_names_its_ends(client, make_job):
    made = [str((await make_job()).id) for _ in range(3)]

    page = await client.videos.list(limit=2)
    rest = await client.videos.list(after=page.last_id)

    assert (page.first_id, page.last_id, page.has_more) == (made[2], made[1], True)
    assert ([video.id for video in rest.data], rest.has_more) == ([made[0]], False)


async def test_pages_of_several_wallets_are_one_order(make_client, make_key, make_job):
    made = [str((await make_job(wallet_address=wallet)).id) for wallet in ("one", "two", "one", "two", "one")]

    async with make_client(await make_key(wallets=("one", "two"))) as client:
        assert [video.id async for video in client.videos.list(limit=2)] == made[::-1]
        assert [video.id async for video in client.videos.list(limit=2, order="asc")] == made


async def test_an_empty_list_is_a_list(client):
    page = await client.videos.list()

    assert (page.data, page.first_id, page.last_id, page.has_more) == ([], None, None, False)


async def test_behind_another_ones_video_come_only_ones_own(client, make_job):
    mine = await make_job()
    others = await make_job(wallet_address="other")

    page = await client.videos.list(after=str(others.id))

    assert [video.id for video in page.data] == [str(mine.id)]


@pytest.mark.parametrize(
    ("query", "param"),
    [({"limit": 0}, "limit"), ({"limit": 101}, "limit"), ({"order": "up"}, "order"), ({"after": "x"}, "after")],
)
async def test_a_list_cannot_be_asked_for_anyhow(client, query, param):
    with pytest.raises(openai.BadRequestError) as caught:
        await client.videos.list(**query)

    assert caught.value.param == param


# Delete -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELED])
async def test_a_deleted_video_is_gone_here_and_kept_in_the_books(client, api_url, key, make_job, stored, status):
    job = await make_job(status)

    deleted = await client.videos.delete(str(job.id))

    assert (deleted.id, deleted.deleted, deleted.object) == (str(job.id), True, "video.deleted")
    assert (await client.videos.list()).data == []
    for call in (client.videos.retrieve, client.videos.download_content, client.videos.delete):
        with pytest.raises(openai.NotFoundError):
            await call(str(job.id))
    async with httpx.AsyncClient(base_url=api_url, trust_env=False) as http:
        guide = await http.get(f"/api/video/jobs/{job.id}", headers={"Authorization": f"Bearer {key}"})
    assert guide.json()["job"]["state"] == status
    assert guide.json()["job"]["video_url"] is None
    assert "hidden" in await stored.events(job.id)


@pytest.mark.parametrize("status", [status for status in JobStatus if not status.is_final])
async def test_a_video_that_is_being_made_cannot_be_deleted(make_client, key, make_job, status):
    job = await make_job(status)
    async with make_client(key, max_retries=5) as client:  # a 409 that were tried again would take seconds
        with pytest.raises(openai.ConflictError, match="still being made") as caught:
            await client.videos.delete(str(job.id))
        assert (await client.videos.retrieve(str(job.id))).id == str(job.id)

    assert caught.value.code == "not_finished"
    assert caught.value.request.headers["x-stainless-retry-count"] == "0"


async def test_a_retry_of_a_delete_finds_its_work_done(client, make_job):
    job = await make_job(JobStatus.COMPLETED)
    await client.videos.delete(str(job.id))

    again = await client.videos.delete(str(job.id), extra_headers={"x-stainless-retry-count": "1"})

    assert again.deleted


async def test_others_cannot_delete(client, make_job, stored):
    job = await make_job(JobStatus.COMPLETED, wallet_address="other")

    with pytest.raises(openai.NotFoundError):
        await client.videos.delete(str(job.id))

    assert await stored.value("SELECT hidden_at FROM video_jobs WHERE id = $1", job.id) is None
