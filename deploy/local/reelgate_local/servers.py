"""The database and the broker: given, private, freshly installed or in Docker, in this order."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from reelgate_local import apt, programs
from reelgate_local.errors import LocalError, together
from reelgate_local.postgres import PrivatePostgres
from reelgate_local.rabbit import PrivateRabbit

DATABASE, BROKER = "DATABASE_URL", "AMQP_URL"


class Server(Protocol):
    """A server of ours: its port and data survive stop, kill and start."""

    name: str

    @property
    def url(self) -> str:
        """Where clients connect, with all they need."""

    @property
    def pids(self) -> list[int]:
        """The processes to end when all else is lost."""

    @property
    def data(self) -> Path | None:
        """Its folder, when it keeps one."""

    async def start(self) -> None:
        """Return when it answers."""

    async def wait(self) -> None:
        """Return when it has ended."""

    async def stop(self) -> None:
        """Stop in good order."""

    async def kill(self) -> None:
        """Kill it at once."""

    async def destroy(self) -> None:
        """Leave nothing of it."""


class DatabaseServer(Server, Protocol):
    """A PostgreSQL of ours."""

    @property
    def admin_url(self) -> str:
        """The same server, as superuser."""


def install_missing(env: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Make sure that what `env` does not name can be started; raise saying what to install if not."""
    missing = _missing(env)
    if missing and apt.can_install():
        apt.install(list(missing), say)
        missing = _missing(env)
    if missing and not _docker_runs():
        raise LocalError(
            f"{' and '.join(missing.values())} not found: {_advice(missing)}, "
            f"start a Docker engine, or set {' and '.join(_setting(package) for package in missing)}"
        )


def database(env: Mapping[str, str], home: Path, *, log: Path | None = None) -> DatabaseServer | None:
    """A server to start, or None when the environment names one."""
    if env.get(DATABASE):
        return None
    if programs.find_postgres():
        return PrivatePostgres(home, log=log)
    from reelgate_local.containers import DockerPostgres  # noqa: PLC0415 - slow to load, seldom needed

    return DockerPostgres()


def broker(
    env: Mapping[str, str], home: Path, *, vhosts: tuple[str, ...] = (), log: Path | None = None
) -> Server | None:
    """A server to start, or None when the environment names one."""
    if env.get(BROKER):
        return None
    if programs.find_rabbitmq():
        return PrivateRabbit(home, vhosts=vhosts, log=log)
    from reelgate_local.containers import DockerRabbit  # noqa: PLC0415 - slow to load, seldom needed

    return DockerRabbit(vhosts=vhosts)


async def start_all(servers: list[Server]) -> None:
    """Start these side by side; when one fails, the others are ended too."""
    async with together() as group:
        for server in servers:
            group.create_task(server.start())


async def destroy_all(servers: list[Server]) -> None:
    """End these and remove their data."""
    await asyncio.gather(*(server.destroy() for server in servers))


def _missing(env: Mapping[str, str]) -> dict[str, str]:
    """Debian's package → the program's own name, of each server that is neither named nor here."""
    found = {}
    if not env.get(DATABASE) and not programs.find_postgres():
        found["postgresql"] = "PostgreSQL"
    if not env.get(BROKER) and not (programs.find_rabbitmq() and programs.find_epmd()):
        found["rabbitmq-server"] = "RabbitMQ"
    return found


def _advice(missing: Mapping[str, str]) -> str:
    if sys.platform == "darwin":
        brew = {"postgresql": "postgresql@17", "rabbitmq-server": "rabbitmq"}
        return f"run `brew install {' '.join(brew[package] for package in missing)}`"
    if Path("/etc/debian_version").exists():
        return f"run `sudo apt-get install {' '.join(missing)}`"
    return f"install {' and '.join(missing.values())}"


def _setting(package: str) -> str:
    return DATABASE if package == "postgresql" else BROKER


def _docker_runs() -> bool:
    from reelgate_local.containers import engine_runs  # noqa: PLC0415 - slow to load, seldom needed

    return engine_runs()
