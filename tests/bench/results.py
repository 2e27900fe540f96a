"""What a part of the benchmarks found, and how it is told: tables in the terminal, and .local/bench.json."""

import json
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich import table as rich
from rich.console import Console

from reelgate_local import programs

ROOT = Path(__file__).parents[2]
FILE = ROOT / ".local" / "bench.json"

Cell = str | float | None


@dataclass(frozen=True)
class Table:
    """Rows of figures; the first cell of each is its name."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    drawn: str | None = None  # the column that the chart shows


@dataclass(frozen=True)
class Goal:
    """A figure that somebody wanted to be so, and whether it is."""

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def is_met(self) -> bool:
        """Whether the value lies within the bounds."""
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    @property
    def wanted(self) -> str:
        """The bounds, for people."""
        return f"≥ {told(self.at_least)}" if self.at_least is not None else f"≤ {told(self.at_most)}"


@dataclass(frozen=True)
class Outcome:
    """All that a part found."""

    tables: list[Table]
    goals: list[Goal]


def told(cell: Cell) -> str:
    """A figure as people read it: three digits that count."""
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return cell
    digits = 0 if abs(cell) >= 100 or cell == round(cell) else 1 if abs(cell) >= 10 else 2 if abs(cell) >= 0.1 else 4
    return f"{cell:,.{digits}f}"


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"model name\s*: (.*)", lines)
    return {
        "cores": os.cpu_count(),
        "processor": model[1] if model else platform.processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "servers": " and ".join(_servers()),
        "busy": os.getloadavg()[0],  # above the cores: somebody else was at work too
    }


def _servers() -> list[str]:
    """PostgreSQL and RabbitMQ with their versions, as far as their programs are here."""
    found = []
    if folder := programs.find_postgres():
        told_by = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True)
        found.append(f"PostgreSQL {told_by.stdout.split()[2]}")
    if script := programs.find_rabbitmq():
        versions = script.parents[1].glob("lib/rabbitmq_server-*")
        found.append(
            max((folder.name.replace("rabbitmq_server-", "RabbitMQ ") for folder in versions), default="RabbitMQ")
        )
    return found


def show(part: str, outcome: Outcome) -> None:
    """Print it."""
    console = Console()
    for table in outcome.tables:
        shown = rich.Table(*table.columns, title=f"{part}: {table.title}", title_justify="left")
        for row in table.rows:
            shown.add_row(*(told(cell) for cell in row))
        console.print(shown)
    if outcome.goals:
        shown = rich.Table("wanted", "value", "bound", "met", title=f"{part}: goals", title_justify="left")
        for goal in outcome.goals:
            shown.add_row(goal.name, told(goal.value), goal.wanted, "yes" if goal.is_met else "no")
        console.print(shown)


def read() -> dict[str, Any]:
    """What earlier runs found, by part."""
    return dict(json.loads(FILE.read_text(encoding="utf-8"))) if FILE.exists() else {}


def keep(part: str, outcome: Outcome, *, command: str, found_on: dict[str, Any]) -> None:
    """Put a part's figures beside those of the other parts."""
    FILE.parent.mkdir(exist_ok=True)
    given = {name: value for name, value in os.environ.items() if name.startswith("BENCH_")}
    told_on = {"at": datetime.now(UTC).isoformat(timespec="minutes"), "command": command, "settings": given}
    goals = [asdict(goal) | {"met": goal.is_met} for goal in outcome.goals]
    found = {**told_on, "machine": found_on, "tables": [asdict(table) for table in outcome.tables], "goals": goals}
    FILE.write_text(json.dumps(read() | {part: found}, indent=2, ensure_ascii=False), encoding="utf-8")


def as_table(table: dict[str, Any]) -> Table:
    """A table as it was kept."""
    return Table(table["title"], tuple(table["columns"]), table["rows"], table["drawn"])


def as_goal(goal: dict[str, Any]) -> Goal:
    """A goal as it was kept."""
    return Goal(goal["name"], goal["value"], goal["at_least"], goal["at_most"])
