"""The reference pages, made from the two documents: `python tests/support/reference.py` writes them anew."""

import json
from pathlib import Path
from typing import Any

import yaml

DOCS = Path(__file__).parents[2] / "docs"
Schema = dict[str, Any]


def api() -> str:
    """docs/reference.md, from docs/openapi.json."""
    document = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))
    lines = [
        "# API reference",
        "",
        "Made from [openapi.json](openapi.json), which has examples and limits too; a gateway shows it at `/docs`.",
        "Errors are `application/problem+json`, under `/v1` in OpenAI's form; each answer names its own.",
        "",
    ]
    for tag in document["tags"]:
        operations = [
            (method, path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
            if operation["tags"] == [tag["name"]]
        ]
        if operations:
            lines += [f"## {tag['name']}", "", tag["description"], ""]
        for method, path, operation in operations:
            lines += _operation(method, path, operation)
    lines += ["## Shapes", ""]
    for name, schema in sorted(document["components"]["schemas"].items()):
        lines += [f"### {name}", "", *_plain(schema.get("description", ""))]
        lines += _fields(schema) if "properties" in schema else [f"One of {_kind(schema)}.", ""]
    return "\n".join(lines).rstrip() + "\n"


def events() -> str:
    """docs/events.md, from docs/asyncapi.yaml."""
    document = yaml.safe_load((DOCS / "asyncapi.yaml").read_text(encoding="utf-8"))
    schemas, messages = document["components"]["schemas"], document["components"]["messages"]
    lines = [
        "# Events reference",
        "",
        "Made from [asyncapi.yaml](asyncapi.yaml): the messages between the services, on RabbitMQ. What callers are",
        "told is another matter: [webhooks.md](webhooks.md), [live.md](live.md).",
        "",
    ]
    heard = {one["channel"]["$ref"]: one for one in document["operations"].values() if one["action"] == "receive"}
    queues = [
        (channel["address"], heard[f"#/channels/{key}"].get("summary", ""))
        for key, channel in document["channels"].items()
        if f"#/channels/{key}" in heard
    ]
    lines += ["## Queues", "", "| queue | its consumer |", "|---|---|"]
    lines += [f"| `{name}` | {_cell(says)} |" for name, says in queues] + ["", "## Messages", ""]
    for message in messages.values():
        lines += [f"### {message['name']}", "", *_plain(message["summary"])]
        payload = message.get("payload", {})
        names = [ref.rpartition("/")[2] for ref in _references(payload)]
        if names:
            lines += [f"Carries {', '.join(f'[{name}](#{name.lower()})' for name in names)}.", ""]
    lines += ["## Payloads", ""]
    for name, schema in schemas.items():
        if "properties" in schema:
            lines += [f"### {name}", "", *_plain(schema.get("description", "")), *_fields(schema)]
    return "\n".join(lines).rstrip() + "\n"


def _operation(method: str, path: str, operation: Schema) -> list[str]:
    lines = [f"### {method.upper()} {path}", "", *_plain(operation["description"])]
    takes = [
        f"| `{one['name']}` | {one['in']}{', required' if one['required'] else ''} | {_cell(one['description'])} |"
        for one in operation.get("parameters", [])
    ]
    if takes:
        lines += ["| takes | where | |", "|---|---|---|", *takes, ""]
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        lines += [f"Body, as `{kind}`: {_kind(content['schema'])}.", ""]
    answers = []
    for status, answer in operation["responses"].items():
        kinds = [_kind(content["schema"]) for content in answer.get("content", {}).values() if content.get("schema")]
        is_error = int(status) >= 400
        what = answer["description"] if is_error or not kinds else ", ".join(kinds)
        answers.append(f"{status} {_cell(what)}")
    return [*lines, f"Answers: {'; '.join(answers)}.", ""]


def _plain(text: str) -> list[str]:
    return [text.strip(), ""] if text.strip() else []


def _cell(text: str) -> str:
    return " ".join(text.split()).rstrip(".").replace("|", "\\|")


def _fields(schema: Schema) -> list[str]:
    required = schema.get("required", [])
    rows = []
    for name, field in schema["properties"].items():
        kind = _kind(field) + ("" if name in required else ", optional")
        rows.append(f"| `{name}` | {kind} | {_cell(field.get('description', ''))} |")
    return ["| field | | |", "|---|---|---|", *rows, ""]


def _kind(schema: Schema) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if inner := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        return " or ".join(dict.fromkeys(_kind(one) for one in inner))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    kind = schema.get("type", "any")
    return str(schema.get("format") or (kind if isinstance(kind, str) else " or ".join(kind)))


def _references(schema: Any) -> list[str]:
    if isinstance(schema, dict):
        own = [schema["$ref"]] if "$ref" in schema else []
        return own + [found for inner in schema.values() for found in _references(inner)]
    return [found for inner in schema for found in _references(inner)] if isinstance(schema, list) else []


if __name__ == "__main__":
    (DOCS / "reference.md").write_text(api(), encoding="utf-8")
    (DOCS / "events.md").write_text(events(), encoding="utf-8")
