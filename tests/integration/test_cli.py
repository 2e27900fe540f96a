"""The reelgate command, as an operator runs it."""

import asyncio
import json
import os
import sys
from datetime import datetime, timedelta
from uuid import UUID

import aio_pika
import pytest

from reelgate_common import auth, migrations, parked, topology
from reelgate_common.domain.errors import NotAuthenticated


@pytest.fixture
def reelgate():
    """Run the command with these settings and no others of ours; its exit code, output and errors."""

    async def run(*words, **settings):
        env = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "AMQP_URL")}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "reelgate_cli", *words),
            env=env | settings,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    return run


@pytest.fixture
def amqp_url(broker):
    return broker.amqp_url.get_secret_value()


async def test_migrate_brings_an_empty_database_up_to_date_and_can_be_repeated(reelgate, new_database, amqp_url):
    async with new_database(empty=True) as url:
        first = await reelgate("migrate", DATABASE_URL=url, AMQP_URL=amqp_url)
        second = await reelgate("migrate", DATABASE_URL=url, AMQP_URL=amqp_url)

    applied = "".join(f"applied {migration.name}\n" for migration in migrations.known())
    rest = "schema is up to date\ntopology is up to date\n"
    assert first[:2] == (0, applied + rest)
    assert second[:2] == (0, rest)


async def test_topology_repair_declares_what_is_missing(reelgate, channel, amqp_url):
    await channel.queue_delete(topology.JOB_CANCELED.retry_name)

    code, out, _ = await reelgate("topology", "repair", AMQP_URL=amqp_url)

    assert (code, out) == (0, "topology is up to date\n")
    assert await channel.declare_queue(topology.JOB_CANCELED.retry_name, passive=True)


async def test_a_key_is_made_and_shown_once(reelgate, database_url, db, stored):
    code, out, _ = await reelgate("keys", "create", "shop", "--wallet", "w1", "--json", DATABASE_URL=database_url)

    made = json.loads(out)
    async with db.connection() as connection:
        caller = await auth.find_caller(connection, made["key"])
    assert code == 0
    assert (caller.wallets, caller.is_admin) == (("w1",), False)
    assert made["key"] not in str(await stored.rows("SELECT * FROM api_keys"))


@pytest.fixture
def keys(reelgate, database_url):
    """`reelgate keys …`: its exit code, output and errors."""

    async def run(*words):
        return await reelgate("keys", *words, DATABASE_URL=database_url)

    return run


async def test_a_key_is_made_as_asked_for(keys, db):
    _, out, _ = await keys("create", "ci", "--scope", "read", "--test", "--expires-days", "0.5", "--json")

    made = json.loads(out)
    async with db.connection() as connection:
        caller = await auth.find_caller(connection, made["key"])
    assert caller.scopes == {"read"}
    assert made["key"].startswith("rg_test_")
    assert made["key"].startswith(made["prefix"])
    lasts = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"])
    assert timedelta(hours=11) < lasts < timedelta(hours=13)


async def test_keys_are_listed_without_what_they_are(keys):
    made = json.loads((await keys("create", "shop", "--wallet", "w1", "--json"))[1])
    other = json.loads((await keys("create", "ops", "--admin", "--json"))[1])

    _, listed, _ = await keys("list", "--json")
    code, lines, _ = await keys("list")

    assert [key["id"] for key in json.loads(listed)] == [other["id"], made["id"]]
    assert code == 0
    ops, shop = lines.splitlines()
    assert [word in shop for word in (made["prefix"], made["id"], "shop", "jobs", "w1", "never used")] == [True] * 6
    assert "every wallet" in ops
    assert [key["key"] in listed + lines for key in (made, other)] == [False, False]


async def test_a_revoked_key_is_no_good_any_more(keys, db):
    made = json.loads((await keys("create", "shop", "--json"))[1])

    code, out, _ = await keys("revoke", made["id"])

    assert (code, out) == (0, "revoked\n")
    async with db.connection() as connection:
        with pytest.raises(NotAuthenticated):
            await auth.find_caller(connection, made["key"])
    assert "revoked 2" in (await keys("list"))[1]


