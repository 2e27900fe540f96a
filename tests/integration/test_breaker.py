"""Trouble that hits every job, on two submitters: jobs wait, one probe goes at a time, and the backlog drains."""

import asyncio
from collections import Counter
from uuid import uuid4

import aiohttp
import pytest
from scripted_wire import ScriptedWire, reply

from reelgate_api.vendor_watch import VendorWatch
from reelgate_common import audit, breaker
from reelgate_common.ids import new_id
from reelgate_common.kie.client import KieClient
from reelgate_common.messages import JobRequested
from reelgate_submitter.handlers import Submitter
from reelgate_submitter.repository import lock_fairest_due
from reelgate_submitter.settings import Settings

PERMIT = JobRequested(job_id=new_id(), job_version=1)
IN_A_ROW = 3
WINDOW = 20
SETTINGS = {
    "database_url": "x",
    "amqp_url": "x",
    "kie_ai_api_key": "x",
    "public_base_url": "https://gateway.example",
    "breaker_failures_in_a_row": IN_A_ROW,
    "breaker_first_seconds": 300,  # it opens again when a test says so
    "retry_first_seconds": 0.001,  # what was not taken is due at once
    "retry_max_seconds": 0.001,
}


def body(code, message="said so", **data):
    return reply({"code": code, "msg": message, "data": data or None})


def accepted():
    return body(200, "success", taskId=uuid4().hex)


def throttled():
    return body(429)


# What Kie.ai answers to everything; how many sends it takes until no more go.
ACCOUNT = {code: (lambda code=code: body(code), 1) for code in (401, 402, 404, 433, 455)}
TROUBLES = ACCOUNT | {
    "credits": (lambda: body(500, "Credits insufficient"), 1),
    "edge": (lambda: reply("error code: 1010", status=403), 1),
    "storm": (lambda: reply("<html>Bad Gateway</html>", status=502), IN_A_ROW),
    "garbage": (lambda: reply("<html>"), IN_A_ROW),
    "timeout": (TimeoutError, IN_A_ROW),
    "refused": (lambda: aiohttp.ConnectionTimeoutError("no connection"), IN_A_ROW),
}


class Kie:
    """Kie.ai: answers each send as `says` tells; while that is None, when the test does."""

    def __init__(self):
        self.says = None
        self.sends = []  # a future of each send's answer

    async def handle(self, _):
        answer = asyncio.get_running_loop().create_future()
        self.sends.append(answer)
        if self.says:
            answer.set_result(self.says())
        said = await answer
        if isinstance(said, aiohttp.ConnectionTimeoutError):  # raised before anything is written
            raise said
        return said


@pytest.fixture
def kie():
    return Kie()


@pytest.fixture
async def make_submitters(db, kie, relay, cast, monkeypatch):
    """Two submitters that share nothing but the database."""
    monkeypatch.setattr(breaker, "LOOK_AGAIN_SECONDS", 0.02)

    async def make(**overrides):
        settings = Settings(**SETTINGS | {"kie_sends_per_window": 1000} | overrides)
        return [Submitter(db, KieClient(ScriptedWire(kie.handle), settings), relay, settings) for _ in range(2)]

    return make


@pytest.fixture
def breaker_row(stored):
    async def read():
        return (await stored.rows("SELECT *, open_until > now() AS is_open FROM breaker"))[0]

    return read


@pytest.fixture
def time_is_over(stored):
    """Let the time of the open breaker be over."""

    async def end():
        await stored.run("UPDATE breaker SET open_until = now()")

    return end


@pytest.fixture
async def start():
    """Use permits beside the test; those left at its end are given up."""
    using = []

    def begin(submitter, count=1):
        tasks = [asyncio.create_task(submitter.use_permit(PERMIT)) for _ in range(count)]
        using.extend(tasks)
        return tasks

    yield begin
    for task in using:
        task.cancel()
    await asyncio.gather(*using, return_exceptions=True)


