""".env.example names every setting of every process with its default and readers, and nothing else."""

import importlib
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import AliasChoices, SecretStr

ROOT = Path(__file__).parents[2]
GATEWAY = ("api", "submitter", "callback", "reconciler")
SERVICES = (*GATEWAY, "simulator")
SETTINGS = {name: importlib.import_module(f"reelgate_{name}.settings").Settings for name in SERVICES}
GROUPS = {"gateway": set(GATEWAY), "all": set(SERVICES)}

# Good values for what has no default.
NEEDED = {
    "KIE_AI_API_KEY": "key",
    "PUBLIC_BASE_URL": "http://localhost:3000",
    "DATABASE_URL": "postgresql://reelgate@localhost/reelgate",
    "AMQP_URL": "amqp://reelgate@localhost/reelgate",
}


@dataclass(frozen=True)
class Entry:
    """One name of .env.example, with the comment above it."""

    value: str
    is_default: bool
    comment: str

    @property
    def readers(self):
        words = re.search(r"\[([a-z ]+)\]", self.comment)
        return set().union(*(GROUPS.get(word, {word}) for word in words[1].split())) if words else set()


def read_example():
    """Name -> entry; names that follow each other share the comment."""
    entries, comment, last_was_name = {}, "", False
    for line in (ROOT / ".env.example").read_text(encoding="utf-8").splitlines():
        if found := re.fullmatch(r"(#?)([A-Z][A-Z0-9_]*)=(.*)", line):
            name = found[2]
            assert name not in entries, f"{name} stands there twice"
            entries[name] = Entry(found[3], is_default=bool(found[1]), comment=comment)
            last_was_name = True
        elif line.startswith("# ") and not line.startswith("# ---"):
            comment = line if last_was_name else f"{comment} {line}"
            last_was_name = False
        else:
            comment, last_was_name = "", False
    return entries


ENTRIES = read_example()


def names_of(service):
    """Environment names of each field; the first is the field's own."""
    names = {}
    for field, info in SETTINGS[service].model_fields.items():
        alias = info.validation_alias
        spellings = alias.choices if isinstance(alias, AliasChoices) else [field]
        names[field] = [spelling.upper() for spelling in spellings]
    return names


def readers_of(name):
    return {service for service in SERVICES if name in {n for names in names_of(service).values() for n in names}}


def test_every_setting_is_documented_and_nothing_else_is():
    known = {name for service in SERVICES for names in names_of(service).values() for name in names}
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    asked_for = set(re.findall(r"\$\{([A-Z0-9_]+)", compose))

    assert set(ENTRIES) == known | asked_for


@pytest.mark.parametrize("name", [name for name in ENTRIES if readers_of(name)])
def test_the_readers_of_a_setting_are_named(name):
    assert ENTRIES[name].readers == readers_of(name)


@pytest.mark.parametrize("service", SERVICES)
def test_the_values_shown_are_the_defaults(service, monkeypatch):
    for name in ENTRIES:
        monkeypatch.delenv(name, raising=False)
    needed = {name: value for name, value in NEEDED.items() if service in readers_of(name)}
    for name, value in needed.items():
        monkeypatch.setenv(name, value)
    defaults = SETTINGS[service]()
    for name, entry in ENTRIES.items():
        # What is left empty is left unset, as the file says.
        if entry.is_default and entry.value and not differs(entry, service):
            monkeypatch.setenv(name, entry.value)

    assert SETTINGS[service]() == defaults


@pytest.mark.parametrize("service", SERVICES)
def test_only_what_has_no_default_is_left_empty(service):
    for field, names in names_of(service).items():
        info = SETTINGS[service].model_fields[field]
        if not ENTRIES[names[0]].value and not info.is_required():
            default = info.get_default(call_default_factory=True)
            assert default in (None, "", [], SecretStr("")), names[0]


def differs(entry, service):
    """Whether the comment gives another default for this process: `service: value …`."""
    return f"{service}: " in entry.comment


def test_what_must_be_given_is_not_commented_out():
    fields = [(service, field, names[0]) for service in GATEWAY for field, names in names_of(service).items()]
    required = {name for service, field, name in fields if SETTINGS[service].model_fields[field].is_required()}
    for _, _, name in fields:
        assert ENTRIES[name].is_default != (name in required), name


def test_the_simulator_listens_where_the_file_says():
    assert f"simulator: {SETTINGS['simulator'].model_fields['http_port'].default} " in ENTRIES["HTTP_PORT"].comment
