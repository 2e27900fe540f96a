"""A whole gateway whose every line to another process goes through a proxy, and whose every process can be killed."""

import asyncio
import contextlib
import json
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import aio_pika
import asyncpg
import httpx
from fault_proxy import FaultProxy
from gateway import Gateway
from yarl import URL

from reelgate_common import topology
from reelgate_common.connection import connect
from reelgate_common.settings import RabbitSettings
from reelgate_local import commandline, ports
from reelgate_local.layout import CHECKOUT
from reelgate_local.postgres import PrivatePostgres
from reelgate_local.rabbit import PrivateRabbit
from reelgate_local.service import Service

_WRONG_CLOCK = Path(__file__).with_name("wrong_clock")
SERVICES = ("api", "submitter", "callback", "reconciler")

# Demo scale, and quicker still where a fault has to be waited out.
QUICK = {
    "SIM_VIDEO_SECONDS": "1",
    "SIM_CREDITS": "1000000000",
    "SIM_REFERENCE_IMAGE_LIMIT": "8",
    "SIGNUP_CREDITS": "100000",
    "KIE_SENDS_PER_WINDOW": "1000",
    "SUBMIT_LEASE_SECONDS": "5",
    "SUBMIT_UNKNOWN_DEADLINE": "12",
    "FIRST_POLL_SECONDS": "2",
    "EMPTY_RESULT_GRACE_SECONDS": "2",
    "HINT_INTERVAL_SECONDS": "1",
    "MEND_SECONDS": "3",
    "BREAKER_FIRST_SECONDS": "1",
    "KIE_SEND_TIMEOUT_SECONDS": "3",
    "KIE_QUERY_TIMEOUT_SECONDS": "3",
    "DATABASE_COMMAND_SECONDS": "6",
    "DATABASE_ACQUIRE_SECONDS": "3",
    "LOG_FORMAT": "json",
}


@dataclass(frozen=True)
class Servers:
    """A database server and a broker that only these tests use, and so may break."""

    postgres: PrivatePostgres
    rabbit: PrivateRabbit
    home: Path

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator["Servers"]:
        """Start both; at the end nothing of them is left."""
        with tempfile.TemporaryDirectory(prefix="reelgate-chaos-") as folder:
            os.chmod(folder, 0o755)  # noqa: PTH101 -- the servers run as accounts of their own
            home = Path(folder)
            postgres, rabbit = PrivatePostgres(home), PrivateRabbit(home)
            try:
                await asyncio.gather(postgres.start(), rabbit.start())
                yield cls(postgres, rabbit, home)
            finally:
                await asyncio.gather(postgres.destroy(), rabbit.destroy())


