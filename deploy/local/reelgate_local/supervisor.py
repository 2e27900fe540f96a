"""The process behind a running stack: brings all parts up, keeps them up, takes them down."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable

import httpx

from reelgate_local import commandline, ports, servers
from reelgate_local.errors import LocalError, PortTakenError, together
from reelgate_local.layout import Stack
from reelgate_local.record import Record
from reelgate_local.service import Service
from reelgate_local.settings import Addresses, StackFile, for_services

_SERVICES = ("api", "submitter", "callback", "reconciler")
_SIMULATOR = "simulator"
_GUIDE_PORT = 3000  # where the integration guide's script looks
_PORT_TRIES = 3
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.2, 5.0
_STEADY_SECONDS = 10.0  # up this long, a part has recovered: its next death starts the backoff anew
_RECORD_SECONDS = 0.1
# RabbitMQ keeps the names of its quorum queues in a file it writes half a second late: killed before that,
# a new queue comes back without a leader. Whoever kills it after `up` shall not meet this.
_SETTLE_SECONDS = 2.0


class Supervisor:
    """Owner of one stack's processes."""

    def __init__(self, stack: Stack, caller: dict[str, str], say: Callable[[str], None]) -> None:
        """Prepare; `say` is told each step."""
        self._stack, self._caller, self._say = stack, caller, say
        self._database = servers.database(caller, stack.home, log=stack.log("postgres"))
        self._broker = servers.broker(caller, stack.home, log=stack.log("rabbitmq"))
        self._servers = [server for server in (self._database, self._broker) if server]
        self._services: dict[str, Service] = {}
        self._file: StackFile | None = None

    async def run(self, when_up: Callable[[], None]) -> None:
        """Bring the stack up, say so, and keep it up until cancelled; then nothing of it is left."""
        recording = asyncio.create_task(self._keep_record())
        try:
            await self._bring_up()
            when_up()
            await self._keep_up()
        finally:
            await self._take_down()
            recording.cancel()
            self._stack.record.unlink(missing_ok=True)

    async def _bring_up(self) -> None:
        if self._servers:
            self._say(f"starting {' and '.join(server.name for server in self._servers)}")
        await servers.start_all(self._servers)
        for remaining in reversed(range(_PORT_TRIES)):
            addresses, env = self._plan()
            if self._file is None:
                self._file = await self._prepare(addresses, env)
            settled = asyncio.create_task(asyncio.sleep(_SETTLE_SECONDS if self._broker else 0))
            try:
                await self._start_services()
                await settled
            except PortTakenError:
                if not remaining:
                    raise
                await self._stop_services()
                self._file = None
            else:
                break
        self._write_file()

    def _plan(self) -> tuple[Addresses, dict[str, str]]:
        """Choose a port for each process, and from the ports the environment they share."""
        names = [*_SERVICES] if self._caller.get("KIE_AI_API_ENDPOINT") else [*_SERVICES, _SIMULATOR]
        chosen: dict[str, int] = {}
        for name in names:
            preferred = _GUIDE_PORT if name == "api" else None
            chosen[name] = ports.choose(preferred, avoid=set(chosen.values()))
        addresses = Addresses(
            api=f"http://127.0.0.1:{chosen['api']}",
            callback=f"http://127.0.0.1:{chosen['callback']}",
            simulator=f"http://127.0.0.1:{chosen[_SIMULATOR]}" if _SIMULATOR in chosen else "",
            database=self._database.url if self._database else self._caller[servers.DATABASE],
            broker=self._broker.url if self._broker else self._caller[servers.BROKER],
        )
        env = for_services(self._caller, addresses)
        self._services = {
            name: Service(name, port=port, env=env, cwd=self._stack.root, log=self._stack.log(name))
            for name, port in chosen.items()
        }
        return addresses, env

    async def _prepare(self, addresses: Addresses, env: dict[str, str]) -> StackFile:
        """Create the schema and the keys; what others need to know is then complete but for process ids."""
        self._say("creating schema and keys")
        root, log = self._stack.root, self._stack.log("migrate")
        await commandline.migrate(env, root, log)
        user, admin = await asyncio.gather(
            commandline.create_key(env, root, log), commandline.create_key(env, root, log, admin=True)
        )
        return StackFile(
            api_url=addresses.api,
            callback_url=addresses.callback,
            simulator_url=addresses.simulator or env["KIE_AI_API_ENDPOINT"],
            database_url=addresses.database,
            amqp_url=addresses.broker,
            api_key=user,
            admin_key=admin,
            cron_secret=env["CRON_SECRET"],
        )

    async def _start_services(self) -> None:
        self._say(f"starting {', '.join(self._services)}")
        for service in self._services.values():
            service.spawn()
        async with httpx.AsyncClient(trust_env=False) as client, together() as group:
            for service in self._services.values():
                group.create_task(service.ready(client))

    async def _keep_up(self) -> None:
        async with asyncio.TaskGroup() as group:
            for service in self._services.values():
                group.create_task(self._keep_service(service))
            for server in self._servers:
                group.create_task(self._keep_server(server))

    async def _keep_service(self, service: Service) -> None:
        backoff = Backoff()
        while True:
            await service.wait()
            await backoff.pause()
            self._say(f"{service.name} died: starting it again")
            service.spawn()
            self._write_file()

    async def _keep_server(self, server: servers.Server) -> None:
        backoff = Backoff()
        while True:
            await server.wait()
            await backoff.pause()
            self._say(f"{server.name} died: starting it again")
            try:
                await server.start()
            except LocalError as failure:
                self._say(str(failure))

    async def _take_down(self) -> None:
        self._say("stopping")
        self._stack.env_file.unlink(missing_ok=True)
        await self._stop_services()
        await servers.destroy_all(self._servers)
        self._say("stopped")

    async def _stop_services(self) -> None:
        # The simulator last: work in hand may still need an answer.
        gateway = [service for name, service in self._services.items() if name != _SIMULATOR]
        await asyncio.gather(*(service.stop() for service in gateway))
        if simulator := self._services.get(_SIMULATOR):
            await simulator.stop()

    def _write_file(self) -> None:
        if self._file is None:
            return
        for name, service in self._services.items():
            setattr(self._file, f"pid_{name}", "".join(str(pid) for pid in service.pids))
        self._file.write(self._stack.env_file)

    async def _keep_record(self) -> None:
        """Write down what runs, as it changes: also a server that is only booting."""
        written: Record | None = None
        while True:
            pids = [pid for service in self._services.values() for pid in service.pids]
            pids += [pid for server in self._servers for pid in server.pids]
            record = Record.of(pids, [server.data for server in self._servers if server.data])
            if record != written:
                record.write(self._stack.record)
                written = record
            await asyncio.sleep(_RECORD_SECONDS)


class Backoff:
    """The pause before a restart: short at first, longer for a part that keeps dying."""

    def __init__(self) -> None:
        """Begin with the shortest."""
        self._seconds = _FIRST_BACKOFF
        self._last_start = time.monotonic()

    async def pause(self) -> None:
        """Wait the time that is due."""
        if time.monotonic() - self._last_start > _STEADY_SECONDS:
            self._seconds = _FIRST_BACKOFF
        await asyncio.sleep(self._seconds)
        self._seconds = min(self._seconds * 2, _LONGEST_BACKOFF)
        self._last_start = time.monotonic()


async def supervise(
    stack: Stack, caller: dict[str, str], say: Callable[[str], None], when_up: Callable[[], None]
) -> None:
    """Run a stack until SIGTERM or SIGINT; raise LocalError when it does not come up."""
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(Supervisor(stack, caller, say).run(when_up))

    def end_once() -> None:
        # Cancelled a second time, it would stop stopping.
        for sign in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sign, lambda: None)
        running.cancel()

    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, end_once)
    with contextlib.suppress(asyncio.CancelledError):
        await running
