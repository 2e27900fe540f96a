"""`kill -9` of each service at the points where it hurts: between two things that belong together."""

import asyncio
import contextlib
import uuid

import httpx
import pytest
import pytest_asyncio
from fault_proxy import Toward

SEND = b"POST /api/v1/veo/generate"
ASK = b"GET /api/v1/veo/record-info"
ACK = b"\x00\x3c\x00\x50"  # AMQP 0-9-1: class basic (60), method ack (80)


@pytest.fixture
def prompt():
    """One that no other test sends, so that the simulator's record can be asked about it."""
    return f"A cat {uuid.uuid4().hex}"


@pytest_asyncio.fixture(loop_scope="session")
async def client(rig):
    async with rig.client() as opened:
        yield opened


@contextlib.asynccontextmanager
async def locked(rig, statement, *arguments):
    """Hold locks that make a service wait in the middle of a transaction."""
    async with rig.as_superuser() as connection, connection.transaction():
        await connection.execute(statement, *arguments)
        yield


async def waits_for_a_lock(rig):
    """Return when another session waits for what we hold."""

    async def waiting():
        return bool(
            await rig.sql(
                "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' LIMIT 1"
            )
        )

    await rig.until(waiting)


async def sent_and_held(rig, prompt):
    """Return when Kie.ai has the job and its answer is stopped on the way back."""
    trap = rig.line("submitter", "vendor").trap(prompt.encode(), Toward.SERVER, stops=Toward.CLIENT)
    await trap.sprung.wait()

    async def taken():
        return await sent(rig, prompt)

    await rig.until(taken)


async def sent(rig, prompt):
    """How often Kie.ai took this prompt, and so will bill it."""
    return (await rig.simulator("/sim/stats"))["accepted_by_prompt"].get(prompt, 0)


async def test_api_dies_after_the_commit_before_its_answer(rig, prompt):
    """The caller cannot know, asks again with the same key, and gets the same job, charged once."""
    body = {"wallet_address": "torn", "prompt": prompt, "image_urls": ["https://example.com/i.png"]}
    key = {"Idempotency-Key": "torn"}
    async with rig.client() as client:
        await rig.create(client, "Open the wallet", "torn")
        trap = rig.line("api", "database").trap(prompt.encode(), Toward.SERVER, stops=Toward.CLIENT)
        asking = asyncio.create_task(client.post("/api/video/generate", json=body, headers=key))
        await trap.sprung.wait()

        async def committed():
            return await rig.sql("SELECT id FROM video_jobs WHERE prompt = $1", prompt)

        await rig.until(committed)
        await rig.kill("api")
        with pytest.raises(httpx.TransportError):
            await asking
        await rig.heal()
        await rig.start("api")
        again = await client.post("/api/video/generate", json=body, headers=key)

    [job] = await committed()
    assert (again.status_code, again.json()["job_id"]) == (202, str(job["id"]))
    await rig.reached(str(job["id"]), "completed")


async def test_an_answer_of_the_database_that_got_lost_is_asked_for_again(rig, prompt):
    """Committed, and nobody was told: the caller hears 503, and with the same key finds the job that was made."""
    body = {"wallet_address": "untold", "prompt": prompt, "image_urls": ["https://example.com/i.png"]}
    key = {"Idempotency-Key": "untold"}
    async with rig.client() as client:
        await rig.create(client, f"First {prompt}", "untold")
        trap = rig.line("api", "database").trap(prompt.encode(), Toward.SERVER, stops=Toward.CLIENT)
        asking = asyncio.create_task(client.post("/api/video/generate", json=body, headers=key))
        await trap.sprung.wait()

        async def committed():
            return await rig.sql("SELECT id FROM video_jobs WHERE prompt = $1", prompt)

        await rig.until(committed)
        rig.line("api", "database").cut()
        await rig.heal()
        first = await asking
        again = await client.post("/api/video/generate", json=body, headers=key)

    [job] = await committed()
    assert first.status_code in (202, 503)
    assert again.json()["job_id"] == str(job["id"])


async def test_api_dies_after_the_commit_before_it_publishes(rig, client, prompt):
    """Another process's relay finds the message in the outbox."""
    rig.line("api", "broker").freeze()
    job_id = await rig.create(client, prompt, "unpublished")
    await rig.kill("api")

    await rig.reached(job_id, "completed")


async def test_api_dies_after_it_published_before_it_knows(rig, client, prompt):
    """The message is published twice, and the job sent once."""
    rig.line("api", "broker").freeze(Toward.CLIENT)
    job_id = await rig.create(client, prompt, "unconfirmed")
    await rig.reached(job_id, "processing", "completed")
    await rig.kill("api")

    await rig.reached(job_id, "completed")
    await rig.at_rest()
    assert await sent(rig, prompt) == 1


async def test_submitter_dies_before_its_claim_is_committed(rig, client, prompt):
    """The permit comes back, and the job is sent."""
    async with locked(rig, "LOCK TABLE job_attempts IN SHARE MODE"):
        job_id = await rig.create(client, prompt, "unclaimed")
        await waits_for_a_lock(rig)
        await rig.kill("submitter")
    await rig.start("submitter")

    await rig.reached(job_id, "completed")
    assert await rig.timeline(job_id) == ["accepted", "claimed", "submitted", "completed"]


