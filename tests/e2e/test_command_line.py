"""The reelgate command against a whole stack: videos as a caller makes them, and what an operator is told."""

import asyncio
import json
import os
import sys
import uuid

import aio_pika
import pytest

from reelgate_common import topology

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d494844520000000100000001080600000"
    "01f15c4890000000d49444154789c6360f8cfc0500f000481017f4f"
    "2b1e1d0000000049454e44ae426082"
)


@pytest.fixture(scope="module")
def stack(run_stack):
    """Signup gives a new wallet 1000 credits."""
    with run_stack("commands", KIE_SENDS_PER_WINDOW="1000") as stack:
        yield stack


@pytest.fixture
def wallet():
    return uuid.uuid4().hex


@pytest.fixture
def reelgate(stack):
    """Run the command as a caller and operator of the stack; its exit code, output and errors."""
    env = stack.env
    settings = {
        "REELGATE_URL": env["API_URL"],
        "REELGATE_API_KEY": env["API_KEY"],
        "DATABASE_URL": env["DATABASE_URL"],
        "AMQP_URL": env["AMQP_URL"],
        "KIE_AI_API_ENDPOINT": env["SIMULATOR_URL"],
        "KIE_AI_API_KEY": "local-simulator",
        "PUBLIC_BASE_URL": env["API_URL"],
    }

    async def run(*words, **others):
        wanted = os.environ | settings | others
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "reelgate_cli", *words),
            env={name: value for name, value in wanted.items() if value},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    return run


@pytest.fixture
async def paused(reelgate):
    """Nothing is sent meanwhile."""
    await reelgate("pause", "--reason", "the test")
    yield
    await reelgate("resume")


# Videos -----------------------------------------------------------------------------------------------


async def test_generate_waits_tells_each_step_and_saves_the_video(reelgate, wallet, tmp_path):
    file = tmp_path / "video.mp4"

    code, out, err = await reelgate("generate", "A cat sim:ok", "--wallet", wallet, "--save", str(file))

    assert (code, out) == (0, f"{file}\n"), err
    assert b"ftyp" in file.read_bytes()[:16]
    assert [line.partition(":")[0] for line in err.splitlines()[-2:]] == ["processing", "completed"]


async def test_without_a_place_to_save_it_the_videos_url_is_the_output(reelgate, wallet):
    code, out, _ = await reelgate("generate", "A cat", "--wallet", wallet)

    assert code == 0
    assert out.startswith("http")


async def test_a_failure_says_why_what_to_do_and_that_the_credits_come_back(reelgate, wallet):
    code, out, err = await reelgate("generate", "A cat sim:policy", "--wallet", wallet)
    _, balance, _ = await reelgate("wallet", wallet, "--json")

    assert (code, out) == (1, "")
    assert "failed, its credits were returned" in err
    assert err.rstrip().endswith(".")
    assert json.loads(balance)["credits"] == 1000


async def test_a_local_image_is_handed_over(reelgate, wallet, tmp_path):
    image = tmp_path / "cat.png"
    image.write_bytes(PNG)

    code, out, err = await reelgate("generate", "A cat", "--wallet", wallet, "--image", str(image), "--json")

    job = json.loads(out)
    assert (code, job["status"], job["generation_type"]) == (0, "completed", "REFERENCE_2_VIDEO"), err
    assert len(job["image_urls"]) == 1


async def test_the_same_key_again_is_the_same_job(reelgate, wallet):
    words = ("generate", "A cat", "--wallet", wallet, "--no-wait", "--idempotency-key", "k")
    first, again = [await reelgate(*words) for _ in range(2)]

    assert first[:2] == again[:2]
    assert uuid.UUID(first[1].strip())


async def test_a_job_is_watched_by_its_id(reelgate, wallet):
    _, job_id, _ = await reelgate("generate", "A cat", "--wallet", wallet, "--no-wait")

    code, out, err = await reelgate("watch", job_id.strip(), "--json")

    assert (code, json.loads(out)["status"]) == (0, "completed")
    assert [json.loads(line)["seq"] for line in err.splitlines()] == sorted(
        {json.loads(line)["seq"] for line in err.splitlines()}
    )


async def test_jobs_are_listed_newest_first(reelgate, wallet):
    made = [(await reelgate("generate", "A cat", "--wallet", wallet, "--no-wait"))[1].strip() for _ in range(3)]

    _, as_json, _ = await reelgate("jobs", "--wallet", wallet, "--limit", "2", "--json")
    _, table, _ = await reelgate("jobs", "--wallet", wallet)
    _, none, _ = await reelgate("jobs", "--wallet", wallet, "--status", "failed", "--json")

    assert [job["id"] for job in json.loads(as_json)] == made[:0:-1]
    assert all(job_id in table for job_id in made)
    assert json.loads(none) == []


@pytest.mark.usefixtures("paused")
async def test_a_job_that_waits_is_taken_back(reelgate, wallet):
    _, job_id, _ = await reelgate("generate", "A cat", "--wallet", wallet, "--no-wait")

    code, out, _ = await reelgate("cancel", job_id.strip())
    again = await reelgate("cancel", job_id.strip())

    assert (code, out) == (0, "canceled: its credits come back\n")
    assert again[0] == 0


