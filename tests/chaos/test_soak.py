"""Random faults under load, two of every service, round after round; each round ends in an audit.

CHAOS_SECONDS says for how long (at least one round), CHAOS_SEED repeats one that failed.
"""

import asyncio
import os
import random
import signal
import time

import pytest
import pytest_asyncio
from fault_proxy import Toward
from gateway import DELIVERS, REFUNDS
from rig import Rig

SECONDS = float(os.environ.get("CHAOS_SECONDS", "0"))
FAULTS_PER_ROUND = 8
MOST_JOBS = 200  # a round
# Nobody may know what became of a send whose submitter died: these are refunded, and said so.
EXCUSED = ("submit_unknown",)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(servers):
    async with Rig.open(servers, replicas=2, RETRY_MAX_SECONDS="10") as opened:
        yield opened


async def kill_a_process(rig, dice):
    name = dice.choice(rig.processes)
    await rig.kill(name)
    await lasting(dice)
    await rig.start(name)


async def stop_a_process(rig, dice):
    name = dice.choice(rig.processes)
    await rig.stop(name)
    await rig.start(name)


async def freeze_a_process(rig, dice):
    pid = rig.pid(dice.choice(rig.processes))
    os.kill(pid, signal.SIGSTOP)
    await lasting(dice, 7)
    os.kill(pid, signal.SIGCONT)


async def step_a_clock(rig, dice):
    rig.step_clock(dice.choice(rig.processes), dice.choice([-3600, -60, 60, 3600]))


async def break_a_line(rig, dice):
    line = dice.choice(list(rig.lines.values()))
    fault = dice.randrange(6)
    if fault == 0:
        line.cut()
    elif fault == 1:
        line.refuse()
    elif fault == 2:
        line.freeze(*dice.choice([(), (Toward.SERVER,), (Toward.CLIENT,)]))
    elif fault == 3:
        line.delay = dice.uniform(0.01, 0.5)
    elif fault == 4:
        line.bytes_per_second = dice.uniform(1_000, 50_000)
    else:
        line.answer_bytes = dice.randrange(1, 2_000)
    await lasting(dice, 6)
    await line.heal()


async def kill_the_broker(rig, _):
    await rig.servers.rabbit.kill()
    await rig.servers.rabbit.start()


async def alarm_the_broker(rig, dice):
    await rig.servers.rabbit.control("set_vm_memory_high_watermark", "absolute", "1MB")
    await lasting(dice)
    await rig.servers.rabbit.control("set_vm_memory_high_watermark", "0.4")


async def close_every_channel(rig, _):
    await rig.servers.rabbit.control("eval", "[exit(Channel, kill) || Channel <- rabbit_channel:list()].")


async def kill_the_database(rig, _):
    await rig.servers.postgres.kill()
    await rig.servers.postgres.start()


async def end_every_session(rig, _):
    async with rig.as_superuser() as connection:
        await connection.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


async def vendor_trouble(rig, dice):
    trouble = dice.choice([{"refuse_all": dice.choice([401, 402, 433, 455, 429])}, {"outage_http_status": 502}])
    await rig.simulator("/sim/config", **trouble)
    await lasting(dice)
    await rig.simulator("/sim/config", **dict.fromkeys(trouble))


FAULTS = (
    kill_a_process,
    kill_a_process,
    stop_a_process,
    freeze_a_process,
    step_a_clock,
    break_a_line,
    break_a_line,
    break_a_line,
    kill_the_broker,
    alarm_the_broker,
    close_every_channel,
    kill_the_database,
    end_every_session,
    vendor_trouble,
)


async def lasting(dice, most=3.0):
    """How long a fault lasts."""
    await asyncio.sleep(dice.uniform(0.1, most))


@pytest.mark.timeout(SECONDS + 400)
async def test_nothing_is_lost_and_nothing_done_twice_whatever_happens(gateway):
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(2**32))
    end = time.monotonic() + SECONDS
    while True:
        print(f"CHAOS_SEED={seed}")  # noqa: T201 -- pytest shows it when the test fails
        await one_round(gateway, random.Random(seed))
        if time.monotonic() >= end:
            break
        seed += 1


async def one_round(rig, dice):
    over = asyncio.Event()
    sending = asyncio.create_task(load(rig, over))
    try:
        for _ in range(FAULTS_PER_ROUND):
            fault = dice.choice(FAULTS)
            print(fault.__name__)  # noqa: T201
            await fault(rig, dice)
            await lasting(dice, 1)
    finally:
        over.set()
        jobs = await sending
        await rig.heal()
        await rig.revive()
        for name in rig.processes:
            rig.step_clock(name, 0)
    await rig.at_rest(seconds=150)
    await rig.ended_right(jobs, spared=EXCUSED)
    await rig.audit()


async def load(rig, over):
    """Jobs of every kind as long as faults happen, in bounded number."""
    jobs = await rig.mixed_jobs(20)
    while not over.is_set() and len(jobs) < MOST_JOBS:
        jobs |= await rig.mixed_jobs(5, random.sample(DELIVERS + REFUNDS, 5))
        await asyncio.sleep(0.3)
    return jobs
