"""The same two servers as containers, for machines with an engine and no server programs."""

import asyncio
import secrets
from pathlib import Path
from typing import Any, cast

import asyncpg
from docker.errors import DockerException  # type: ignore[import-untyped]
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient

from reelgate_local import broker_files, ports, readiness
from reelgate_local.errors import StartError

_POSTGRES_IMAGE = "postgres:17-alpine"
_RABBITMQ_IMAGE = "rabbitmq:4-alpine"
_AMQP_PORT = 5672
_DEFINITIONS = "/etc/rabbitmq/definitions.json"
_START_SECONDS = 120.0
_POLL_SECONDS = 0.5


def engine_runs() -> bool:
    """Whether a Docker engine answers."""
    try:
        return bool(DockerClient().client.ping())
    except DockerException:
        return False


class _Container:
    """What both servers share: one container on a port of ours, that survives kill and start."""

    name = ""

    def __init__(self, inner_port: int) -> None:
        self._inner_port = inner_port
        self._port = 0
        self._container: DockerContainer | None = None

    @property
    def pids(self) -> list[int]:
        """None of ours: testcontainers' reaper removes containers whose owner has gone."""
        return []

    @property
    def data(self) -> Path | None:
        """The container keeps it."""
        return None

    async def start(self) -> None:
        """Start, for the first time or again; return when the server answers."""
        if self._container is None:
            self._port = ports.choose()
            self._container = self._configured()
            # Published on loopback only, which testcontainers' own type does not foresee.
            published = cast("dict[str, Any]", self._container.ports)
            published[f"{self._inner_port}/tcp"] = ("127.0.0.1", self._port)
        await asyncio.to_thread(self._launch, self._container)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await readiness.until(self._answers, self._check)
        except TimeoutError:
            raise StartError(self.name, f"was not ready after {_START_SECONDS:.0f} s") from None

    async def wait(self) -> None:
        """Return when the container has stopped."""
        while await asyncio.to_thread(self._runs):  # noqa: ASYNC110 - the engine wakes nobody
            await asyncio.sleep(_POLL_SECONDS)

    async def stop(self) -> None:
        """Stop in good order."""
        if self._container:
            await asyncio.to_thread(self._container.get_wrapped_container().stop)

    async def kill(self) -> None:
        """Kill it at once."""
        if self._container is None:
            return
        if await asyncio.to_thread(self._runs):
            await asyncio.to_thread(self._container.get_wrapped_container().kill)

    async def destroy(self) -> None:
        """Remove the container and its data."""
        if self._container:
            await asyncio.to_thread(self._container.stop)
        self._container = None

    def _launch(self, container: DockerContainer) -> None:
        if container._container is None:  # noqa: SLF001 - the only way to ask whether it was made
            container.start()
        else:
            container.get_wrapped_container().start()

    def _configured(self) -> DockerContainer:
        raise NotImplementedError

    async def _answers(self) -> bool:
        raise NotImplementedError

    def _runs(self) -> bool:
        if self._container is None:
            return False
        self._container.reload()
        return self._container.status == "running"

    def _check(self) -> None:
        if not self._runs():
            raise StartError(self.name, "ended: see `docker logs`")


class DockerPostgres(_Container):
    """PostgreSQL in a container."""

    name = "postgres"

    def __init__(self) -> None:
        super().__init__(5432)
        self._has_database = False

    @property
    def url(self) -> str:
        """The database `reelgate`, as its owner."""
        return f"postgresql://reelgate@127.0.0.1:{self._port}/reelgate"

    @property
    def admin_url(self) -> str:
        """The maintenance database, as superuser."""
        return f"postgresql://postgres@127.0.0.1:{self._port}/postgres"

    async def start(self) -> None:
        """Start; the first time, create role and database."""
        await super().start()
        if not self._has_database:
            connection = await asyncpg.connect(self.admin_url, ssl=False)
            await connection.execute("CREATE ROLE reelgate LOGIN")
            await connection.execute("CREATE DATABASE reelgate OWNER reelgate")
            await connection.close()
            self._has_database = True

    def _configured(self) -> DockerContainer:
        container = DockerContainer(_POSTGRES_IMAGE, command="postgres -c max_connections=300")
        return container.with_env("POSTGRES_HOST_AUTH_METHOD", "trust")

    async def _answers(self) -> bool:
        return await readiness.postgres_answers(self.admin_url)


class DockerRabbit(_Container):
    """RabbitMQ in a container."""

    name = "rabbitmq"

    def __init__(self, *, vhosts: tuple[str, ...] = ()) -> None:
        super().__init__(_AMQP_PORT)
        self._vhosts = (broker_files.VHOST, *vhosts)
        self._password = secrets.token_hex(8)

    @property
    def url(self) -> str:
        """The vhost `reelgate`, as the one user, who may do everything."""
        return f"amqp://{broker_files.USER}:{self._password}@127.0.0.1:{self._port}/{broker_files.VHOST}"

    def _configured(self) -> DockerContainer:
        definitions = broker_files.definitions(self._vhosts, self._password)
        config = broker_files.config(f"0.0.0.0:{_AMQP_PORT}", Path(_DEFINITIONS))
        return (
            DockerContainer(_RABBITMQ_IMAGE, hostname="reelgate")  # the node's name, kept over restarts
            .with_copy_into_container(config.encode(), "/etc/rabbitmq/conf.d/90-reelgate.conf", 0o644)
            .with_copy_into_container(definitions.encode(), _DEFINITIONS, 0o644)
        )

    async def _answers(self) -> bool:
        return await readiness.amqp_answers(self._port)
