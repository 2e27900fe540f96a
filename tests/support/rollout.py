"""A gateway whose processes run two releases at once: this tree's, and the one before, out of git."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
from gateway import Gateway
from rig import QUICK, SERVICES, Servers
from yarl import URL

from reelgate_local import commandline, ports
from reelgate_local.layout import CHECKOUT
from reelgate_local.service import Service

PREVIOUS = (CHECKOUT / "deploy" / "previous-release").read_text(encoding="utf-8").strip()
OLD = tuple(f"old-{service}" for service in SERVICES)
NEW = tuple(f"new-{service}" for service in SERVICES)

_PACKAGES = ("libs/common", "libs/cli", *(f"services/{service}" for service in SERVICES))
# Each takes a few seconds: nothing that only a deadline ends.
_SCENARIOS = ("ok", "dup-callback", "lost-callback", "throttle", "policy", "refuse-422")


class NotHere(Exception):
    """The release before is not in this checkout's history; the message says why."""


def unpack_previous(folder: Path) -> Path:
    """The sources of the release before, laid out in this folder."""
    archive = subprocess.run(
        ["git", "archive", PREVIOUS, "--", "libs", "services"], cwd=CHECKOUT, capture_output=True, check=False
    )
    if archive.returncode != 0:
        raise NotHere(f"git has no {PREVIOUS}, the commit in deploy/previous-release: {archive.stderr.decode()}")
    subprocess.run(["tar", "--extract", "--directory", folder], input=archive.stdout, check=True)
    return folder


def old_code(tree: Path) -> dict[str, str]:
    """What makes a process import the old packages: this comes before what is installed, which is this tree."""
    return {"PYTHONPATH": os.pathsep.join(str(tree / package) for package in _PACKAGES)}


class Rollout(Gateway):
    """Processes named by release and service, such as `old-api`. They share everything but their code."""

    def __init__(self, servers: Servers, database: str, old_tree: Path) -> None:
        self._home = servers.home / URL(database).name
        port = {name: ports.choose() for name in (*OLD, *NEW, "simulator")}
        shared = {
            **QUICK,
            "DATABASE_URL": database,
            "AMQP_URL": servers.rabbit.url,
            "KIE_AI_API_ENDPOINT": f"http://127.0.0.1:{port['simulator']}",
            "KIE_AI_API_KEY": "simulated",
            "KIE_WEBHOOK_HMAC_KEY": "signed",
        }
        # Coverage would look for the old files here.
        plain = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
        # What Kie.ai says about the calls of one release comes to the other, if it runs.
        self._environ = {
            "old": {**plain, **shared, **old_code(old_tree), **_public(port["new-callback"])},
            "new": {**os.environ, **shared, **_public(port["old-callback"])},
        }
        self._services = {name: self._service(name, port[name]) for name in port}
        self.env = shared | {"SIMULATOR_URL": shared["KIE_AI_API_ENDPOINT"]}
        self.sent: dict[str, str] = {}  # every job there is -> its scenario

    def _service(self, name: str, port: int) -> Service:
        release, _, service = name.rpartition("-")
        env = self._environ[release or "new"]
        return Service(service, port=port, env=env, cwd=CHECKOUT, log=self._home / f"{name}.log")

    @classmethod
    @asynccontextmanager
    async def open(cls, servers: Servers, old_tree: Path) -> AsyncIterator["Rollout"]:
        """On a database and with queues as the old release makes them; only the simulator runs."""
        rollout = cls(servers, await _new_database(servers), old_tree)
        try:
            await rollout.migrate("old")
            await rollout.run()
            yield rollout
        finally:
            await asyncio.gather(*(service.stop() for service in rollout._services.values()))

    async def migrate(self, release: str) -> None:
        """`reelgate migrate`, as one of the releases has it."""
        env, log = self._environ[release], self._home / "migrate.log"
        await commandline.migrate(env, CHECKOUT, log)
        if "API_KEY" not in self.env:
            self.env["API_KEY"] = await commandline.create_key(env, CHECKOUT, log)

    async def run(self, *wanted: str) -> None:
        """Stop and start processes until exactly these run, and are ready."""
        wanted = (*wanted, "simulator")
        missing = [self._services[name] for name in wanted if not self._services[name].pids]
        for service in missing:
            service.spawn()
        async with httpx.AsyncClient(trust_env=False) as client:
            await asyncio.gather(*(service.ready(client) for service in missing))
        await asyncio.gather(*(service.stop() for name, service in self._services.items() if name not in wanted))

    @property
    def running(self) -> set[str]:
        """The processes that are there."""
        return {name for name, service in self._services.items() if service.pids} - {"simulator"}

    async def send(self, api: str) -> None:
        """Have this api accept jobs of every kind."""
        self.env["API_URL"] = self._services[api].url
        self.sent |= await self.mixed_jobs(len(_SCENARIOS), _SCENARIOS)

    def errors(self) -> set[str]:
        """What any process said was wrong. What a poll or a repeat heals would not be seen else."""
        lines = [line for log in self._home.glob("*.log") for line in _lines(log)]
        told = {line for line in lines if line.startswith("{") and json.loads(line)["level"] in ("error", "critical")}
        return told | {line for line in lines if line.startswith("Traceback")}

    def log_ends(self) -> str:
        """What every process said last."""
        logs = sorted(self._home.glob("*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-4000:]}" for log in logs)


def _lines(log: Path) -> list[str]:
    lines = log.read_text(errors="replace").splitlines()
    if not log.name.startswith("old-"):
        return lines
    # The release before calls its first look at a table that changed a crash; the next look is good.
    return [line for line in lines if "InvalidCachedStatementError" not in line]


def _public(port: int) -> dict[str, str]:
    return {"PUBLIC_BASE_URL": f"http://127.0.0.1:{port}"}


async def _new_database(servers: Servers) -> str:
    name = f"rollout_{uuid4().hex[:8]}"
    connection = await asyncpg.connect(servers.postgres.admin_url)
    try:
        await connection.execute(f'CREATE DATABASE {name} OWNER "{URL(servers.postgres.url).user}"')
    finally:
        await connection.close()
    return str(URL(servers.postgres.url).with_path(f"/{name}"))
