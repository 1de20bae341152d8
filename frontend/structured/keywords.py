"""The keywords of JSON Schema (draft 2020-12): their valid values, and which are not supported."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from frontend.structured import limits
from frontend.structured.errors import reject

LARGEST_NUMBER = 10**30
TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")

# A grammar cannot enforce these in combination with others, so they are rejected rather than ignored.
_UNSUPPORTED = {
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


def below(path: str, key: str | int) -> str:
    return f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}"


def check(keyword: str, value: Any, path: str) -> None:
    """Raises ConstraintError for an invalid value of the keyword and for an unsupported keyword.

    Subschemas in the value are not examined.
    """
    if keyword in _UNSUPPORTED:
        reject(path, f"the keyword {keyword!r} is not supported, as it could not be enforced")
    if keyword in _CHECKS:
        _CHECKS[keyword](value, path)


def schema(value: Any, path: str) -> None:
    if not isinstance(value, dict | bool):
        reject(path, "a schema must be an object or a boolean")


def _schemas(given: Any, path: str) -> None:
    _filled_list(given, path)
    for index, one in enumerate(given):
        schema(one, below(path, index))


def _named_schemas(given: Any, path: str) -> None:
    if not isinstance(given, dict):
        reject(path, "must be an object whose values are schemas")
    for name, one in given.items():
        schema(one, below(path, name))


def _text(given: Any, path: str) -> None:
    if not isinstance(given, str):
        reject(path, "must be a string")


def _flag(given: Any, path: str) -> None:
    if not isinstance(given, bool):
        reject(path, "must be true or false")


def _filled_list(given: Any, path: str) -> None:
    if not isinstance(given, list) or not given:
        reject(path, "must be a non-empty list")


def _names(given: Any, path: str) -> None:
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        reject(path, "must be a list of strings")


def _count(limit: int, given: Any, path: str) -> None:
    whole = isinstance(given, int) or (isinstance(given, float) and given.is_integer())
    if isinstance(given, bool) or not whole or given < 0:
        reject(path, "must be a non-negative integer")
    if given > limit:
        reject(path, f"must be at most {limit}")


def _number(given: Any, path: str) -> None:
    if isinstance(given, bool) or not isinstance(given, int | float):
        reject(path, "must be a number")
    if abs(given) > LARGEST_NUMBER:
        reject(path, f"must be between -{LARGEST_NUMBER} and {LARGEST_NUMBER}")


def _multiple(given: Any, path: str) -> None:
    _number(given, path)
    if given <= 0:
        reject(path, "must be greater than 0")


def _type(given: Any, path: str) -> None:
    names = given if isinstance(given, list) else [given]
    if not names or not all(isinstance(name, str) and name in TYPES for name in names):
        reject(path, f"must be one of {', '.join(TYPES)}, or a list of them")


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
