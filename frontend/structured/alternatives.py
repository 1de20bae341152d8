"""Resolves $ref, allOf, anyOf and oneOf: a schema becomes a list of alternative shapes."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

import msgspec

from frontend.structured import keywords, limits
from frontend.structured.errors import reject
from frontend.structured.keywords import below
from frontend.structured.shapes import AllOf, Shape, comparable, intersect, of_keywords, type_of


class Resolver:
    """Resolves one root schema and its internal references."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._merges = 0

    def alternatives(self, part: AllOf) -> list[Shape]:
        """A value satisfies all the schemas if it has one of these shapes. Raises ConstraintError."""
        path = part[0][1] if part else ""
        found = [Shape(path=path)]
        for schema, at in part:
            found = self._product(found, self._of_schema(schema, at, ()), at)
        return found

    def _of_schema(self, schema: Any, path: str, within: tuple[int, ...]) -> list[Shape]:
        """`within` holds the ids of the schemas that combine or refer to this one."""
        if isinstance(schema, bool):
            return [Shape(path=path)] if schema else []
        if id(schema) in within:
            reject(path, "refers to itself directly")
        within = (*within, id(schema))
        if len(within) > limits.SCHEMA_DEPTH:
            reject(path, f"combines schemas more than {limits.SCHEMA_DEPTH} levels deep")
        found = [of_keywords(schema, path)]
        if "$ref" in schema:
            at = below(path, "$ref")
            found = self._product(found, self._of_schema(*self._target(schema["$ref"], at), within), at)
        for index, one in enumerate(schema.get("allOf", ())):
            at = below(below(path, "allOf"), index)
            found = self._product(found, self._of_schema(one, at, within), at)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                found = self._any(found, schema[keyword], below(path, keyword), within, keyword == "oneOf")
        return [self._with_unevaluated(shape, schema, path) for shape in found]

    def _any(
        self, found: list[Shape], options: list[Any], path: str, within: tuple[int, ...], exactly_one: bool
    ) -> list[Shape]:
        branches = [
            self._product(found, self._of_schema(one, below(path, index), within), below(path, index))
            for index, one in enumerate(options)
        ]
        if exactly_one:
            for index, shapes in enumerate(branches):
                for before, others in enumerate(branches[:index]):
                    self._spend(len(shapes) * len(others), path)
                    if not self._make_exclusive(shapes, others):
                        reject(
                            path,
                            f"alternatives {before} and {index} may both match the same value;"
                            " use anyOf if that is allowed",
                        )
        return [shape for shapes in branches for shape in shapes]

    def _product(self, left: list[Shape], right: list[Shape], path: str) -> list[Shape]:
        self._spend(len(left) * len(right), path)
        found = [shape for x in left for y in right if (shape := intersect(x, y))]
        if len(found) > limits.ALTERNATIVES:
            reject(path, f"combines to more than {limits.ALTERNATIVES} alternatives")
        return found

    def _spend(self, merges: int, path: str) -> None:
        self._merges += merges
        if self._merges > limits.MERGES:
            reject(path, "the schema combines too many subschemas")

    def _target(self, reference: str, path: str) -> tuple[Any, str]:
        if reference != "#" and not reference.startswith("#/"):
            reject(path, "only references within the schema are supported, such as '#/$defs/name'")
        found, at = self._root, ""
        for step in reference.split("/")[1:]:
            key = unquote(step).replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and key in found:
                found, at = found[key], below(at, key)
            elif isinstance(found, list) and key.isdecimal() and len(key) < 6 and int(key) < len(found):
                found, at = found[int(key)], below(at, int(key))
            else:
                reject(path, f"{reference!r} does not exist")
        if not isinstance(found, dict | bool):
            reject(path, f"{reference!r} is not a schema")
        return found, at

    def _with_unevaluated(self, shape: Shape, schema: dict[str, Any], path: str) -> Shape:
        """Treats unevaluatedProperties as additionalProperties, and unevaluatedItems as items, of `shape`."""
        rest = {}
        for keyword, field in (("unevaluatedProperties", "additional"), ("unevaluatedItems", "items")):
            if keyword in schema and getattr(shape, field) is None:
                rest[field] = ((schema[keyword], below(path, keyword)),)
        return msgspec.structs.replace(shape, **rest)

    def _make_exclusive(self, shapes: list[Shape], others: list[Shape]) -> bool:
        """Ensure that no value written for one of the shapes satisfies one of the others, and vice versa.

        If an optional property distinguishes two shapes, it becomes one that is always written. False if
        nothing distinguishes them.
        """
        for i, x in enumerate(shapes):
            for j, y in enumerate(others):
                if self._exclude(x, y) and self._exclude(y, x):
                    continue
                known = x.always | y.always
                likely_first = sorted(x.properties, key=lambda name: name not in known)
                tag = next((name for name in likely_first if self._excluded_by(name, x, y)), None)
                if tag is None:
                    return False
                shapes[i] = x = msgspec.structs.replace(x, always=x.always | {tag})
                others[j] = msgspec.structs.replace(y, always=y.always | {tag})
        return True

    def _excluded_by(self, name: str, x: Shape, y: Shape) -> bool:
        """Whether no object with this property satisfies both shapes, and no other value does."""
        if name not in y.properties or _shared_types(x, y) | _shared_types(y, x) != {"object"}:
            return False
        return self._parts_exclude(x.properties[name], y.properties[name]) and self._parts_exclude(
            y.properties[name], x.properties[name]
        )

    def _exclude(self, written: Shape, other: Shape) -> bool:
        """Whether it is evident that no value written for one shape satisfies the other."""
        if written.values is not None and other.values is not None:
            return not set(map(comparable, written.values)) & set(map(comparable, other.values))
        shared = _shared_types(written, other)
        return not shared or (shared == {"object"} and self._objects_exclude(written, other))

    def _objects_exclude(self, written: Shape, other: Shape) -> bool:
        closed = not written.pattern_properties and all(
            schema is False for schema, _ in written.additional or ()
        )
        certain = written.required | written.always
        names = written.properties.keys() | certain
        if closed and (names or written.additional) and other.required - names:
            return True
        forbids = other.additional and other.additional[0][0] is False and not other.pattern_properties
        if forbids and certain - other.properties.keys():
            return True
        return any(
            self._parts_exclude(written.properties[name], other.properties[name])
            for name in certain & written.properties.keys() & other.properties.keys()
        )

    def _parts_exclude(self, written: AllOf, other: AllOf) -> bool:
        shapes, others = self.alternatives(written), self.alternatives(other)
        if any(shape.values is None for shape in shapes + others):
            return False
        return all(self._exclude(x, y) for x in shapes for y in others)


def _shared_types(written: Shape, other: Shape) -> set[str]:
    """The types of values that are written for one shape and might satisfy the other."""
    return _roughly(written.written_types()) & _roughly(_accepted_types(other))


def _accepted_types(shape: Shape) -> Iterable[str]:
    if shape.values is not None:
        return map(type_of, shape.values)
    return keywords.TYPES if shape.types is None else shape.types


def _roughly(types: Iterable[str]) -> set[str]:
    """Types with integers counted as numbers."""
    return {"number" if kind == "integer" else kind for kind in types}
