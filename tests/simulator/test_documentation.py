"""The document, the table and the settings tell the same story."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from reelgate_simulator.config import Config
from reelgate_simulator.scenarios import SCENARIOS, Behaviour, UnknownScenarioError, behaviour_of, words_in
from reelgate_simulator.settings import Settings

DOCUMENT = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")


def test_the_document_lists_every_scenario_as_the_table_does():
    documented = re.findall(r"^\| `(sim:[^`]+)` \| (.*) \|$", DOCUMENT, re.MULTILINE)

    assert documented == [(row.word, row.description) for row in SCENARIOS.values()]


async def test_the_endpoint_lists_every_scenario_as_the_table_does(kie):
    listed = (await kie.http.get("/sim/scenarios")).json()["scenarios"]

    assert [(row["word"], row["description"]) for row in listed] == [
        (row.word, row.description) for row in SCENARIOS.values()
    ]
    assert next(row for row in listed if row["word"] == "sim:policy")["flags"]["outcome"]["flag"] == 3


def test_every_scenario_is_found_in_a_prompt_and_changes_what_it_says():
    for word, row in SCENARIOS.items():
        assert words_in(f"a cat, {word}.") == (word,)
        behaviour = behaviour_of((word,))
        assert {name: getattr(behaviour, name) for name in row.flags} == dict(row.flags)


def test_every_behaviour_is_reached_by_some_scenario():
    reached = {name for row in SCENARIOS.values() for name in row.flags}

    assert reached == {flag.name for flag in fields(Behaviour)}


def test_an_unknown_word_is_an_error():
    with pytest.raises(UnknownScenarioError, match="sim:polici"):
        behaviour_of(("sim:polici",))


def test_the_document_lists_every_knob_and_setting():
    for knob in Config.model_fields:
        assert f"| `{knob}` |" in DOCUMENT
    for setting in Settings.model_fields:
        assert f"`{setting.upper()}`" in DOCUMENT


def test_the_settings_start_with_the_defaults_of_the_knobs(monkeypatch):
    for setting in Settings.model_fields:
        monkeypatch.delenv(setting.upper(), raising=False)

    assert Settings().config() == Config()
