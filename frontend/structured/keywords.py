"""The keywords of JSON Schema (draft 2020-12): which values they take, and which of them are refused."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from frontend.errors import BadRequest
from frontend.structured import limits

LARGEST_NUMBER = 10**30
TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")

# A grammar cannot keep to these beside all else, so they are refused rather than forgotten.
_REFUSED = {
    "not",
    "if",
    "then",
    "else",
    "contains",
    "minContains",
    "maxContains",
    "dependentSchemas",
    "dependentRequired",
    "dependencies",
    "additionalItems",
    "$anchor",
    "$dynamicRef",
    "$dynamicAnchor",
    "$recursiveRef",
    "$recursiveAnchor",
}


def fault(where: str, complaint: str) -> NoReturn:
    raise BadRequest(f"{where}: {complaint}", where)


def below(where: str, key: str | int) -> str:
    return f"{where}[{key}]" if isinstance(key, int) else f"{where}.{key}"


def check(keyword: str, value: Any, where: str) -> None:
    """Raises BadRequest for a value that the keyword does not take, and for a keyword that is refused.
    What is inside the schemas of the value is not looked at."""
    if keyword in _REFUSED:
        fault(where, f"the keyword {keyword!r} is not supported: the output could not be held to it")
    if keyword in _CHECKS:
        _CHECKS[keyword](value, where)


def schema(value: Any, where: str) -> None:
    if not isinstance(value, dict | bool):
        fault(where, "a schema must be an object, true or false")


def _schemas(given: Any, where: str) -> None:
    _filled_list(given, where)
    for index, one in enumerate(given):
        schema(one, below(where, index))


def _named_schemas(given: Any, where: str) -> None:
    if not isinstance(given, dict):
        fault(where, "must be an object of schemas")
    for name, one in given.items():
        schema(one, below(where, name))


def _text(given: Any, where: str) -> None:
    if not isinstance(given, str):
        fault(where, "must be a string")


def _flag(given: Any, where: str) -> None:
    if not isinstance(given, bool):
        fault(where, "must be true or false")


def _filled_list(given: Any, where: str) -> None:
    if not isinstance(given, list) or not given:
        fault(where, "must be a list that is not empty")


def _names(given: Any, where: str) -> None:
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        fault(where, "must be a list of strings")


def _count(limit: int, given: Any, where: str) -> None:
    whole = isinstance(given, int) or (isinstance(given, float) and given.is_integer())
    if isinstance(given, bool) or not whole or given < 0:
        fault(where, "must be a whole number, 0 or more")
    if given > limit:
        fault(where, f"must be at most {limit}")


def _number(given: Any, where: str) -> None:
    if isinstance(given, bool) or not isinstance(given, int | float):
        fault(where, "must be a number")
    if abs(given) > LARGEST_NUMBER:
        fault(where, f"must be between -{LARGEST_NUMBER} and {LARGEST_NUMBER}")


def _multiple(given: Any, where: str) -> None:
    _number(given, where)
    if given <= 0:
        fault(where, "must be above 0")


def _type(given: Any, where: str) -> None:
    names = given if isinstance(given, list) else [given]
    if not names or not all(isinstance(name, str) and name in TYPES for name in names):
        fault(where, f"must be one of {', '.join(TYPES)}, or a list of them")


_CHECKS: dict[str, Callable[[Any, str], None]] = {
    **dict.fromkeys(
        ("items", "additionalProperties", "unevaluatedProperties", "unevaluatedItems", "propertyNames"),
        schema,
    ),
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), _schemas),
    **dict.fromkeys(("properties", "patternProperties", "$defs", "definitions"), _named_schemas),
    **dict.fromkeys(("pattern", "format", "$ref"), _text),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _number),
    **dict.fromkeys(("maxLength", "maxItems", "maxProperties"), partial(_count, sys.maxsize)),
    "minLength": partial(_count, limits.LENGTH),
    "minItems": partial(_count, limits.ITEMS),
    "minProperties": partial(_count, limits.ITEMS),
    "multipleOf": _multiple,
    "uniqueItems": _flag,
    "type": _type,
    "enum": _filled_list,
    "required": _names,
}
