"""The threat model names tests that there are."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = re.findall(r"^\| (.+) \|$", (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8"), re.MULTILINE)
THREATS = [row.split(" | ") for row in ROWS if row.count(" | ") == 3 and "`tests/" in row]


def test_there_are_threats():
    assert len(THREATS) > 20


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: f"{threat[0]} {threat[1]}")
def test_a_threat_has_a_control_and_a_test(threat):
    _, _, control, tests = threat
    named = re.findall(r"`([^`]+)`", tests)

    assert control
    assert named
    for name in named:
        file, _, test = name.partition("::")
        assert test, f"{name}: which test of it?"
        assert re.search(rf"^(?:async )?def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), name
