"""Shapes: the constraints of a schema's own keywords, and the intersection of two shapes.

Keywords that combine or refer to schemas are resolved in alternatives.py.
"""

from decimal import Decimal
from typing import Any

import msgspec

from frontend.structured import keywords
from frontend.structured.errors import reject
from frontend.structured.keywords import below

Subschema = tuple[Any, str]  # a schema and its path
AllOf = tuple[Subschema, ...]  # a value must satisfy all of these schemas

# A value as (type, value), so that true does not equal 1.
Comparable = tuple[str, Any]


class Bound(msgspec.Struct, frozen=True):
    at: Decimal
    open: bool  # the bound itself is excluded


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    types: frozenset[str] | None = None
    values: tuple[Any, ...] | None = None
    properties: dict[str, AllOf] = {}
    required: frozenset[str] = frozenset()
    always: frozenset[str] = frozenset()  # optional in the schema, but always written
    additional: AllOf | None = None
    pattern_properties: dict[str, AllOf] = {}
    property_names: AllOf = ()
    prefix: tuple[AllOf, ...] = ()
    items: AllOf | None = None
    unique: str | None = None  # the path of uniqueItems
    patterns: tuple[tuple[str, str], ...] = ()  # with their paths
    formats: tuple[tuple[str, str], ...] = ()
    min_counts: dict[str, int] = {}  # by "Length", "Items" or "Properties"
    max_counts: dict[str, int] = {}
    low: Bound | None = None
    high: Bound | None = None
    multiples: tuple[tuple[Any, str], ...] = ()

    def written_types(self) -> frozenset[str]:
        """The types of the values to write: without `type`, only those that a keyword applies to."""
        if self.values is not None:
            return frozenset(map(type_of, self.values))
        types = self.types or frozenset(filter(self.constrains, keywords.TYPES)) or frozenset(keywords.TYPES)
        return types - {"integer"} if "number" in types else types

    def constrains(self, kind: str) -> bool:
        """Whether a keyword other than `type` applies to values of this type."""
        match kind:
            case "object":
                named = self.properties or self.required or self.pattern_properties or self.property_names
                return bool(named) or self.additional is not None or self._counts("Properties")
            case "array":
                return bool(self.prefix or self.unique) or self.items is not None or self._counts("Items")
            case "string":
                return bool(self.patterns or self.formats) or self._counts("Length")
            case "number" | "integer":
                return bool(self.low or self.high or self.multiples)
        return False

    def _counts(self, what: str) -> bool:
        return what in self.min_counts or what in self.max_counts


