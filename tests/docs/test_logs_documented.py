"""Every log line is one static event with fields, and docs/logs.md knows those an operator looks for."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
SOURCES = sorted(
    path
    for folder in ("libs/common", "services")
    for path in (ROOT / folder).rglob("*.py")
    if "simulator" not in path.parts[-2]
)


def calls(path):
    """(line, level, first argument, further positional arguments) of each call of a logger."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS):
            continue
        logger = node.func.value
        made_here = isinstance(logger, ast.Call) and ast.unparse(logger.func) == "structlog.get_logger"
        if made_here or (isinstance(logger, ast.Name) and logger.id in {"log", "logger"}):
            yield node.lineno, node.func.attr, node.args[0], node.args[1:]


FOUND = [(path, *call) for path in SOURCES for call in calls(path)]
EVENTS = {event.value: level for _, _, level, event, _ in FOUND if isinstance(event, ast.Constant)}


def test_an_event_is_a_static_name_and_everything_else_a_field():
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for path, line, _, event, rest in FOUND
        if rest or not (isinstance(event, ast.Constant) and re.fullmatch(r"[a-z]+(_[a-z]+)+", str(event.value)))
    ]

    assert len(FOUND) > 50
    assert wrong == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_nothing_is_said_past_the_logs(path):
    printed = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printed == []


def test_the_page_lists_exactly_the_events_that_are_logged_above_info_and_no_unknown_one():
    page = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))

    assert listed <= set(EVENTS)
    assert {name for name, level in EVENTS.items() if level in {"error", "exception", "critical", "warning"}} <= listed
