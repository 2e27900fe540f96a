"""What can keep the local stack from running, each with words a person can act on."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class LocalError(Exception):
    """The stack cannot go on; the text says why and, where there is one, the way out."""


class StartError(LocalError):
    """One part did not come up; its log says more."""

    def __init__(self, part: str, reason: str, log: Path | None = None) -> None:
        """Name the part, why it is not up, and where it wrote its last words."""
        super().__init__(f"{part} {reason}")
        self.part = part
        self.log = log


class PortTakenError(StartError):
    """Someone took the port between choosing it and binding it: another port will do."""


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log, without colours; empty when there is none."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return _COLOURS.sub("", "\n".join(text.splitlines()[-lines:]))


@asynccontextmanager
async def together() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group that fails with the first LocalError of its tasks, not with a group of them."""
    failed: ExceptionGroup[LocalError] | None = None
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except* LocalError as failures:
        failed = failures
    if failed:  # out here: early Python 3.11 wraps what is raised in there into a group again
        raise failed.exceptions[0] from None
