"""A RabbitMQ of our own: loopback only, its own node, ports, port mapper and data, safe to kill."""

import asyncio
import os
import secrets
from pathlib import Path

from reelgate_local import broker_files, datadir, ports, programs, readiness
from reelgate_local.errors import LocalError, PortTakenError
from reelgate_local.process import Child

_START_SECONDS = 120.0  # Erlang is slow to boot on a small machine
_PORT_TRIES = 5


class PrivateRabbit:
    """One private broker; port and data survive stop, kill and start."""

    name = "rabbitmq"

    def __init__(self, home: Path, *, vhosts: tuple[str, ...] = (), log: Path | None = None) -> None:
        """Prepare a broker with vhost `reelgate` and these besides; nothing runs before start()."""
        script, epmd = programs.find_rabbitmq(), programs.find_epmd()
        if script is None or epmd is None:
            raise LocalError("no RabbitMQ programs found on this machine")
        self._script, self._epmd_program = script, epmd
        self._home = home
        self._vhosts = (broker_files.VHOST, *vhosts)
        self._account = programs.account("rabbitmq", "nobody")
        self._password = secrets.token_hex(8)
        self._node = f"reelgate-{secrets.token_hex(4)}@localhost"
        self._port = self._dist_port = self._epmd_port = 0
        self._settled = False
        self._child: Child | None = None
        self._epmd: Child | None = None
        self.data: Path | None = None
        self.log = log or home / "rabbitmq.log"

    @property
    def url(self) -> str:
        """The vhost `reelgate`, as the one user, who may do everything."""
        return self.vhost_url(broker_files.VHOST)

    def vhost_url(self, vhost: str) -> str:
        """The same user in another vhost."""
        return f"amqp://{broker_files.USER}:{self._password}@127.0.0.1:{self._port}/{vhost}"

    @property
    def pids(self) -> list[int]:
        """The processes to end when all else is lost."""
        return [child.pid for child in (self._child, self._epmd) if child and child.pid]

    async def start(self) -> None:
        """Start, for the first time or again; return when it speaks AMQP."""
        if self.data is None:
            self._choose_ports()
            self.data = datadir.make(self._home, "rabbitmq", self._account)
        for remaining in reversed(range(_PORT_TRIES)):
            self._write_files(self.data)
            try:
                await self._run(self.data)
            except PortTakenError:
                if self._settled or not remaining:
                    raise
                self._choose_ports()
            else:
                break
        self._settled = True

    async def wait(self) -> None:
        """Return when the broker has ended, for whatever reason."""
        if self._child:
            await self._child.wait()

    async def stop(self) -> None:
        """Stop in good order."""
        if self._child:
            await self._child.stop(grace=30.0)
        await self._stop_epmd()

    async def kill(self) -> None:
        """Kill every process of the broker at once, as a power cut would."""
        if self._child:
            await self._child.kill()
        await self._stop_epmd()

    async def control(self, *words: str) -> str:
        """Run rabbitmqctl on it, for what only an operator can do; what it printed."""
        if self.data is None:
            raise LocalError("the broker was never started")
        process = await asyncio.create_subprocess_exec(
            str(self._script.with_name("rabbitmqctl")),
            *("--quiet", "--node", self._node, *words),
            env=self._environment(self.data),
            cwd=self.data,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            user=self._account.uid if self._account else None,
            group=self._account.gid if self._account else None,
        )
        said, _ = await process.communicate()
        if process.returncode != 0:
            raise LocalError(f"rabbitmqctl {words[0]}: {said.decode(errors='replace').strip()}")
        return said.decode(errors="replace").strip()

    async def destroy(self) -> None:
        """Kill it and remove its data: nothing of it is left."""
        await self.kill()
        if self.data:
            datadir.remove(self.data)
        self.data, self._settled = None, False

    async def _stop_epmd(self) -> None:
        if self._epmd:
            await self._epmd.kill()

    def _choose_ports(self) -> None:
        self._port = ports.choose()
        self._dist_port = ports.choose(avoid={self._port})
        self._epmd_port = ports.choose(avoid={self._port, self._dist_port})

    def _write_files(self, folder: Path) -> None:
        definitions = broker_files.definitions(self._vhosts, self._password)
        files = {
            "rabbitmq.conf": broker_files.config(f"127.0.0.1:{self._port}", folder / "definitions.json"),
            "definitions.json": definitions,
            "enabled_plugins": "[].\n",
            "rabbitmq-env.conf": "",  # read instead of the machine's own
        }
        for name, text in files.items():
            datadir.write(folder / name, text, self._account)
        cookie = folder / ".erlang.cookie"
        if not cookie.exists():
            datadir.write(cookie, secrets.token_hex(16), self._account, mode=0o400)

    async def _run(self, folder: Path) -> None:
        env = self._environment(folder)
        # In the foreground and ours, or Erlang would leave a daemon behind that nobody stops.
        if self._epmd is None or self._epmd.pid is None:
            address = ("-address", "127.0.0.1", "-port", str(self._epmd_port))
            self._epmd = self._program([self._epmd_program, *address], env, folder)
            self._epmd.spawn()
        self._child = self._program([str(self._script)], env, folder)
        self._child.spawn()

        async def probe() -> bool:
            return await readiness.amqp_answers(self._port)

        try:
            await readiness.until_ready("rabbitmq", self._child, probe, port=self._port, seconds=_START_SECONDS)
        except (LocalError, asyncio.CancelledError):
            await self.kill()
            raise

    def _program(self, command: list[str], env: dict[str, str], folder: Path) -> Child:
        return Child(command=command, env=env, cwd=folder, log=self.log, account=self._account)

    def _environment(self, folder: Path) -> dict[str, str]:
        """All the broker sees: none of the caller's RABBITMQ_* and ERL_* variables."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "rabbitmq.pid"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP_BYTES": "0",
            # The script then becomes the broker instead of guarding it: no shell between it and signals.
            "RUNNING_UNDER_SYSTEMD": "true",
        }
