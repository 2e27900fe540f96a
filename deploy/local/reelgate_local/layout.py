"""A stack's name and where its files are."""

import re
from dataclasses import dataclass
from pathlib import Path

from reelgate_local.errors import LocalError

# The package runs from the checkout it manages (it is installed editable), wherever it is called from.
CHECKOUT = Path(__file__).resolve().parents[3]
DEFAULT = "default"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")


@dataclass(frozen=True, slots=True)
class Stack:
    """One local stack: stacks of other names or checkouts share nothing with it."""

    name: str = DEFAULT
    root: Path = CHECKOUT

    def __post_init__(self) -> None:
        """Refuse a name that would not do as a folder."""
        if not _NAME.fullmatch(self.name):
            raise LocalError(f"STACK={self.name!r}: use lower-case letters, digits and dashes")

    @property
    def home(self) -> Path:
        """All that is this stack's alone."""
        return self.root / ".local" / self.name

    @property
    def env_file(self) -> Path:
        """What others read to find the running stack."""
        folder = self.root / ".local" if self.name == DEFAULT else self.home
        return folder / "stack.env"

    @property
    def record(self) -> Path:
        """What is running, for whoever has to clean up."""
        return self.home / "running.json"

    @property
    def lock(self) -> Path:
        """Held by the supervisor as long as it lives."""
        return self.home / "lock"

    @property
    def logs(self) -> Path:
        """The output of the last run; it outlives the stack."""
        return self.home / "logs"

    def log(self, part: str) -> Path:
        """Where this part's output goes."""
        return self.logs / f"{part}.log"


def all_stacks(root: Path = CHECKOUT) -> list[Stack]:
    """Every stack that left files in this checkout."""
    folders = sorted(path for path in (root / ".local").glob("*") if path.is_dir())
    return [Stack(path.name, root) for path in folders if _NAME.fullmatch(path.name)]
