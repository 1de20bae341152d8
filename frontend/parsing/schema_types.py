"""Determines the JSON type of an unquoted text from the schema of its value."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from frontend.parsing.calls import decode_json
from frontend.parsing.python_literal import read_arguments
from frontend.parsing.scanner import Machine, Malformed, Reading, Scanner
from frontend.structured.shapes import type_of

_MAX_HOPS = 16  # through references and alternatives
_MAX_COMBINED = 256  # schemas that make up the arguments
_MAX_PYTHON = 16 * 1024  # characters of a literal, which is read at once
_PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}  # as Jinja renders them


def as_json(text: str, schema: object, root: object) -> str:
    """The JSON text of the value that `text` represents.

    Strings have no quotes. So `text` is read as JSON if it is a value of another type that the schema allows,
    and otherwise as the content of a string. If the schema allows no strings, Python literals are read, too.
    """
    types = allowed_types(schema, root)
    word = _PYTHON_WORDS.get(text, text)
    try:
        kind = type_of(decode_json(word))
    except Malformed:
        word, kind = _from_python(text) if types and "string" not in types else (text, "string")
    fits = not types or kind in types or (kind == "integer" and "number" in types)
    return word if kind != "string" and fits else json.dumps(text, ensure_ascii=False)


def _from_python(text: str) -> tuple[str, str]:
    """A Python literal as (JSON, type), or (text, "string") if it is none. Booleans ignore case."""
    lowered = text.strip().lower()
    if lowered in ("true", "false"):
        return lowered, "boolean"
    if len(text) > _MAX_PYTHON or text.rstrip().endswith(","):  # the arguments could end with a comma
        return text, "string"
    try:
        (value,) = _arguments(f"value={text}").values()
    except (Malformed, ValueError):  # ValueError if there are several values
        return text, "string"
    return json.dumps(value, ensure_ascii=False), type_of(value)


def _arguments(text: str) -> dict[str, Any]:
    """Parse Python keyword arguments. Raises Malformed unless they are the whole text."""
    read: list[str] = []

    def program(scanner: Scanner) -> Reading[None]:
        read.append((yield from read_arguments(scanner)))
        if (yield from scanner.peek()):
            raise Malformed

    machine = Machine(program)
    machine.feed(f"{text})")
    machine.finish()
    values: dict[str, Any] = json.loads(read[0])
    return values


def allowed_types(schema: object, root: object) -> set[str]:
    """The JSON types that a schema allows; empty if it does not specify any."""
    return set(_types(schema, root, _MAX_HOPS))


def argument_schemas(root: object) -> dict[str, Any]:
    """The schema of each named argument, also where the root refers to or combines other schemas."""
    found: dict[str, list[Any]] = {}
    waiting = [root]
    for schema in waiting:
        schema = resolved(schema, root)
        if not isinstance(schema, Mapping) or len(waiting) > _MAX_COMBINED:
            continue
        properties = schema.get("properties")
        for name, one in properties.items() if isinstance(properties, Mapping) else ():
            found.setdefault(name, []).append(one)
        for several in ("anyOf", "oneOf", "allOf"):
            alternatives = schema.get(several)
            waiting += alternatives if isinstance(alternatives, list) else ()
    return {name: some[0] if len(some) == 1 else {"anyOf": some} for name, some in found.items()}


def resolved(schema: object, root: object) -> object:
    """The schema at the end of a chain of local references; None if there is none."""
    for _ in range(_MAX_HOPS):
        if not isinstance(schema, Mapping) or "$ref" not in schema:
            return schema
        schema = _pointed_at(schema["$ref"], root)
    return None


def _types(schema: object, root: object, hops: int) -> Iterator[str]:
    schema = resolved(schema, root)
    if not hops or not isinstance(schema, Mapping):
        return
    named = schema.get("type")
    if isinstance(named, str):
        yield named
    elif isinstance(named, list):
        yield from (name for name in named if isinstance(name, str))
    elif isinstance(schema.get("enum"), list):
        yield from map(type_of, schema["enum"])
    elif "const" in schema:
        yield type_of(schema["const"])
    for several in ("anyOf", "oneOf", "allOf"):
        alternatives = schema.get(several)
        for alternative in alternatives if isinstance(alternatives, list) else ():
            yield from _types(alternative, root, hops // 2)


def _pointed_at(reference: object, root: object) -> Any:
    """The target of a local JSON pointer such as #/$defs/City; None if it does not exist."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    place: Any = root
    for step in reference[1:].split("/")[1:]:
        place = place.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(place, Mapping) else None
    return place
