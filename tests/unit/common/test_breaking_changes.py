"""What counts as a breaking change of the API: the check is checked with one change at a time."""

import copy
import json
from pathlib import Path

import pytest
from breaking import breaking_changes

DOCUMENT = json.loads((Path(__file__).parents[3] / "docs" / "openapi.json").read_text(encoding="utf-8"))
CREATE = DOCUMENT["paths"]["/api/video/generate"]["post"]


def changed(change):
    """The document after a change of its own."""
    newer = copy.deepcopy(DOCUMENT)
    change(newer)
    return newer


def create(document):
    return document["paths"]["/api/video/generate"]["post"]


def schema(document, name):
    return document["components"]["schemas"][name]


def fields(document, name):
    return schema(document, name)["properties"]


BREAKING = {
    "a path that is gone": lambda d: d["paths"].pop("/api/video/jobs/{id}"),
    "a method that is gone": lambda d: d["paths"]["/api/webhooks/{id}"].pop("delete"),
    "another operation id": lambda d: create(d).update(operationId="make_video"),
    "a credential that was not needed": lambda d: d["paths"]["/api/status"]["get"].update(security=[{"apiKey": []}]),
    "a parameter that is gone": lambda d: create(d).update(parameters=[]),
    "a new parameter that is required": lambda d: create(d)["parameters"].append(
        {"name": "x", "in": "query", "required": True, "schema": {"type": "string"}}
    ),
    "a field of a request that is gone": lambda d: fields(d, "GenerateBody").pop("prompt"),
    "a field of a request that is required": lambda d: schema(d, "GenerateBody")["required"].append("prompt"),
    "a choice that is gone": lambda d: fields(d, "GenerateBody")["model"]["enum"].remove("veo3"),
    "a choice where all was free": lambda d: fields(d, "GenerateBody")["wallet_address"].update(enum=["a"]),
    "a lower limit": lambda d: fields(d, "GrantBody")["amount"].update(maximum=10),
    "a limit where there was none": lambda d: fields(d, "GenerateBody")["wallet_address"].update(maxLength=10),
    "another type of a field of a request": lambda d: fields(d, "GrantBody")["amount"].update(type="string"),
    "unknown fields that are refused": lambda d: schema(d, "GenerateBody").update(additionalProperties=False),
    "a body no longer taken as a form": lambda d: d["paths"]["/v1/videos"]["post"]["requestBody"]["content"].pop(
        "multipart/form-data"
    ),
    "another good status": lambda d: create(d)["responses"].update({"201": create(d)["responses"].pop("202")}),
    "a field of an answer that is gone": lambda d: fields(d, "JobView").pop("video_url"),
    "a field of an answer that may be missing": lambda d: schema(d, "JobView")["required"].remove("id"),
    "a field of an answer that may be null": lambda d: fields(d, "Wallet").update(
        credits={"anyOf": [{"type": "integer"}, {"type": "null"}]}
    ),
    "another type of a field of an answer": lambda d: fields(d, "Wallet")["credits"].update(type="string"),
    "another form of an error": lambda d: create(d)["responses"]["402"].update(content={"text/plain": {}}),
}
HARMLESS = {
    "a new path": lambda d: d["paths"].update({"/api/new": {"get": CREATE}}),
    "a new method": lambda d: d["paths"]["/api/status"].update({"post": CREATE}),
    "a new parameter": lambda d: create(d)["parameters"].append(
        {"name": "x", "in": "query", "required": False, "schema": {"type": "string"}}
    ),
    "a new field of a request": lambda d: fields(d, "GenerateBody").update(x={"type": "string"}),
    "a new choice": lambda d: fields(d, "GenerateBody")["model"]["enum"].append("veo4"),
    "a higher limit": lambda d: fields(d, "GrantBody")["amount"].update(maximum=10**12),
    "a new field of an answer": lambda d: (
        fields(d, "JobView").update(x={"type": "string"}),
        schema(d, "JobView")["required"].append("x"),
    ),
    "a new value of an answer": lambda d: fields(d, "JobView")["status"]["enum"].append("paused"),
    "a new error": lambda d: create(d)["responses"].update({"451": create(d)["responses"]["402"]}),
    "other words": lambda d: create(d).update(description="Otherwise said.", summary="Other"),
}


@pytest.mark.parametrize("change", BREAKING.values(), ids=BREAKING)
def test_this_breaks_somebody(change):
    assert breaking_changes(DOCUMENT, changed(change))


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_this_breaks_nobody(change):
    assert breaking_changes(DOCUMENT, changed(change)) == []
