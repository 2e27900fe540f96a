"""What a newer OpenAPI document breaks for those who call by the older one. docs/versions.md gives the rules."""

from typing import Any

Schema = dict[str, Any]

_AT_LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_AT_MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """One sentence for each; none for what callers need not notice."""
    return [
        found
        for path, operations in old["paths"].items()
        for method, operation in operations.items()
        for found in _operation(
            f"{method.upper()} {path}", operation, new["paths"].get(path, {}).get(method), Comparison(old, new)
        )
    ]


class Comparison:
    """Schemas of two documents, their references followed."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self.old = old
        self.new = new
        self._under_way: set[tuple[str, str]] = set()

    def taken(self, where: str, old: Schema, new: Schema) -> list[str]:
        """What was accepted and is not any more."""
        return self._compare(where, old, new, is_answer=False)

    def given(self, where: str, old: Schema, new: Schema) -> list[str]:
        """What was promised of an answer and is not any more."""
        return self._compare(where, old, new, is_answer=True)

    def _compare(self, where: str, old: Schema, new: Schema, *, is_answer: bool) -> list[str]:
        names = (old.get("$ref", ""), new.get("$ref", ""))
        if all(names) and names in self._under_way:
            return []
        self._under_way.add(names)
        before, after = _variants(old, self.old), _variants(new, self.new)
        wide, narrow = (before, after) if is_answer else (after, before)
        found = [
            f"{where}: {'may be' if is_answer else 'may no longer be'} {kind}"
            for kind in narrow.keys() - wide.keys()
            if not (kind == "integer" and "number" in wide) and "any" not in wide
        ]
        for kind in before.keys() & after.keys():
            found += self._variant(where, before[kind], after[kind], is_answer=is_answer)
        self._under_way.discard(names)
        return found

    def _variant(self, where: str, old: Schema, new: Schema, *, is_answer: bool) -> list[str]:
        found = [] if is_answer else _narrower(where, old, new)
        was, now = old.get("properties", {}), new.get("properties", {})
        found += [f"{where}.{name}: gone" for name in was.keys() - now.keys()]
        required = (set(old.get("required", [])), set(new.get("required", [])))
        if is_answer:
            found += [f"{where}.{name}: may be missing" for name in (required[0] - required[1]) & now.keys()]
        else:
            found += [f"{where}.{name}: required" for name in required[1] - required[0]]
        for name in was.keys() & now.keys():
            found += self._compare(f"{where}.{name}", was[name], now[name], is_answer=is_answer)
        if "items" in old and "items" in new:
            found += self._compare(f"{where}[]", old["items"], new["items"], is_answer=is_answer)
        return found


def _variants(schema: Schema, document: Schema) -> dict[str, Schema]:
    """The forms a value may have, by type."""
    if "$ref" in schema:
        target: Any = document
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return _variants(target, document)
    if inner := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        return {kind: form for one in inner for kind, form in _variants(one, document).items()}
    kinds = schema.get("type") or ("string" if "enum" in schema or "const" in schema else "any")
    return dict.fromkeys([kinds] if isinstance(kinds, str) else kinds, schema)


def _values(schema: Schema) -> set[Any] | None:
    return {schema["const"]} if "const" in schema else set(schema["enum"]) if "enum" in schema else None


def _narrower(where: str, old: Schema, new: Schema) -> list[str]:
    found = []
    was, now = _values(old), _values(new)
    if now is not None and (was is None or was - now):
        found.append(f"{where}: takes fewer values")
    for bounds, sign in ((_AT_LEAST, 1), (_AT_MOST, -1)):
        found += [
            f"{where}: {bound} is {new[bound]}"
            for bound in bounds
            if bound in new and (bound not in old or sign * new[bound] > sign * old[bound])
        ]
    if "pattern" in new and new["pattern"] != old.get("pattern"):
        found.append(f"{where}: another pattern")
    if new.get("additionalProperties") is False and old.get("additionalProperties") is not False:
        found.append(f"{where}: unknown fields are refused")
    return found


def _operation(name: str, old: Schema, new: Schema | None, schemas: Comparison) -> list[str]:
    if new is None:
        return [f"{name}: gone"]
    found = []
    if new["operationId"] != old["operationId"]:
        found.append(f"{name}: operationId was {old['operationId']}")
    if "security" in new and "security" not in old:
        found.append(f"{name}: needs a credential")
    return (
        found
        + _parameters(name, old, new, schemas)
        + _body(name, old.get("requestBody"), new.get("requestBody"), schemas)
        + _answers(name, old, new, schemas)
    )


def _parameters(name: str, old: Schema, new: Schema, schemas: Comparison) -> list[str]:
    was, now = (
        {(one["in"], one["name"].lower()): one for one in document.get("parameters", [])} for document in (old, new)
    )
    found = [f"{name} {key[1]}: gone" for key in was.keys() - now.keys()]
    found += [f"{name} {key[1]}: required" for key, one in now.items() if one["required"] and key not in was]
    for key in was.keys() & now.keys():
        if now[key]["required"] and not was[key]["required"]:
            found.append(f"{name} {key[1]}: required")
        found += schemas.taken(f"{name} {key[1]}", was[key]["schema"], now[key]["schema"])
    return found


def _body(name: str, old: Schema | None, new: Schema | None, schemas: Comparison) -> list[str]:
    if new is None:
        return [f"{name} body: gone"] if old else []
    if old is None:
        return [f"{name} body: required"] if new.get("required") else []
    found = [f"{name} body: no longer as {kind}" for kind in old["content"].keys() - new["content"].keys()]
    for kind in old["content"].keys() & new["content"].keys():
        found += schemas.taken(f"{name} body", old["content"][kind]["schema"], new["content"][kind]["schema"])
    return found


def _answers(name: str, old: Schema, new: Schema, schemas: Comparison) -> list[str]:
    found = []
    for status, before in old["responses"].items():
        after = new["responses"].get(status)
        if after is None:
            found += [f"{name} {status}: gone"] if int(status) < 300 else []
            continue
        for kind, content in before.get("content", {}).items():
            if kind not in after.get("content", {}):
                found.append(f"{name} {status}: no longer as {kind}")
            elif "schema" in content:
                found += schemas.given(f"{name} {status}", content["schema"], after["content"][kind].get("schema", {}))
    return found