async def test_a_key_that_is_not_there_cannot_be_revoked(keys):
    code, _, err = await keys("revoke", str(UUID(int=1)))

    assert (code, err) == (1, f"there is no key {UUID(int=1)}\n")


@pytest.mark.parametrize(
    "words",
    [
        ["create", ""],
        ["create", "x", "--wallet", "a b"],
        ["create", "x", "--scope", "metrics"],
        ["create", "x", "--expires-days", "0"],
        ["create", "x", "--expires-days", "nan"],
        ["create", "x", "--expires-days", "1e300"],
        ["revoke", "x"],
    ],
    ids=str,
)
async def test_what_makes_no_sense_of_a_key_is_refused(keys, stored, words):
    code, _, err = await keys(*words)

    assert code == 2
    assert "Traceback" not in err
    assert await stored.count("api_keys") == 0


async def test_an_admins_key_is_for_all_wallets(reelgate, database_url, db):
    _, out, _ = await reelgate("keys", "create", "ops", "--admin", DATABASE_URL=database_url)

    async with db.connection() as connection:
        caller = await auth.find_caller(connection, out.splitlines()[0])
    assert (caller.wallets, caller.is_admin) == (None, True)


@pytest.mark.parametrize(
    ("words", "missing"),
    [(["migrate"], "DATABASE_URL"), (["keys", "create", "x"], "DATABASE_URL"), (["topology", "repair"], "AMQP_URL")],
)
async def test_a_missing_setting_is_one_clear_line(reelgate, words, missing):
    code, _, err = await reelgate(*words)

    assert code != 0
    assert err == f"Bad settings:\n  {missing}: is not set\n"


async def test_a_broker_that_is_away_is_one_clear_line(reelgate, unused_tcp_port):
    code, _, err = await reelgate("topology", "repair", AMQP_URL=f"amqp://u:s3cret@127.0.0.1:{unused_tcp_port}/")

    assert code != 0
    assert err.startswith("The broker is not reachable: ")
    assert "s3cret" not in err
    assert "Traceback" not in err


async def test_a_database_that_does_not_exist_is_one_clear_line(reelgate, database_url):
    code, _, err = await reelgate("keys", "create", "x", DATABASE_URL=database_url + "_not")

    assert code != 0
    assert "does not exist" in err
    assert "Traceback" not in err


async def test_an_unmigrated_database_is_one_clear_line(reelgate, new_database):
    async with new_database(empty=True) as url:
        code, _, err = await reelgate("keys", "create", "x", DATABASE_URL=url)

    assert code != 0
    assert "Traceback" not in err


async def test_a_poison_message_is_listed_shown_replayed_and_dropped(reelgate, channel, amqp_url):
    """A body nobody can read: parked with its reason, looked at whole, tried again, parked again, dropped."""
    body = '{"event_id": "' + "x" * 300 + '"}'
    headers = {"x-parked-from": topology.JOB_FAILED.name, "x-parked-reason": "event_id: not a UUID"}
    message = aio_pika.Message(body.encode(), message_id="poison", headers=headers)
    await channel.default_exchange.publish(message, topology.PARKED)

    _, listed, _ = await reelgate("dead-letters", "list", AMQP_URL=amqp_url)
    _, shown, _ = await reelgate("dead-letters", "show", "poison", AMQP_URL=amqp_url)
    none = await reelgate("dead-letters", "show", "another", AMQP_URL=amqp_url)
    _, replayed, _ = await reelgate("dead-letters", "replay", "poison", AMQP_URL=amqp_url)
    returned = await (await channel.get_queue(topology.JOB_FAILED.name)).get()
    await returned.ack()
    await channel.default_exchange.publish(message, topology.PARKED)
    _, dropped, _ = await reelgate("dead-letters", "drop", "--all", AMQP_URL=amqp_url)
    _, left, _ = await reelgate("dead-letters", "list", "--json", AMQP_URL=amqp_url)

    assert "poison" in listed
    assert shown == f"from {topology.JOB_FAILED.name}\nwhy  event_id: not a UUID\n\n{body}\n"
    assert (none[0], none[2]) == (1, "no such message\n")
    assert (replayed, returned.body) == ("replayed 1\n", body.encode())
    assert (dropped, left) == ("dropped 1\n", "[]\n")


