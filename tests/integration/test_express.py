"""A message is published by whoever wrote it, right after the commit; a relay finds what its writer did not get to."""

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from reelgate_api.accepting.handlers import Acceptor
from reelgate_api.limits.handlers import Limiter
from reelgate_api.settings import Settings as ApiSettings
from reelgate_callback.handlers import Hints, Receiver, Webhook
from reelgate_callback.settings import Settings as CallbackSettings
from reelgate_common import outbox, topology
from reelgate_common.auth import ANYONE
from reelgate_common.db import Database
from reelgate_common.ids import new_id
from reelgate_common.kie.answers import Succeeded
from reelgate_common.messages import CallbackReceived, JobRequested, JobSubmitted
from reelgate_common.outbox import Letter, NotTaken, Relay
from reelgate_common.settings import PostgresSettings
from reelgate_common.verification import Verifier
from reelgate_submitter.handlers import Submitter
from reelgate_submitter.settings import Settings as SubmitterSettings

PERMIT = JobRequested(job_id=new_id(), job_version=1)
VIDEO = "https://media.example/video.mp4"
NEEDED = {"database_url": "x", "amqp_url": "x", "kie_ai_api_key": "x", "public_base_url": "https://gateway.example"}


def holds(relay):
    """Whether a writer would publish now."""
    with relay.express() as express:
        return express.hold > timedelta(0)


@pytest.fixture
def at_work(db, eventually):
    """A relay that works inside the block."""

    @asynccontextmanager
    async def start(publisher, database=db):
        relay = Relay(database, publisher)
        work = asyncio.create_task(relay.run())
        try:
            await eventually(lambda: work.done() or relay._is_running)
            yield relay
        finally:
            work.cancel()
            await asyncio.wait({work})

    return start


@pytest.fixture
def by_relay(monkeypatch):
    """The routing keys that a relay's passes took."""
    taken, take = [], outbox._take

    async def watched(tx):
        rows = await take(tx)
        taken.extend(row["routing_key"] for row in rows)
        return rows

    monkeypatch.setattr(outbox, "_take", watched)
    return taken


@pytest.fixture
def emptied(stored, eventually):
    """Wait until the outbox is empty."""

    async def is_empty():
        return await stored.count("outbox") == 0

    return lambda: eventually(is_empty)


async def write(db, express, message=None):
    message = message or JobRequested(job_id=new_id(), job_version=1)
    async with db.transaction() as tx:
        await outbox.add_all(tx, [Letter(message, None)], express=express)
    return message


async def test_on_the_way_of_a_job_each_message_is_published_once_and_by_its_writer(
    database_url, publisher, vendor, at_work, by_relay, fund, make_request, stored, emptied
):
    """With plans as submitter and callback service have them."""
    await fund()
    settings = PostgresSettings(database_url=database_url)
    async with Database.open(settings, fixed_plans=True) as db, at_work(publisher, db) as relay:
        known = ApiSettings(**NEEDED)
        acceptor = Acceptor(db, relay, known, Limiter(db, known))
        accepted = await acceptor.accept(make_request(), key="once", caller=ANYONE)
        await Submitter(db, vendor, relay, SubmitterSettings(**NEEDED)).use_permit(PERMIT)
        job = await stored.job(accepted.job_id)
        given = {name: said for name, [said] in parse_qs(urlsplit(vendor.callback_urls[0]).query).items()}
        body = json.dumps({"code": 200, "data": {"taskId": job.task_id}}).encode()
        webhook = Webhook(body=body, attempt=given["attempt"], token=given["token"], timestamp=None, signature=None)
        receiver = Receiver(db, relay, CallbackSettings(**NEEDED))
        await receiver.receive(webhook)
        await receiver.receive(webhook)

        vendor.tasks[job.task_id] = Succeeded(video_url=VIDEO, prompt=job.prompt, callback_url=None)
        [stored_as] = await stored.rows("SELECT id FROM callbacks")
        hint = CallbackReceived(job_id=job.id, job_version=0, callback_id=stored_as["id"])
        await Hints(db, Verifier(db, vendor, CallbackSettings(**NEEDED), "callback", relay=relay)).verify(hint)
        await emptied()

    assert (await stored.job(job.id)).status == "completed"
    assert by_relay == []
    assert Counter(publisher.published) == {
        "job.requested": 1,
        "job.submitted": 1,
        "callback.received": 1,
        "job.completed": 1,
    }


