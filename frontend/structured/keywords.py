"""The keywords of JSON Schema (draft 2020-12): which values they take, and which of them are refused."""

from typing import Any, NoReturn

from frontend.errors import BadRequest
from frontend.structured import limits

TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")

_COUNTS = {
    "minLength": limits.LENGTH,
    "maxLength": limits.LENGTH,
    "minItems": limits.ITEMS,
    "maxItems": limits.ITEMS,
    "minProperties": limits.ITEMS,
    "maxProperties": limits.ITEMS,
}
_NUMBERS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
_SCHEMAS = {"items", "additionalProperties", "unevaluatedProperties", "unevaluatedItems", "propertyNames"}
_SCHEMA_MAPS = {"properties", "patternProperties", "$defs", "definitions"}
_SCHEMA_LISTS = {"allOf", "anyOf", "oneOf", "prefixItems"}
_TEXTS = {"pattern", "format", "$ref"}

# A grammar cannot keep to these together with everything else, so they are refused rather than forgotten.
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
    """Raises BadRequest for a value that the keyword does not take, and for a keyword that is refused. Schemas
    within the value are not looked into."""
    if keyword in _REFUSED:
        fault(where, f"the keyword {keyword!r} is not supported: the output could not be held to it")
    if keyword in _COUNTS:
        _count(value, _COUNTS[keyword], where)
    elif keyword in _NUMBERS:
        _number(value, keyword == "multipleOf", where)
    elif keyword in _SCHEMAS:
        schema(value, where)
    elif keyword in _SCHEMA_MAPS:
        _of(dict, value, "an object of schemas", where)
        for name, one in value.items():
            schema(one, below(where, name))
    elif keyword in _SCHEMA_LISTS:
        _filled_list(value, "schemas", where)
        for index, one in enumerate(value):
            schema(one, below(where, index))
    elif keyword in _TEXTS:
        _of(str, value, "a string", where)
    elif keyword == "uniqueItems":
        _of(bool, value, "true or false", where)
    elif keyword == "type":
        _type(value, where)
    elif keyword == "enum":
        _filled_list(value, "values", where)
    elif keyword == "required":
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            fault(where, "must be a list of strings")


def schema(value: Any, where: str) -> None:
    if not isinstance(value, dict | bool):
        fault(where, "a schema must be an object, true or false")


def _of(kind: type, given: Any, what: str, where: str) -> None:
    if not isinstance(given, kind):
        fault(where, f"must be {what}")


def _filled_list(given: Any, of: str, where: str) -> None:
    if not isinstance(given, list) or not given:
        fault(where, f"must be a list of {of} that is not empty")


def _count(given: Any, limit: int, where: str) -> None:
    whole = isinstance(given, int) or (isinstance(given, float) and given.is_integer())
    if isinstance(given, bool) or not whole or given < 0:
        fault(where, "must be a whole number, 0 or more")
    if given > limit and where.rpartition(".")[2].startswith("min"):
        fault(where, f"must be at most {limit}")


def _number(given: Any, positive: bool, where: str) -> None:
    if isinstance(given, bool) or not isinstance(given, int | float):
        fault(where, "must be a number")
    if positive and given <= 0:
        fault(where, "must be above 0")
    if abs(given) > 10**30:
        fault(where, "must be between -1e30 and 1e30")


def _type(given: Any, where: str) -> None:
    names = given if isinstance(given, list) else [given]
    if not names or not all(isinstance(name, str) and name in TYPES for name in names):
        fault(where, f"must be one of {', '.join(TYPES)}, or a list of them")