async def test_a_parked_messages_headers_are_shown_for_scripts(reelgate, channel, amqp_url):
    headers = parked.headers_of(queue=topology.JOB_FAILED.name, reason="broken", original={"traceparent": "00-4bf9"})
    message = aio_pika.Message(b"{}", message_id="one", headers=headers)
    await channel.default_exchange.publish(message, topology.PARKED)

    code, shown, _ = await reelgate("dead-letters", "show", "one", "--json", AMQP_URL=amqp_url)

    assert code == 0
    assert json.loads(shown) == {
        "message_id": "one",
        "queue": topology.JOB_FAILED.name,
        "reason": "broken",
        "body": "{}",
        "headers": {"traceparent": "00-4bf9"},
    }


@pytest.mark.parametrize("command", ["show", "replay", "drop"])
async def test_a_message_that_is_not_parked_is_one_clear_line(reelgate, amqp_url, command):
    assert await reelgate("dead-letters", command, "another", AMQP_URL=amqp_url) == (1, "", "no such message\n")


async def test_a_message_its_queue_does_not_take_is_named(reelgate, channel, amqp_url):
    headers = {"x-parked-from": "no.such.queue", "x-parked-reason": "broken"}
    message = aio_pika.Message(b"{}", message_id="one", headers=headers)
    await channel.default_exchange.publish(message, topology.PARKED)

    said = await reelgate("dead-letters", "replay", "--all", AMQP_URL=amqp_url)

    assert said == (1, "replayed 0\n", "refused one: no.such.queue does not take it\n")


async def test_sends_are_paused_and_go_on_by_command(reelgate, database_url, stored):
    async def state():
        return (await stored.rows("SELECT paused_at IS NOT NULL AS paused, pause_reason FROM breaker"))[0]

    paused = await reelgate("pause", "--reason", "a new account", DATABASE_URL=database_url)
    meanwhile = await state()
    resumed = await reelgate("resume", DATABASE_URL=database_url)
    again = await reelgate("resume", DATABASE_URL=database_url)

    assert paused[:2] == (0, "paused: nothing is sent until `reelgate resume`\n")
    assert meanwhile == {"paused": True, "pause_reason": "a new account"}
    assert (resumed[:2], again[:2]) == ((0, "sends go on\n"), (0, "nothing was paused\n"))
    assert (await state())["paused"] is False


async def test_credits_are_granted_once_for_each_reference(reelgate, database_url, stored):
    words = ("grant", "wallet", "100", "--reference", "invoice 1", "--description", "Top-up")

    first = await reelgate(*words, DATABASE_URL=database_url)
    again = await reelgate(*words, "--json", DATABASE_URL=database_url)
    other = await reelgate("grant", "wallet", "7", "--reference", "invoice 1", DATABASE_URL=database_url)

    assert first[:2] == (0, "granted: 100 to wallet, reference invoice 1\n")
    assert json.loads(again[1]).items() >= {"amount": 100, "description": "Top-up", "replayed": True}.items()
    assert (other[0], other[1], other[2]) == (
        1,
        "",
        "This reference stands for another movement of credits: take a new one\n",
    )
    assert await stored.balance() == 100


async def test_grants_without_a_reference_are_each_their_own(reelgate, database_url, stored):
    for _ in range(2):
        await reelgate("grant", "wallet", "5", DATABASE_URL=database_url)

    assert await stored.balance() == 10


@pytest.mark.parametrize(
    "words", [("a b", "5"), ("", "5"), ("wallet", "0"), ("wallet", "x"), ("wallet", "5", "--reference", "")]
)
async def test_a_bad_grant_is_a_clear_line_and_grants_nothing(reelgate, database_url, stored, words):
    code, _, err = await reelgate("grant", *words, DATABASE_URL=database_url)

    assert code == 2
    assert "Traceback" not in err
    assert await stored.count("credits") == 0
