"""Private servers, really started: they survive what the stack does to them, and then leave nothing."""

import asyncio
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import asyncpg
import pytest

from reelgate_local import ports, programs
from reelgate_local.errors import LocalError
from reelgate_local.postgres import PrivatePostgres
from reelgate_local.process import identity
from reelgate_local.rabbit import PrivateRabbit

needs_postgres = pytest.mark.skipif(not programs.find_postgres(), reason="no PostgreSQL programs here")
needs_rabbitmq = pytest.mark.skipif(not programs.find_rabbitmq(), reason="no RabbitMQ programs here")


def _port(url):
    return urlsplit(url).port


def _processes_naming(text):
    """Processes of whatever ancestry whose command line or environment names this."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            said = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if text.encode() in said:
            found.append(int(process.name))
    return found


@pytest.fixture
async def postgres(tmp_path):
    server = PrivatePostgres(tmp_path)
    await server.start()
    yield server
    await server.destroy()


async def _ask(url, statement):
    connection = await asyncpg.connect(url, ssl=False)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


@needs_postgres
@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_committed_rows_survive_on_the_same_port(postgres, end):
    url = postgres.url
    await _ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")

    await getattr(postgres, end)()
    assert ports.is_free(_port(url))
    await postgres.start()

    assert postgres.url == url
    assert await _ask(url, "SELECT answer FROM kept") == 42


@needs_postgres
async def test_the_database_belongs_to_its_role_and_the_server_is_durable(postgres):
    assert await _ask(
        postgres.url,
        "SELECT current_user = pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()",
    )
    assert await _ask(postgres.url, "SHOW fsync") == "on"
    assert await _ask(postgres.admin_url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user")


@needs_postgres
async def test_a_killed_server_leaves_no_process_behind(postgres):
    busy = await asyncpg.connect(postgres.url, ssl=False)
    backend = await busy.fetchval("SELECT pg_backend_pid()")

    await postgres.kill()

    busy.terminate()
    assert identity(backend) is None
    assert _processes_naming(str(postgres.data)) == []


@needs_postgres
async def test_destroying_leaves_neither_data_nor_port(postgres):
    data, url = postgres.data, postgres.url

    await postgres.destroy()

    assert not data.exists()
    assert ports.is_free(_port(url))


@needs_postgres
async def test_a_server_whose_start_is_interrupted_leaves_nothing(tmp_path):
    server = PrivatePostgres(tmp_path)
    starting = asyncio.create_task(server.start())
    while not server.pids:  # noqa: ASYNC110 - the moment to interrupt announces itself to nobody
        await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    await server.destroy()

    assert server.pids == []


@needs_postgres
async def test_a_port_taken_in_between_is_given_up_for_another(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as thief:
        stolen = thief.getsockname()[1]
        honest = ports.choose
        answers = iter([stolen])
        monkeypatch.setattr(ports, "choose", lambda **_: next(answers, None) or honest())
        server = PrivatePostgres(tmp_path)
        try:
            await server.start()
            assert _port(server.url) != stolen
        finally:
            await server.destroy()


async def _declare(url, queue):
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        await channel.declare_queue(queue, durable=True)


async def _publish(url, queue):
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        message = aio_pika.Message(b"kept", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, queue)


async def _take(url, queue):
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        found = await channel.declare_queue(queue, passive=True)
        message = await found.get(timeout=20)
        await message.ack()
        return message.body


@pytest.fixture
async def rabbits(tmp_path):
    pair = [PrivateRabbit(tmp_path / name, vhosts=("test-0",)) for name in ("one", "two")]
    await asyncio.gather(*(rabbit.start() for rabbit in pair))
    yield pair
    await asyncio.gather(*(rabbit.destroy() for rabbit in pair))


@needs_rabbitmq
@pytest.mark.timeout(240)
async def test_brokers_live_side_by_side_survive_a_kill_and_leave_nothing(rabbits):
    one, two = rabbits
    url, data, extra = one.url, one.data, one.vhost_url("test-0")
    await asyncio.gather(_declare(extra, "work"), _declare(two.url, "work"))
    # RabbitMQ 3.10 writes a new queue's name to its disk a second or two later: not what is tested here.
    await one.stop()
    await one.start()
    await _publish(extra, "work")

    await one.kill()
    assert _processes_naming(str(data)) == []
    await _publish(two.url, "work")
    await one.start()

    assert one.url == url
    assert await _take(extra, "work") == b"kept"
    await one.destroy()
    assert ports.is_free(_port(url))
    assert not data.exists()
    assert _processes_naming(str(data)) == []
    assert await _take(two.url, "work") == b"kept"


def test_a_machine_without_the_programs_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "find_postgres", lambda: None)
    monkeypatch.setattr(programs, "find_rabbitmq", lambda: None)

    with pytest.raises(LocalError, match="no PostgreSQL"):
        PrivatePostgres(tmp_path)
    with pytest.raises(LocalError, match="no RabbitMQ"):
        PrivateRabbit(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers as others")
def test_root_runs_servers_as_an_account_that_exists():
    assert programs.account("no-such-account", "nobody").name == "nobody"