async def test_submitter_dies_after_the_claim_before_the_send(rig, client, prompt):
    """Nobody can know that nothing was sent: the job is not sent again, and ends with a refund."""
    trap = rig.line("submitter", "vendor").trap(SEND, Toward.SERVER)
    job_id = await rig.create(client, prompt, "claimed")
    await trap.sprung.wait()
    await rig.kill("submitter")
    rig.line("submitter", "vendor").cut()  # what was held is lost
    await rig.heal()
    await rig.start("submitter")

    await rig.reached(job_id, "failed")
    await rig.at_rest()  # its refund follows
    assert await sent(rig, prompt) == 0
    assert await rig.timeline(job_id) == ["accepted", "claimed", "unknown", "failed", "refunded"]


async def test_submitter_dies_after_the_send_before_it_is_recorded(rig, client, prompt):
    """Kie.ai's webhook carries the token of the call, and brings the task home."""
    held = asyncio.create_task(sent_and_held(rig, prompt))
    job_id = await rig.create(client, prompt, "unrecorded")
    await held
    await rig.kill("submitter")

    await rig.reached(job_id, "completed")
    assert await sent(rig, prompt) == 1


async def test_submitter_dies_after_a_send_of_which_nothing_is_ever_heard(rig, client, prompt):
    held = asyncio.create_task(sent_and_held(rig, f"{prompt} sim:lost-callback"))
    job_id = await rig.create(client, f"{prompt} sim:lost-callback", "unheard")
    await held
    await rig.kill("submitter")
    await rig.heal()
    await rig.start("submitter")

    await rig.reached(job_id, "failed")
    assert (await rig.job(job_id))["failure_code"] == "submit_unknown"
    assert await sent(rig, f"{prompt} sim:lost-callback") == 1


async def test_submitter_dies_while_it_records_the_answer(rig, client, prompt):
    """The lock makes it wait with the task id in its hands; the webhook brings it again."""
    held = asyncio.create_task(sent_and_held(rig, prompt))
    job_id = await rig.create(client, prompt, "recording")
    await held
    async with locked(rig, "SELECT FROM video_jobs WHERE id = $1 FOR UPDATE", uuid.UUID(job_id)):
        await rig.line("submitter", "vendor").heal()
        await waits_for_a_lock(rig)
        await rig.kill("submitter")

    await rig.reached(job_id, "completed")
    assert await sent(rig, prompt) == 1


async def test_submitter_dies_after_the_record_before_the_ack(rig, client, prompt):
    """The permit comes back and finds nothing to do."""
    trap = rig.line("submitter", "broker").trap(ACK, Toward.SERVER)
    job_id = await rig.create(client, prompt, "unacked")
    await trap.sprung.wait()
    await rig.kill("submitter")
    await rig.heal()
    await rig.start("submitter")

    await rig.reached(job_id, "completed")
    assert await sent(rig, prompt) == 1


async def test_callback_dies_after_it_stored_a_webhook_before_its_answer(rig, client, prompt):
    """Kie.ai says it again; once is enough."""
    rig.line("simulator", "callback").freeze(Toward.CLIENT)
    job_id = await rig.create(client, prompt, "unanswered")

    async def stored():
        return await rig.sql("SELECT FROM callbacks WHERE job_id = $1", uuid.UUID(job_id))

    await rig.until(stored)
    await rig.kill("callback")
    await rig.heal()
    await rig.start("callback")

    await rig.reached(job_id, "completed")


async def test_callback_dies_in_the_middle_of_a_settlement(rig, client, prompt):
    """The job is written, its event is not yet: neither is kept, and the hint comes back."""
    trap = rig.line("callback", "vendor").trap(ASK, Toward.SERVER)
    rig.line("reconciler", "vendor").refuse()
    job_id = await rig.create(client, prompt, "half-settled")
    await trap.sprung.wait()
    async with locked(rig, "LOCK TABLE outbox IN SHARE MODE"):
        await rig.line("callback", "vendor").heal()
        await waits_for_a_lock(rig)
        await rig.kill("callback")
    assert await rig.status(job_id) == "processing"
    await rig.heal()
    await rig.start("callback")

    await rig.reached(job_id, "completed")


async def test_reconciler_dies_in_the_middle_of_a_refund(rig, client, prompt):
    """The ledger's row and the balance are one statement: both or neither."""
    wallet = uuid.uuid4().hex
    await rig.create(client, f"First {wallet}", wallet)
    await rig.at_rest()
    trap = rig.line("submitter", "vendor").trap(prompt.encode(), Toward.SERVER, stops=Toward.CLIENT)
    job_id = await rig.create(client, f"{prompt} sim:refuse-422", wallet)
    await trap.sprung.wait()
    async with locked(rig, "SELECT FROM credits WHERE wallet_address = $1 FOR UPDATE", wallet):
        await rig.line("submitter", "vendor").heal()
        await rig.reached(job_id, "failed")
        await waits_for_a_lock(rig)
        await rig.kill("reconciler")
    await rig.start("reconciler")
    await rig.at_rest()

    amounts = await rig.sql("SELECT amount FROM credit_transactions WHERE job_id = $1 ORDER BY id", uuid.UUID(job_id))
    assert [row["amount"] for row in amounts] == [-4, 4]


async def test_reconciler_dies_with_a_task_in_its_hands(rig, client, prompt):
    """The poll it took comes due again (after 30 s: not waited for), for whoever is there."""
    trap = rig.line("reconciler", "vendor").trap(ASK, Toward.SERVER)
    job_id = await rig.create(client, f"{prompt} sim:lost-callback", "polled")
    await trap.sprung.wait()
    await rig.kill("reconciler")
    await rig.heal()
    await rig.start("reconciler")
    await rig.sql("UPDATE video_jobs SET next_check_at = now() WHERE id = $1", uuid.UUID(job_id))

    await rig.reached(job_id, "completed")