def type_of(value: Any) -> str:
    """The JSON type of a value. A number without a fraction is an integer."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "integer" if isinstance(value, int) or value.is_integer() else "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def comparable(value: Any) -> Comparable:
    if isinstance(value, dict):
        return "object", frozenset((key, comparable(child)) for key, child in value.items())
    if isinstance(value, list):
        return "array", tuple(comparable(child) for child in value)
    kind = type_of(value)
    return "number" if kind == "integer" else kind, value


def of_keywords(schema: dict[str, Any], path: str) -> Shape:
    """The shape of a schema without its references and combinations. Raises ConstraintError."""
    for keyword, value in schema.items():
        keywords.check(keyword, value, below(path, keyword))
    types = schema.get("type")
    values = schema.get("enum")
    if "const" in schema:
        const = comparable(schema["const"])
        if values is not None and const not in map(comparable, values):
            reject(below(path, "const"), "is not a value of the enum")
        values = [schema["const"]]
    return Shape(
        path=path,
        types=None if types is None else frozenset([types] if isinstance(types, str) else types),
        values=None if values is None else tuple({comparable(value): value for value in values}.values()),
        properties=_parts(schema, "properties", path),
        required=frozenset(schema.get("required", ())),
        additional=_part(schema, "additionalProperties", path),
        pattern_properties=_parts(schema, "patternProperties", path),
        property_names=_part(schema, "propertyNames", path) or (),
        prefix=tuple(
            ((one, below(below(path, "prefixItems"), index)),)
            for index, one in enumerate(schema.get("prefixItems", ()))
        ),
        items=_part(schema, "items", path),
        unique=below(path, "uniqueItems") if schema.get("uniqueItems") else None,
        patterns=_with_path(schema, "pattern", path),
        formats=_with_path(schema, "format", path),
        min_counts=_counts(schema, "min"),
        max_counts=_counts(schema, "max"),
        low=_bound(schema, "minimum", "exclusiveMinimum", max),
        high=_bound(schema, "maximum", "exclusiveMaximum", min),
        multiples=_with_path(schema, "multipleOf", path),
    )


def _part(schema: dict[str, Any], keyword: str, path: str) -> AllOf | None:
    return ((schema[keyword], below(path, keyword)),) if keyword in schema else None


def _parts(schema: dict[str, Any], keyword: str, path: str) -> dict[str, AllOf]:
    inside = below(path, keyword)
    return {name: ((one, below(inside, name)),) for name, one in schema.get(keyword, {}).items()}


def _with_path(schema: dict[str, Any], keyword: str, path: str) -> tuple[tuple[Any, str], ...]:
    return ((schema[keyword], below(path, keyword)),) if keyword in schema else ()


def _counts(schema: dict[str, Any], side: str) -> dict[str, int]:
    kinds = ("Length", "Items", "Properties")
    return {kind: int(schema[side + kind]) for kind in kinds if side + kind in schema}


def _bound(schema: dict[str, Any], closed: str, exclusive: str, tighter: Any) -> Bound | None:
    found = [
        Bound(Decimal(repr(schema[keyword])), keyword == exclusive)
        for keyword in (closed, exclusive)
        if keyword in schema
    ]
    return _tighter(found, tighter)


def _tighter(bounds: list[Bound], tighter: Any) -> Bound | None:
    if not bounds:
        return None
    at = tighter(bound.at for bound in bounds)
    return Bound(at, any(bound.open for bound in bounds if bound.at == at))


def intersect(left: Shape, right: Shape) -> Shape | None:
    """The shape of values that satisfy both shapes; None if there evidently are none."""
    types = _types(left.types, right.types)
    if types is not None and not types:
        return None
    values = left.values if right.values is None else right.values
    if left.values is not None and right.values is not None:
        shared = set(map(comparable, right.values))
        values = tuple(value for value in left.values if comparable(value) in shared)
        if not values:
            return None
    return Shape(
        path=left.path,
        types=types,
        values=values,
        properties=_properties(left, right),
        required=left.required | right.required,
        always=left.always | right.always,
        additional=_and(left.additional, right.additional),
        pattern_properties=_pattern_properties(left, right),
        property_names=left.property_names + right.property_names,
        prefix=tuple(
            _item(left, index) + _item(right, index)
            for index in range(max(len(left.prefix), len(right.prefix)))
        ),
        items=_and(left.items, right.items),
        unique=left.unique or right.unique,
        patterns=left.patterns + right.patterns,
        formats=left.formats + right.formats,
        min_counts={
            kind: max(counts) for kind, counts in _by_kind(left.min_counts, right.min_counts).items()
        },
        max_counts={
            kind: min(counts) for kind, counts in _by_kind(left.max_counts, right.max_counts).items()
        },
        low=_tighter([bound for bound in (left.low, right.low) if bound], max),
        high=_tighter([bound for bound in (left.high, right.high) if bound], min),
        multiples=left.multiples + right.multiples,
    )


def _types(left: frozenset[str] | None, right: frozenset[str] | None) -> frozenset[str] | None:
    if left is None or right is None:
        return right if left is None else left
    widened = [types | {"integer"} if "number" in types else types for types in (left, right)]
    return widened[0] & widened[1]


def _and(left: AllOf | None, right: AllOf | None) -> AllOf | None:
    return left + right if left is not None and right is not None else right if left is None else left


def _by_kind(left: dict[str, int], right: dict[str, int]) -> dict[str, list[int]]:
    return {kind: [counts[kind] for counts in (left, right) if kind in counts] for kind in left | right}


def _item(shape: Shape, index: int) -> AllOf:
    return shape.prefix[index] if index < len(shape.prefix) else shape.items or ()


def _properties(left: Shape, right: Shape) -> dict[str, AllOf]:
    """The additionalProperties of each shape apply to the properties that only the other one names."""
    return {
        name: left.properties.get(name, left.additional or ())
        + right.properties.get(name, right.additional or ())
        for name in left.properties | right.properties
    }


def _pattern_properties(left: Shape, right: Shape) -> dict[str, AllOf]:
    for one, other in ((left, right), (right, left)):
        if one.pattern_properties and (other.pattern_properties or other.properties or other.additional):
            path = below(one.path, "patternProperties")
            reject(path, "cannot be combined with other schemas that constrain properties")
        if one.pattern_properties and one.additional and other.required - one.properties.keys():
            reject(
                below(one.path, "patternProperties"),
                "cannot be combined with properties that other schemas require",
            )
    return left.pattern_properties or right.pattern_properties