async def go_nowhere(tasks):
    """Give tasks a dozen looks at the breaker; none may get past it."""
    done, _ = await asyncio.wait(tasks, timeout=0.25)
    return not done


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_jobs_wait_for_one_probe_and_are_all_sent_when_the_trouble_is_over(
    db, make_job, make_submitters, kie, start, eventually, breaker_row, time_is_over, stored, trouble
):
    answer, until_open = TROUBLES[trouble]
    jobs = [(await make_job(wallet_address=f"w{n}")).id for n in range(until_open + 8)]  # one for each permit
    submitters = await make_submitters()
    kie.says = answer
    for n in range(until_open):
        await submitters[n % 2].use_permit(PERMIT)

    # Open for both: what was not sent waits.
    kie.says = None
    waiting = [task for submitter in submitters for task in start(submitter, 4)]
    assert await go_nowhere(waiting)
    assert len(kie.sends) == until_open
    watch = VendorWatch(db)
    await watch.look()
    assert watch.notice

    # Half open: one probe, whoever sends it. It fails, and all wait again.
    await time_is_over()
    await eventually(lambda: len(kie.sends) > until_open)
    assert await go_nowhere(waiting)
    assert len(kie.sends) == until_open + 1
    kie.sends[-1].set_result(answer())
    await eventually(lambda: any(task.done() for task in waiting))
    row = await breaker_row()
    assert (row["failures"], row["is_open"], row["probing"]) == (2, True, False)

    # Over: the next probe closes it, and everything goes.
    kie.says = accepted
    await time_is_over()
    await asyncio.gather(*waiting)
    while await stored.value("SELECT true FROM video_jobs WHERE status = 'pending' LIMIT 1"):
        await submitters[0].use_permit(PERMIT)
    states = Counter([await stored.status(job_id) for job_id in jobs])
    lost = await stored.value("SELECT count(*) FROM job_attempts WHERE outcome = 'unknown'")
    assert lost in (0, until_open + 1)
    assert states == Counter(processing=len(jobs) - lost, unknown=lost)
    assert (await breaker_row())["failures"] == 0
    assert await audit.verify(db) == []
    await watch.look()
    assert watch.notice is None


async def test_only_one_may_take_a_slot_of_the_window_for_the_probe(db, cast, time_is_over):
    """The others wait: a slot taken for a probe that is gone would be a send lost."""
    await cast(breaker.trip, reason="no credits", first_seconds=5)
    await time_is_over()

    async with db.transaction() as one, db.transaction() as other:
        found = [(tx, (await lock_fairest_due(tx, 1))[1]) for tx in (one, other)]
        waits = [await breaker.wait_seconds(tx, state) for tx, state in found]

    assert waits == [None, breaker.LOOK_AGAIN_SECONDS]


async def test_when_it_closes_the_backlog_has_the_whole_window(
    make_job, make_submitters, kie, start, time_is_over, stored
):
    """In a window of an hour: what the trouble used of it is gone, the rest goes at once, and not one more."""
    for n in range(WINDOW + 5):
        await make_job(wallet_address=f"w{n}")
    submitters = await make_submitters(kie_sends_per_window=WINDOW, kie_send_window_seconds=3600)
    kie.says = TROUBLES[402][0]
    await submitters[0].use_permit(PERMIT)

    kie.says = accepted
    using = [task for submitter in submitters for task in start(submitter, WINDOW)]
    await time_is_over()
    await asyncio.gather(*using)

    assert len(kie.sends) == WINDOW
    assert await stored.value("SELECT count(*) FROM video_jobs WHERE status = 'processing'") == WINDOW - 1


@pytest.mark.parametrize(
    "late", [TROUBLES[402][0], TROUBLES["storm"][0], throttled], ids=["blocked", "unknown", "throttled"]
)
async def test_a_send_from_before_the_opening_is_not_the_probe(
    make_job, make_submitters, kie, start, eventually, breaker_row, time_is_over, late
):
    """Its late answer neither opens the breaker for longer nor lets a second probe go beside the first."""
    for _ in range(4):
        await make_job()
    one, other = await make_submitters()
    [slow] = start(one)
    await eventually(lambda: len(kie.sends) == 1)
    [quick] = start(other)
    await eventually(lambda: len(kie.sends) == 2)
    kie.sends[1].set_result(TROUBLES[402][0]())
    await quick
    await time_is_over()
    start(other)
    await eventually(lambda: len(kie.sends) == 3)
    probed = await breaker_row()

    kie.sends[0].set_result(late())
    await slow

    assert probed["probing"]
    assert await breaker_row() | {"strikes": 0} == probed


async def test_a_task_id_of_a_send_from_before_the_opening_closes_it(
    make_job, make_submitters, kie, start, eventually, breaker_row
):
    """Kie.ai took a job: it takes others."""
    for _ in range(2):
        await make_job()
    one, other = await make_submitters()
    [slow] = start(one)
    await eventually(lambda: len(kie.sends) == 1)
    kie.says = TROUBLES[402][0]
    await other.use_permit(PERMIT)
    opened = await breaker_row()

    kie.sends[0].set_result(accepted())
    await slow

    assert (opened["failures"], (await breaker_row())["failures"]) == (1, 0)


async def test_nothing_is_written_to_the_breaker_while_all_is_well(make_job, make_submitters, kie, stored):
    """Its row is one for all submitters: writing it with each send would make them wait for one another."""
    for _ in range(3):
        await make_job()
    [submitter, _] = await make_submitters()
    kie.says = accepted
    before = await stored.value("SELECT xmin::text FROM breaker")

    for _ in range(3):
        await submitter.use_permit(PERMIT)

    assert await stored.value("SELECT xmin::text FROM breaker") == before
