"""Which JSON type a bare text is meant to be, by the schema of what it stands for."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from frontend.parsing.calls import decoded
from frontend.parsing.python_literal import arguments
from frontend.parsing.scanner import Machine, Malformed, Reading, Scanner
from frontend.structured.shapes import type_of

_MAX_HOPS = 16  # through references and alternatives
_MAX_PYTHON = 16 * 1024  # characters of a literal, which is read in one go
_PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}  # as Jinja writes them


def as_json(text: str, schema: object, root: object) -> str:
    """The JSON text of the value that `text` stands for.

    A string stands without quotes. So `text` is JSON if it is one of another type, and the schema allows
    that type; else it is a string as it stands. Where the schema allows no string, it may be Python as well.
    """
    types = allowed_types(schema, root)
    word = _PYTHON_WORDS.get(text, text)
    try:
        kind = type_of(decoded(word))
    except Malformed:
        word, kind = _from_python(text) if types and "string" not in types else (text, "string")
    fits = not types or kind in types or (kind == "integer" and "number" in types)
    return word if kind != "string" and fits else json.dumps(text, ensure_ascii=False)


def _from_python(text: str) -> tuple[str, str]:
    """A literal as JSON, and its type; the text itself as a string if it is none. true may be TRUE."""
    lowered = text.strip().lower()
    if lowered in ("true", "false"):
        return lowered, "boolean"
    if len(text) > _MAX_PYTHON or text.rstrip().endswith(","):  # arguments may end with a comma
        return text, "string"
    try:
        (value,) = _arguments(f"value={text}").values()
    except (Malformed, ValueError):  # or there are several
        return text, "string"
    return json.dumps(value, ensure_ascii=False), type_of(value)


def _arguments(text: str) -> dict[str, Any]:
    """The keyword arguments that all of `text` is, as in Python. Raises Malformed."""
    read: list[str] = []

    def program(scanner: Scanner) -> Reading[None]:
        read.append((yield from arguments(scanner)))
        if (yield from scanner.peek()):
            raise Malformed

    machine = Machine(program)
    machine.feed(f"{text})")
    machine.finish()
    values: dict[str, Any] = json.loads(read[0])
    return values


def allowed_types(schema: object, root: object) -> set[str]:
    """The JSON types that a schema names; empty where it does not say."""
    return set(_types(schema, root, _MAX_HOPS))


def resolved(schema: object, root: object) -> object:
    """What a chain of local references ends at; None for nowhere."""
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
    """What a local JSON pointer such as #/$defs/City points at; None for nothing."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    place: Any = root
    for step in reference[1:].split("/")[1:]:
        place = place.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(place, Mapping) else None
    return place
