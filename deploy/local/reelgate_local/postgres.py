"""A PostgreSQL of our own: loopback only, its own port and data, safe to kill."""

import asyncio
import signal
from pathlib import Path

import asyncpg

from reelgate_local import datadir, ports, programs, readiness
from reelgate_local.errors import LocalError, PortTakenError, StartError
from reelgate_local.process import Child

# Durability stays on (fsync, synchronous_commit): the stack is there to be killed and looked at.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # TCP only: a socket's path may not exceed 107 bytes, a checkout's may
    "max_connections": "300",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_START_SECONDS = 60.0  # a crash recovery is part of it
_PORT_TRIES = 5


class PrivatePostgres:
    """One private server; port and data survive stop, kill and start."""

    name = "postgres"

    def __init__(self, home: Path, *, log: Path | None = None) -> None:
        """Prepare a server under `home`; nothing runs before start()."""
        programs_folder = programs.find_postgres()
        if programs_folder is None:
            raise LocalError("no PostgreSQL programs found on this machine")
        self._programs = programs_folder
        self._home = home
        self._account = programs.account("postgres", "nobody")
        self._port = 0
        self._settled = False  # has this port been ours once?
        self._child: Child | None = None
        self.data: Path | None = None
        self.log = log or home / "postgres.log"

    @property
    def url(self) -> str:
        """The database `reelgate`, as its owner."""
        return f"postgresql://reelgate@127.0.0.1:{self._port}/reelgate"

    @property
    def admin_url(self) -> str:
        """The maintenance database, as superuser: may create databases."""
        return f"postgresql://postgres@127.0.0.1:{self._port}/postgres"

    @property
    def pids(self) -> list[int]:
        """The processes to end when all else is lost."""
        return [self._child.pid] if self._child and self._child.pid else []

    async def start(self) -> None:
        """Start, for the first time or again; return when it takes connections."""
        if self.data is None:
            self._port = ports.choose()
            self.data = await self._create()
        for remaining in reversed(range(_PORT_TRIES)):
            try:
                await self._run(self.data)
            except PortTakenError:
                if self._settled or not remaining:
                    raise
                self._port = ports.choose()
            else:
                break
        if not self._settled:
            await self._create_database()
            self._settled = True

    async def wait(self) -> None:
        """Return when the server has ended, for whatever reason."""
        if self._child:
            await self._child.wait()

    async def stop(self) -> None:
        """Stop in good order: sessions are cut, data is written."""
        if self._child:
            await self._child.stop(signal.SIGINT, grace=20.0)  # "fast shutdown"

    async def kill(self) -> None:
        """Kill every process of the server at once, as a power cut would."""
        if self._child:
            await self._child.kill()

    async def destroy(self) -> None:
        """End it as fast as it can and remove its data: nothing of it is left."""
        if self._child:
            # "Immediate shutdown": no data is saved, but its processes are still reaped by their parent.
            await self._child.stop(signal.SIGQUIT, grace=5.0)
        if self.data:
            datadir.remove(self.data)
        self.data, self._settled = None, False

    async def _create(self) -> Path:
        folder = datadir.make(self._home, "postgres", self._account)
        child = self._program(
            "initdb",
            *("--pgdata", str(folder / "data"), "--username", "postgres", "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
            folder=folder,
        )
        child.spawn()
        try:
            code = await child.wait()
        except asyncio.CancelledError:
            await child.kill()
            datadir.remove(folder)
            raise
        if code != 0:
            datadir.remove(folder)
            raise StartError("initdb", f"ended with exit code {code}", self.log)
        return folder

    async def _run(self, folder: Path) -> None:
        settings = {**_SETTINGS, "port": str(self._port)}
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        self._child = self._program("postgres", "-D", str(folder / "data"), *options, folder=folder)
        self._child.spawn()

        async def probe() -> bool:
            return await readiness.postgres_answers(self.admin_url)

        try:
            await readiness.until_ready("postgres", self._child, probe, port=self._port, seconds=_START_SECONDS)
        except (LocalError, asyncio.CancelledError):
            await self.kill()
            raise

    async def _create_database(self) -> None:
        connection = await asyncpg.connect(self.admin_url, ssl=False)
        try:
            await connection.execute("CREATE ROLE reelgate LOGIN")
            await connection.execute("CREATE DATABASE reelgate OWNER reelgate")
        finally:
            await connection.close()

    def _program(self, name: str, *arguments: str, folder: Path) -> Child:
        return Child(
            command=[str(self._programs / name), *arguments],
            # None of the caller's PG* variables: they would reach into our server.
            env={"PATH": f"{self._programs}:/usr/bin:/bin", "LC_ALL": "C", "HOME": str(folder)},
            cwd=folder,
            log=self.log,
            account=self._account,
        )