class Rig(Gateway):
    """One gateway: four services (or more of each), the simulator, and a proxy on each line."""

    def __init__(self, servers: Servers, settings: dict[str, str]) -> None:
        self.servers = servers
        self._settings = settings
        self._stack = AsyncExitStack()
        self._name = f"rig_{uuid4().hex[:8]}"
        self._logs = servers.home / self._name
        self._services: dict[str, Service] = {}
        self._envs: dict[str, dict[str, str]] = {}
        # (who connects, to whom); such as ("submitter", "vendor") or ("simulator", "callback")
        self.lines: dict[tuple[str, str], FaultProxy] = {}

    @classmethod
    @asynccontextmanager
    async def open(
        cls, servers: Servers, *, replicas: int = 1, twice: tuple[str, ...] = (), **settings: str
    ) -> AsyncIterator["Rig"]:
        """A running gateway on a database and in queues of its own, with so many processes of each service.

        Of those that stand in `twice` there is one more.
        """
        rig = cls(servers, QUICK | settings)
        names = [f"{service}-{n}" if n > 1 else service for n in range(1, replicas + 1) for service in SERVICES]
        async with rig._stack:
            await rig._lay_out([*names, *(f"{service}-{replicas + 1}" for service in twice)])
            try:
                await rig._start_all()
                yield rig
                await rig.until(rig._no_message_is_left)
            finally:
                await asyncio.gather(*(rig.kill(name) for name in rig._services))

    # Processes -----------------------------------------------------------------------------------------

    @property
    def processes(self) -> list[str]:
        """The processes of the gateway, such as `submitter` and `submitter-2`, without the simulator."""
        return [name for name in self._services if name != "simulator"]

    def pid(self, name: str) -> int:
        return self._services[name].pids[0]

    async def start(self, name: str) -> None:
        """Start a process again; return when it is ready."""
        self._services[name].spawn()
        async with httpx.AsyncClient(trust_env=False) as client:
            await self._services[name].ready(client)

    async def restart(self, name: str, **settings: str) -> None:
        """Kill it, and start it with other settings; without any, with those it had at first."""
        await self.kill(name)
        self._services[name] = self._service(name, self._services[name].port, self._envs[name] | settings)
        await self.start(name)

    def url(self, name: str) -> str:
        """Where a process listens."""
        return self._services[name].url

    async def kill(self, name: str) -> None:
        """SIGKILL it, and return when it is gone."""
        service = self._services[name]
        for pid in service.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await service.wait()

    async def stop(self, name: str) -> int | None:
        """SIGTERM it; its exit code."""
        await self._services[name].stop()
        return self._services[name]._child.exit_code

    def step_clock(self, name: str, seconds: float) -> None:
        """Move a process's wall clock, as long as it runs and after."""
        self._clock(name).write_text(str(seconds))

    async def some_are_over(self) -> None:
        """Return when at least one job came to its end since now."""
        ended = "SELECT count(*) AS n FROM video_jobs WHERE completed_at IS NOT NULL"
        [before] = await self.sql(ended)

        async def more() -> bool:
            return (await self.sql(ended))[0]["n"] > before["n"]

        await self.until(more)

    async def revive(self) -> None:
        """Start again whatever does not run."""
        dead = [name for name, service in self._services.items() if not service.pids]
        await asyncio.gather(*(self.start(name) for name in dead))

    def line(self, client: str, server: str) -> FaultProxy:
        """The proxy on the line from one process to another: `database`, `broker`, `vendor` or `callback`."""
        return self.lines[client, server]

    def lines_to(self, server: str) -> list[FaultProxy]:
        return [proxy for (_, to), proxy in self.lines.items() if to == server]

    async def heal(self) -> None:
        """End every fault of every line."""
        await asyncio.gather(*(proxy.heal() for proxy in self.lines.values()))

    def logs_with(self, words: str) -> set[str]:
        """The logs, such as `submitter.log`, in which these words stand."""
        return {log.name for log in self._logs.glob("*.log") if words in log.read_text(errors="replace")}

    def log_ends(self) -> str:
        """What every process said last."""
        logs = {
            log.name: log.read_text(errors="replace").splitlines()[-40:] for log in sorted(self._logs.glob("*.log"))
        }
        return "\n".join(f"--- {name}\n" + "\n".join(lines) for name, lines in logs.items())

    # Servers -------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def as_superuser(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection to the gateway's database that may do everything, around every proxy."""
        connection = await asyncpg.connect(str(URL(self.servers.postgres.admin_url).with_path(f"/{self._name}")))
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
        """A channel to the broker, around every proxy."""
        async with (
            connect(RabbitSettings(amqp_url=self.env["AMQP_URL"]), "test") as connection,
            connection.channel() as channel,
        ):
            yield channel

    async def depths(self) -> dict[str, int]:
        """Messages ready in each queue that holds any."""
        names = [name for queue in topology.QUEUES for name in (queue.name, queue.retry_name)] + [topology.PARKED]
        async with self.channel() as channel:
            found = [await channel.declare_queue(name, passive=True) for name in names]
        counts = {queue.name: queue.declaration_result.message_count or 0 for queue in found}
        return {name: count for name, count in counts.items() if count}

    async def _no_message_is_left(self) -> bool:
        """No queue holds a message: neither waiting nor given to a consumer and not acked."""
        said = await self.servers.rabbit.control(
            "list_queues", "--vhost", "reelgate", "name", "messages", "--formatter", "json"
        )
        return not any(queue["messages"] for queue in json.loads(said))

    # Set-up --------------------------------------------------------------------------------------------

    async def _lay_out(self, names: list[str]) -> None:
        """Decide on ports, open the proxies, create the schema and the keys."""
        port = {name: ports.choose() for name in [*names, "simulator"]}
        database, broker = await self._own_database(), self.servers.rabbit.url
        simulator = f"http://127.0.0.1:{port['simulator']}"
        common = {
            **os.environ,
            **self._settings,
            "CRON_SECRET": "cron",
            "KIE_AI_API_KEY": "simulated",
            "KIE_WEBHOOK_HMAC_KEY": "signed",
            "CALLBACK_SERVICE_URL": f"http://127.0.0.1:{port['callback']}",
            "PUBLIC_BASE_URL": await self._through("simulator", "callback", f"http://127.0.0.1:{port['callback']}"),
        }
        direct = {"DATABASE_URL": database, "AMQP_URL": broker, "KIE_AI_API_ENDPOINT": simulator}
        for name in names:
            lines = {
                "DATABASE_URL": await self._through(name, "database", database),
                "AMQP_URL": await self._through(name, "broker", broker),
                "KIE_AI_API_ENDPOINT": await self._through(name, "vendor", simulator),
            }
            clock = {"PYTHONPATH": str(_WRONG_CLOCK), "WRONG_CLOCK": str(self._clock(name))}
            self._envs[name] = common | lines | clock
            self._services[name] = self._service(name, port[name], self._envs[name])
        self._services["simulator"] = self._service("simulator", port["simulator"], common)
        log = self._logs / "migrate.log"
        await commandline.migrate(common | direct, CHECKOUT, log)
        await self._purge(broker)
        self.env = {
            **direct,
            "API_URL": f"http://127.0.0.1:{port['api']}",
            "CALLBACK_URL": f"http://127.0.0.1:{port['callback']}",
            "SIMULATOR_URL": simulator,
            "API_KEY": await commandline.create_key(common | direct, CHECKOUT, log),
        }

    def _clock(self, name: str) -> Path:
        return self._logs / f"{name}.clock"

    def _service(self, name: str, port: int, env: dict[str, str]) -> Service:
        log = self._logs / f"{name}.log"
        return Service(name.partition("-")[0], port=port, env=env, cwd=CHECKOUT, log=log)

    async def _own_database(self) -> str:
        connection = await asyncpg.connect(self.servers.postgres.admin_url)
        owner = URL(self.servers.postgres.url).user
        try:
            await connection.execute(f'CREATE DATABASE {self._name} OWNER "{owner}"')
        finally:
            await connection.close()
        return str(URL(self.servers.postgres.url).with_path(f"/{self._name}"))

    async def _purge(self, broker: str) -> None:
        """The broker is shared by one rig after another: begin with empty queues."""
        async with connect(RabbitSettings(amqp_url=broker), "test") as connection, connection.channel() as channel:
            for name in [n for q in topology.QUEUES for n in (q.name, q.retry_name)] + [topology.PARKED]:
                await (await channel.get_queue(name, ensure=False)).purge()

    async def _through(self, client: str, server: str, url: str) -> str:
        """A proxy on this line; the URL by which the client goes through it."""
        parts = urlsplit(url)
        proxy = await self._stack.enter_async_context(FaultProxy.open(parts.hostname or "", parts.port or 0))
        self.lines[client, server] = proxy
        return str(URL(url).with_port(proxy.port))

    async def _start_all(self) -> None:
        await asyncio.gather(*(self.start(name) for name in self._services))
