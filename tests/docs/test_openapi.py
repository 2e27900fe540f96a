"""The OpenAPI document is complete: whoever reads only it can call everything."""

import json
import re
from pathlib import Path

import pytest
from breaking import breaking_changes

ROOT = Path(__file__).parents[2]
DOCUMENT = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))
PROMISED = json.loads((ROOT / "docs" / "openapi-promised.json").read_text(encoding="utf-8"))
OPERATIONS = [
    (f"{method.upper()} {path}", operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]
BODIES = {f"component {name}": schema for name, schema in DOCUMENT["components"]["schemas"].items()} | {
    f"body of {name}": content["schema"]
    for name, operation in OPERATIONS
    for content in operation.get("requestBody", {}).get("content", {}).values()
}

each_operation = pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=[name for name, _ in OPERATIONS])


def speaks_for_itself(schema):
    """What shows its values without an example: a choice, a truth value, a file, another component."""
    text = json.dumps(schema)
    return any(word in text for word in ('"enum"', '"const"', '"boolean"', '"binary"', '"$ref"', '"properties"'))


@pytest.mark.parametrize("where", BODIES)
def test_every_field_is_described_with_an_example(where):
    fields = BODIES[where].get("properties", {}).items()
    undescribed = [name for name, schema in fields if not (schema.get("description") or "$ref" in schema)]
    without_example = [name for name, schema in fields if not (schema.get("examples") or speaks_for_itself(schema))]

    assert not undescribed, f"{where}: add Field(description=…) to {undescribed}"
    assert not without_example, f"{where}: add Field(examples=[…]) to {without_example}"


@each_operation
def test_every_parameter_is_described_with_an_example(name, operation):
    for parameter in operation.get("parameters", []):
        schema = parameter["schema"]
        assert parameter.get("description"), f"{name}: add a description to {parameter['name']}"
        assert schema.get("examples") or speaks_for_itself(schema), f"{name}: add examples to {parameter['name']}"


@each_operation
def test_every_operation_is_told_in_a_sentence_and_has_its_place(name, operation):
    tags = {tag["name"] for tag in DOCUMENT["tags"] if tag["description"]}

    assert operation["description"].rstrip().endswith("."), f"{name}: add a docstring"
    assert re.fullmatch(r"[a-z]+(_[a-z]+)+", operation["operationId"]), f"{name}: add operation_id, as a method's name"
    assert set(operation["tags"]) <= tags, f"{name}: describe its tag in documented.py"


@each_operation
def test_every_operation_says_who_may_call_it_and_what_they_get_if_not(name, operation):
    if "security" in operation:
        assert {"401"} <= operation["responses"].keys(), f"{name}: add 401 to responses(…)"
        assert all(scheme in DOCUMENT["components"]["securitySchemes"] for [scheme] in operation["security"])
    if {"apiKey", "credential"} & {scheme for one in operation.get("security", []) for scheme in one}:
        assert "403" in operation["responses"], f"{name}: add 403 to responses(…)"


@each_operation
def test_every_error_has_the_form_of_its_paths(name, operation):
    form = ("application/json", "Error") if " /v1/" in name else ("application/problem+json", "Problem")
    for status, answer in operation["responses"].items():
        if int(status) >= 400:
            assert list(answer["content"]) == [form[0]], (name, status)
            assert answer["content"][form[0]]["schema"] == {"$ref": f"#/components/schemas/{form[1]}"}, (name, status)
            assert answer["description"] != "Unprocessable Content" or form[1] == "Error", (name, status)


def test_a_body_is_refused_by_the_size_and_the_syntax_it_has():
    without = [
        name for name, one in OPERATIONS if "requestBody" in one and not {"400", "413"} <= one["responses"].keys()
    ]

    assert without == []


def test_names_of_operations_are_unique():
    ids = [operation["operationId"] for _, operation in OPERATIONS]

    assert len(set(ids)) == len(ids)


def test_every_reference_leads_somewhere():
    for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(DOCUMENT)):
        assert name in DOCUMENT["components"]["schemas"]


def test_nothing_that_was_promised_is_broken():
    """docs/versions.md says what may change. A new promise: copy openapi.json over openapi-promised.json."""
    assert breaking_changes(PROMISED, DOCUMENT) == []
