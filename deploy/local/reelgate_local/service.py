"""One of the five processes: how it is started, found ready, and stopped."""

import sys
from pathlib import Path

import httpx

from reelgate_local import readiness
from reelgate_local.process import Child

_START_SECONDS = 60.0
_STOP_SECONDS = 15.0  # work in hand may end; what does not is safe to cut


class Service:
    """A process on a port that stays the same over restarts."""

    def __init__(self, name: str, *, port: int, env: dict[str, str], cwd: Path, log: Path) -> None:
        """Prepare `python -m reelgate_<name>`; nothing runs before spawn()."""
        self.name = name
        self.port = port
        self._child = Child(
            command=[sys.executable, "-m", f"reelgate_{name}"],
            env={"HTTP_HOST": "127.0.0.1", **env, "HTTP_PORT": str(port)},
            cwd=cwd,
            log=log,
        )

    @property
    def url(self) -> str:
        """Its address on this machine."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pids(self) -> list[int]:
        """The process that stands for it, while it runs."""
        return [self._child.pid] if self._child.pid else []

    def spawn(self) -> None:
        """Start the process, for the first time or again."""
        self._child.spawn()

    async def ready(self, client: httpx.AsyncClient) -> None:
        """Return when it calls itself ready."""

        async def probe() -> bool:
            return await readiness.http_answers(client, f"{self.url}/readyz")

        await readiness.until_ready(self.name, self._child, probe, port=self.port, seconds=_START_SECONDS)

    async def wait(self) -> None:
        """Return when it has ended."""
        await self._child.wait()

    async def stop(self) -> None:
        """Ask it to end; insist after a while."""
        await self._child.stop(grace=_STOP_SECONDS)
