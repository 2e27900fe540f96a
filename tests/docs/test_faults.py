"""docs/faults.md names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")


def test_every_fault_names_tests_that_exist():
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"^(?:async )?def (test_\w+)\(", sources, re.MULTILINE))
    named = set(re.findall(r"`(test_\w+)`", DOCUMENT))

    assert named - there == set()


def test_every_test_that_breaks_whole_processes_is_named():
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests" / "chaos").glob("test_*.py"))
    there = set(re.findall(r"^async def (test_\w+)\(", sources, re.MULTILINE))

    assert there - set(re.findall(r"`(test_\w+)`", DOCUMENT)) == set()


def test_every_place_it_names_exists():
    assert [name for name in re.findall(r"`(tests/[\w./]+)`", DOCUMENT) if not (ROOT / name).exists()] == []