async def test_what_is_published_is_the_message_of_the_row(db, bus, at_work, take, stored, emptied):
    async with at_work(bus.publisher) as relay:
        with relay.express() as express:
            message = await write(db, express)
            [row] = await stored.rows("SELECT available_at > now() AS later, event_id FROM outbox")

        taken = await take(topology.JOB_REQUESTED.name)
        await emptied()

    assert JobRequested.read(taken.body) == message
    assert (taken.message_id, row) == (str(message.event_id), {"later": True, "event_id": message.event_id})


async def test_of_a_writer_that_dies_before_it_publishes_a_relay_finds_the_message(db, publisher, at_work, stored):
    """Not at once: the writer may be alive, and about to publish it."""

    async def die_after_the_commit(relay):
        with relay.express() as express:
            await write(db, express)
            raise asyncio.CancelledError

    async with at_work(publisher) as relay:
        await asyncio.gather(die_after_the_commit(relay), return_exceptions=True)
        held = await stored.value("SELECT available_at - now() FROM outbox")
        at_once = await relay.run_once()
        await stored.run("UPDATE outbox SET available_at = now()")  # the time is over
        later = await relay.run_once()

    assert timedelta(0) < held <= outbox.HOLD
    assert (at_once, later, publisher.published) == (0, 1, ["job.requested"])


async def test_a_message_of_a_transaction_that_failed_is_not_published(db, publisher, at_work, stored):
    async def fail(relay):
        with relay.express() as express:
            async with db.transaction() as tx:
                await outbox.add_all(tx, [Letter(PERMIT, None)], express=express)
                raise ValueError("rolled back")

    async with at_work(publisher) as relay:
        await asyncio.gather(fail(relay), return_exceptions=True)

        assert (await stored.count("outbox"), relay._in_hand, publisher.published) == (0, set(), [])


async def test_where_a_writer_cannot_publish_nothing_is_held_back(db, publisher, relay, at_work, stored, monkeypatch):
    """No relay at work, which removes the rows; a broker that is away; too many messages in hand."""
    with relay.express() as express:
        await write(db, express)
    publisher.ready.clear()
    async with at_work(publisher) as working:
        with working.express() as express:
            await write(db, express)
        publisher.ready.set()
        monkeypatch.setattr(outbox, "_MOST_IN_HAND", 0)
        is_held = holds(working)

    assert await stored.value("SELECT count(*) FROM outbox WHERE available_at > now()") == 0
    assert not is_held


async def test_what_the_broker_did_not_take_stays_for_a_relay(db, publisher, at_work, stored, eventually):
    publisher.failures["job.requested"] = NotTaken("refused")
    async with at_work(publisher) as relay:
        with relay.express() as express:
            await write(db, express)
            await write(db, express, JobSubmitted(job_id=new_id(), job_version=1, task_id="t"))

        async def only_the_other_is_gone():
            return await stored.value("SELECT string_agg(routing_key, ',') FROM outbox") == "job.requested"

        assert await eventually(only_the_other_is_gone)


async def test_rows_that_could_not_be_removed_are_removed_with_the_next(
    db, database_url, publisher, at_work, stored, emptied, eventually
):
    """Their table is locked for longer than a statement may take."""
    impatient = PostgresSettings(database_url=database_url, database_command_seconds=0.2)
    async with Database.open(impatient) as opened, at_work(publisher, opened) as relay:
        with relay.express() as express:
            await write(db, express)
        async with db.transaction() as tx:
            await tx.execute("LOCK TABLE outbox IN SHARE MODE")
            await eventually(lambda: relay._published)
            await eventually(lambda: not relay._published)  # it tries
            await eventually(lambda: relay._published)  # in vain
        with relay.express() as express:
            await write(db, express)
        await emptied()

    assert publisher.published == ["job.requested"] * 2


async def test_a_row_that_a_relay_holds_keeps_no_others_from_being_removed(db, publisher, at_work, stored, eventually):
    async with at_work(publisher) as relay, db.transaction() as holder:
        with relay.express() as express:
            held = await write(db, express)
            await write(db, express)
            await holder.execute("SELECT FROM outbox WHERE event_id = $1 FOR UPDATE", held.event_id)

        async def other_is_gone():
            return await stored.rows("SELECT event_id FROM outbox") == [{"event_id": held.event_id}]

        assert await eventually(other_is_gone)


async def test_a_process_that_stops_publishes_what_it_has_in_hand(db, publisher, at_work, stored):
    async with at_work(publisher) as relay:
        with relay.express() as express:
            await write(db, express)

    assert (publisher.published, await stored.count("outbox")) == (["job.requested"], 0)
