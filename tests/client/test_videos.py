"""Making videos, and asking about them."""

import io
import uuid

import httpx
import pytest
from PIL import Image

from reelgate_client import (
    AuthenticationError,
    Client,
    Conflict,
    InsufficientCredits,
    InvalidInput,
    JobFailed,
    NotFound,
    PermissionDenied,
)

TEXT = {"generation_type": "TEXT_2_VIDEO"}


def test_a_video_is_made_watched_and_saved(client, wallet, told, tmp_path):
    job = client.create_and_wait(wallet, "A character waving", metadata={"n": 1}, on_progress=told, **TEXT)
    path = client.download(job.id, tmp_path / "video.mp4")

    assert (job.status, job.prompt, job.metadata, job.cost) == ("completed", "A character waving", {"n": 1}, 4)
    assert told.names[0] == "job"
    assert told.names[-2:] == ["submitted", "completed"]
    assert told[-1].job == job
    assert path.read_bytes() == httpx.get(job.video_url).content
    assert list(tmp_path.iterdir()) == [path]


async def test_the_same_with_async(reelgate, wallet, told, tmp_path):
    async def tell(progress):
        told(progress)

    job = await reelgate.create_and_wait(wallet, "A character waving", on_progress=tell, **TEXT)
    path = await reelgate.download(job.id, tmp_path / "video.mp4")

    assert (job.status, told.names[-1], path.read_bytes()[4:8]) == ("completed", "completed", b"ftyp")


def test_a_failure_comes_with_its_reason_its_advice_and_the_refund(client, wallet):
    with pytest.raises(JobFailed, match="violating content policies") as caught:
        client.create_and_wait(wallet, "Something sim:policy", **TEXT)

    failure, job = caught.value.failure, caught.value.job
    assert (failure.code, failure.category, failure.retryable, failure.charged) == (
        "generation_failed",
        "content",
        False,
        False,
    )
    assert failure.advice
    assert (job.refunded, client.balance(wallet)) == (True, 1000)


def test_everything_about_a_job_can_be_asked(client, wallet):
    job = client.create_and_wait(wallet, "Asked about", client_reference_id="order-1", **TEXT)

    assert client.retrieve(job.id) == job
    assert [entry.event for entry in client.timeline(job.id)][-1] == "completed"
    receipt = client.receipt(job.id)
    assert (receipt.charged, receipt.refunded, receipt.net) == (4, 0, 4)
    assert [(line.type, line.amount) for line in receipt.lines] == [("charge", -4)]
    assert [entry.transaction_type for entry in client.ledger(wallet, page_size=1)] == ["charge", "signup"]
    assert client.balance(wallet) == 996
    assert 4 in {price.credits for price in client.prices() if price.model == "veo3_fast"}


async def test_async_answers_the_same(client, reelgate, wallet):
    job = await reelgate.create_and_wait(wallet, "Asked about", **TEXT)

    assert await reelgate.retrieve(job.id) == client.retrieve(job.id)
    assert await reelgate.timeline(job.id) == client.timeline(job.id)
    assert await reelgate.receipt(job.id) == client.receipt(job.id)
    assert [entry async for entry in reelgate.ledger(wallet, page_size=1)] == list(client.ledger(wallet))
    assert await reelgate.balance(wallet) == client.balance(wallet)
    assert await reelgate.prices() == client.prices()


def test_a_list_goes_over_every_page_and_can_be_narrowed(client, wallet):
    jobs = [client.create(wallet, f"Job {n}", client_reference_id=f"order-{n % 2}", **TEXT).job_id for n in range(5)]
    jobs.reverse()

    middle = client.retrieve(jobs[2]).created_at
    assert [job.id for job in client.list(wallet_address=wallet, page_size=2)] == jobs
    assert [job.id for job in client.list(wallet_address=wallet, client_reference_id="order-1")] == [jobs[1], jobs[3]]
    assert [job.id for job in client.list(wallet_address=wallet, created_before=middle)] == jobs[3:]
    for job_id in jobs:
        client.wait(job_id)
    assert len(list(client.list(wallet_address=wallet, status=["pending", "completed"]))) == 5
    assert list(client.list(wallet_address=wallet, status="failed")) == []


async def test_an_async_list_goes_over_every_page(reelgate, wallet):
    jobs = [(await reelgate.create(wallet, f"Job {n}", **TEXT)).job_id for n in range(3)]

    assert [job.id async for job in reelgate.list(wallet_address=wallet, page_size=2)] == jobs[::-1]


async def test_a_waiting_job_is_canceled_and_refunded_a_sent_one_not(reelgate, wallet, paused):
    async with paused():
        accepted = await reelgate.create(wallet, "Never mind", **TEXT)
        canceled = await reelgate.cancel(accepted.job_id)
    with pytest.raises(JobFailed) as caught:
        await reelgate.wait(accepted.job_id)
    made = await reelgate.create_and_wait(wallet, "Too late", **TEXT)
    with pytest.raises(Conflict) as conflict:
        await reelgate.cancel(made.id)

    assert (canceled.state, caught.value.failure.code, caught.value.job.refunded) == ("canceled", "canceled", True)
    assert conflict.value.problem.code == "already_sent"


def test_an_image_from_the_disk_becomes_a_video_and_is_taken_further(client, wallet, tmp_path):
    file = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(file, "PNG")
    (tmp_path / "red.png").write_bytes(file.getvalue())

    image = client.upload_image(tmp_path / "red.png")
    job = client.create_and_wait(wallet, "It moves", image_urls=[image.url])
    longer = client.wait(client.extend(job.id, "It goes away").job_id)
    better = client.wait(client.upgrade(job.id, "4k").job_id)

    assert (image.width, image.height, client.upload_image(file.getvalue()).url) == (64, 48, image.url)
    assert [(made.operation, made.source_job_id) for made in (longer, better)] == [
        ("extend", job.id),
        ("upgrade_4k", job.id),
    ]


def test_each_refusal_has_its_error(stack, url, client, wallet, make_key):
    admin = {"Authorization": f"Bearer {stack.env['ADMIN_KEY']}"}
    httpx.post(f"{url}/api/wallets/{wallet}/grants", json={"amount": 2, "reference": wallet}, headers=admin)

    with pytest.raises(InsufficientCredits) as short:
        client.create(wallet, "Too dear", **TEXT)
    with pytest.raises(InvalidInput) as wrong:
        client.create(wallet, "Wrong", duration=5, **TEXT)
    with pytest.raises(NotFound):
        client.retrieve(str(uuid.uuid4()))
    with Client(url, "rg_live_unknown") as stranger, pytest.raises(AuthenticationError):
        stranger.balance(wallet)
    with Client(url, make_key("another")) as other:
        with pytest.raises(PermissionDenied):
            other.create(wallet, "Not mine", **TEXT)
        with pytest.raises(NotFound):
            other.balance(wallet)

    assert (short.value.balance, short.value.cost) == (2, 4)
    assert wrong.value.field == "duration"
    assert wrong.value.problem.detail.startswith("duration must be")
    assert list(client.list(wallet_address=wallet)) == []


def test_a_video_that_is_not_there_cannot_be_saved(client, wallet, tmp_path):
    accepted = client.create(wallet, "Still being made sim:slow", **TEXT)
    (tmp_path / "kept.mp4").write_text("what was there before")

    with pytest.raises(Conflict) as early:
        client.download(accepted.job_id, tmp_path / "kept.mp4")

    assert early.value.problem.code == "not_finished"
    assert [path.read_text() for path in tmp_path.iterdir()] == ["what was there before"]
