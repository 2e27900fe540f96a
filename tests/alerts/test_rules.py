"""Prometheus' own tool reads everything that is written for it."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "observability" / "prometheus"

pytestmark = pytest.mark.usefixtures("promtool")


def promtool(*words):
    done = subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


async def test_the_configuration_and_its_rules_are_read():
    promtool("check", "config", PROMETHEUS / "prometheus.yml")


async def test_the_rules_do_what_their_tests_say():
    promtool("test", "rules", *sorted(Path(__file__).parent.glob("*_test.yml")))


async def test_what_runbooks_tell_operators_to_ask_is_promql(tmp_path):
    """Each is checked as a rule of its own."""
    pages = (page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs" / "runbooks").glob("*.md")))
    asked = [code for page in pages for code in re.findall(r"`([^`\n]+)`", page) if re.search(r"\breelgate_\w", code)]
    rules = [{"record": f"asked:{n}", "expr": expression} for n, expression in enumerate(asked)]
    file = tmp_path / "asked.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}), encoding="utf-8")

    assert len(rules) > 20
    promtool("check", "rules", file)
