"""The figures in docs/performance.md: written between its markers from .local/bench.json, never by hand."""

import re
from collections.abc import Sequence
from typing import Any

import chart
from results import ROOT, Cell, as_goal, as_table, told

PAGE = ROOT / "docs" / "performance.md"
CHARTS = ROOT / "docs" / "performance"


def write(parts: dict[str, Any]) -> None:
    """Put what was found into the page, and its charts beside it. A part that was not measured stays as it is."""
    text = PAGE.read_text(encoding="utf-8")
    CHARTS.mkdir(exist_ok=True)
    for name, found in parts.items():
        tables = [as_table(table) for table in found["tables"]]
        is_drawn = any(table.drawn for table in tables)
        if is_drawn:
            (CHARTS / f"{name}.svg").write_text(chart.draw(tables), encoding="utf-8")
        text = fill(text, name, section(name, found, is_drawn=is_drawn))
    PAGE.write_text(text, encoding="utf-8")


def fill(text: str, name: str, body: str) -> str:
    """The text with this between the part's markers; unchanged where it has none."""
    pattern = re.compile(rf"(<!-- bench {name} -->\n).*?(<!-- /bench -->)", re.DOTALL)
    return pattern.sub(lambda found: f"{found[1]}\n{body}\n\n{found[2]}", text)


def section(name: str, found: dict[str, Any], *, is_drawn: bool) -> str:
    """A part's figures in Markdown, with the command that makes them."""
    machine = found["machine"]
    given = "".join(f"{key}={value} " for key, value in sorted(found["settings"].items()))
    told_by = (
        f"`{given}{found['command']}`, {found['at'][:10]}: {machine['cores']} cores ({machine['processor']}), "
        f"{machine['servers']}, Python {machine['python']}, load {told(machine['busy'])} before it began."
    )
    tables = [as_table(table) for table in found["tables"]]
    blocks = [told_by, *(f"**{table.title}**\n\n{_markdown(table.columns, table.rows)}" for table in tables)]
    if found["goals"]:
        goals = [
            (goal.name, goal.value, goal.wanted, "yes" if goal.is_met else "**no**")
            for goal in map(as_goal, found["goals"])
        ]
        blocks.append(_markdown(("Wanted", "value", "bound", "met"), goals))
    if is_drawn:
        blocks.append(f"![{name}](performance/{name}.svg)")
    return "\n\n".join(blocks)


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    lines = [_line(columns), "|---" * len(columns) + "|", *(_line([told(cell) for cell in row]) for row in rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
