"""What the documents name exists: links, paths, targets, tables, states. And they keep to their form."""

import re
import subprocess
from pathlib import Path

import pytest

from reelgate_api.openapi import document
from reelgate_common import topology
from reelgate_common.domain.job import FOLLOWERS

ROOT = Path(__file__).parents[2]
_OTHERS = {".venv", ".local", ".git", "node_modules"}
DOCUMENTS = sorted(path for path in ROOT.rglob("*.md") if not _OTHERS & set(path.relative_to(ROOT).parts))
ADRS = sorted((ROOT / "docs" / "adr").glob("*.md"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
each_adr = pytest.mark.parametrize("path", ADRS, ids=lambda path: path.stem)

# A path in backquotes: something with a slash, or a file with one of our endings.
_PATH = re.compile(r"`([\w./-]+/[\w./-]*|[\w.-]+\.(?:py|sql|toml|lock|yml|yaml|json|md))`")
_SOURCES = ("libs", "services", "deploy", "tests", "docs")
FILES = {
    f"/{path.relative_to(ROOT)}"
    for folder in _SOURCES
    for path in (ROOT / folder).rglob("*")
    if "__pycache__" not in path.parts
}


def section(text, heading):
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def anchors(path):
    """The fragments a heading can be linked by, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def exists(name):
    """Whether a named path is in the checkout. Sources may be named by the end of their path."""
    made_at_run_time = name.startswith(".local/")
    is_url = name.startswith("/")
    end = f"/{name.rstrip('/')}"
    return made_at_run_time or is_url or (ROOT / name).exists() or any(path.endswith(end) for path in FILES)


@each_document
def test_every_link_leads_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, fragment = target.partition("#")
        found = (path.parent / file) if file else path
        assert found.exists(), target
        assert not fragment or fragment in anchors(found), target


@pytest.mark.parametrize("path", [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "deploy" / "README.md", *ADRS])
def test_every_path_named_exists(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for name in _PATH.findall(text):
        assert exists(name), name


def test_the_readme_has_its_length():
    assert 80 <= len(README.splitlines()) <= 140


@each_adr
def test_a_decision_has_its_form(path):
    text = path.read_text(encoding="utf-8")

    assert text.startswith(f"# {path.name[:4]}: ")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
        "Context",
        "Decision",
        "Consequences",
        "Alternatives",
        "References",
    ]
    assert len(text.splitlines()) <= 70


def test_decisions_are_numbered_without_a_gap():
    assert [path.name[:4] for path in ADRS] == [f"{number:04}" for number in range(1, len(ADRS) + 1)]


def test_every_make_target_is_in_the_help_or_the_readme():
    targets = set(re.findall(r"^([a-z]+):.*## ", MAKEFILE, re.MULTILINE))
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert targets
    assert targets <= set(re.findall(r"make ([a-z]+)", shown + README))


@each_document
def test_every_make_target_named_exists(path):
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))

    assert set(re.findall(r"`(?:[A-Z]+=\S+ )*make ([a-z]+)", path.read_text(encoding="utf-8"))) <= targets


def test_the_readme_has_a_line_for_every_process():
    processes = {path.name for path in (ROOT / "services").iterdir() if (path / "pyproject.toml").exists()}
    lines = set(re.findall(r"^- \*\*(\w+)\*\* ", section(README, "The parts"), re.MULTILINE))

    assert lines == processes - {"simulator"}  # it is no part of the gateway


def test_the_diagram_of_states_is_the_domains_table():
    diagram = re.search(r"```mermaid\nstateDiagram-v2\n(.*?)```", ARCHITECTURE, re.DOTALL)[1]
    drawn = set(re.findall(r"(\w+) --> (\w+)", diagram))

    assert drawn == {(before.value, after.value) for before, followers in FOLLOWERS.items() for after in followers}


def test_every_table_has_an_owner():
    migrations = (ROOT / "libs" / "common" / "reelgate_common" / "sql").glob("*.sql")
    made = {
        name
        for path in migrations
        for name in re.findall(r"^CREATE (?:UNLOGGED )?TABLE (\w+)", path.read_text("utf-8"), re.MULTILINE)
    }
    owned = section(ARCHITECTURE, "Who owns what").split("| queue |")[0]
    rows = [line.split("|")[1] for line in owned.splitlines() if line.startswith("| `")]

    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == made | {"schema_migrations"}


def test_every_queue_has_a_consumer():
    owned = section(ARCHITECTURE, "Who owns what")
    rows = set(re.findall(r"^\| `([\w.]+)` \| (\w+) \| `([\w.]+)` \|$", owned, re.MULTILINE))

    assert rows == {(queue.name, queue.service, queue.event.routing_key) for queue in topology.QUEUES}
    assert f"`{topology.PARKED}`" in owned


def test_the_openapi_document_is_current():
    written = (ROOT / "docs" / "openapi.json").read_text(encoding="utf-8")

    assert written == document(), "run: .venv/bin/python -m reelgate_api.openapi > docs/openapi.json"