async def test_a_wallet_shows_its_balance_and_movements(reelgate, wallet):
    await reelgate("generate", "A cat", "--wallet", wallet)

    code, out, _ = await reelgate("wallet", wallet)

    lines = out.splitlines()
    assert (code, lines[0]) == (0, "996 credits")
    assert ["charge" in lines[1], "signup" in lines[2]] == [True, True]


@pytest.mark.parametrize(
    ("words", "settings", "said"),
    [
        (("jobs",), {"REELGATE_API_KEY": "rg_live_no"}, "REELGATE_API_KEY"),
        (("jobs",), {"REELGATE_URL": ""}, "REELGATE_URL"),
        (("watch", "no-id"), {}, "UUID"),
        (("generate", "A", "--wallet", "w", "--model", "veo9"), {}, "model must be"),
        (("generate", "A", "--wallet", "w", "--image", "/no/such.png"), {}, "there is no such file"),
    ],
)
async def test_what_is_wrong_is_one_sentence_and_no_stack_trace(reelgate, words, settings, said):
    code, out, err = await reelgate(*words, **settings)

    assert code in {1, 2}
    assert said in err
    assert "Traceback" not in out + err


# The doctor -------------------------------------------------------------------------------------------


async def states(reelgate, **settings):
    code, out, err = await reelgate("doctor", "--json", **settings)
    assert out, err
    return code, {found["what"]: (found["state"], found["says"]) for found in json.loads(out)}


async def test_the_doctor_finds_a_whole_gateway_well(reelgate):
    code, found = await states(reelgate)

    assert code == 0, found
    assert {state for state, _ in found.values()} == {"good"}
    assert found.keys() >= {"schema", "ledger", "outbox", "sends", "topology", "dead letters", "Kie.ai", "callback URL"}


@pytest.mark.usefixtures("paused")
async def test_the_doctor_says_why_jobs_wait(reelgate):
    code, out, _ = await reelgate("doctor")

    assert code == 1
    assert "!!  sends: stopped since" in out
    assert "paused by an operator: the test" in out


async def test_the_doctor_says_whether_the_key_of_the_webhooks_is_the_right_one(reelgate, stack, eventually):
    await stack.jobs(1)

    async def heard():
        return (await states(reelgate))[1]["webhook signatures"][1].endswith("are good")

    await eventually(heard)
    await stack.sql("UPDATE callbacks SET signature = 'bad'")
    _, found = await states(reelgate)
    await stack.sql("UPDATE callbacks SET signature = 'good'")

    assert found["webhook signatures"][0] == "doubtful"
    assert found["webhook signatures"][1].endswith("bad")


@pytest.mark.parametrize(
    ("settings", "what", "said"),
    [
        ({"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}, "database", "not reachable"),
        ({"AMQP_URL": "amqp://nobody@127.0.0.1:9/"}, "broker", "not reachable"),
        ({"KIE_AI_API_KEY": ""}, "Kie.ai", "KIE_AI_API_KEY: is not set"),
        ({"KIE_AI_API_ENDPOINT": "http://127.0.0.1:9"}, "Kie.ai", "no usable answer"),
        ({"PUBLIC_BASE_URL": "http://127.0.0.1:9"}, "callback URL", "not reachable"),
        ({"CALLBACK_BASE_URL": "http://127.0.0.1:9"}, "callback URL", "not reachable"),
        ({"CUSTODY_URL": "file:///dev/null/videos"}, "bucket", "file:///dev/null/videos"),
    ],
)
async def test_the_doctor_names_what_is_away_and_looks_at_the_rest(reelgate, settings, what, said):
    code, found = await states(reelgate, **settings)

    assert code == 1
    assert found[what][0] == "bad"
    assert said in found[what][1]
    assert [name for name, (state, _) in found.items() if state == "bad"] == [what]


async def test_the_doctor_tries_the_bucket_and_leaves_nothing_there(reelgate, tmp_path):
    _, found = await states(reelgate, CUSTODY_URL=f"file://{tmp_path}/videos")

    assert found["bucket"] == ("good", f"file://{tmp_path}/videos can be written, read and deleted")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_the_doctor_finds_a_queue_that_is_gone_or_another(reelgate, stack):
    name = topology.JOB_CANCELED.retry_name
    connection = await aio_pika.connect(stack.env["AMQP_URL"])
    async with connection, connection.channel() as channel:
        await channel.queue_delete(name)
        gone = (await states(reelgate))[1].get("topology")
        await channel.queue_delete(name)
        await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum"})
        another = (await states(reelgate))[1].get("topology")
        await channel.queue_delete(name)
        _, repaired, _ = await reelgate("topology", "repair")

    # The reconciler may have made it anew in between.
    assert gone in {("bad", f"missing: {name}"), ("good", "as this release declares it")}
    assert another[0] == "bad"
    assert name in another[1]
    assert repaired == "topology is up to date\n"
