"""Compiles a JSON schema to a grammar of JSON texts that validate against it.

Every text of the grammar validates, but not every valid text is in the grammar. A value is written in one way
only: ", " and ": " as separators, no other white space, properties in the schema's order. The grammar is also
narrower where a schema allows what is rarely wanted, such as unnamed properties or integers beyond 64 bits.
"""

import json
from decimal import Decimal
from math import ceil, floor
from typing import Any

import msgspec

from frontend.structured import automaton as fa
from frontend.structured import numbers
from frontend.structured.alternatives import Resolver
from frontend.structured.automaton import Automaton, TooComplex
from frontend.structured.errors import reject
from frontend.structured.keywords import below
from frontend.structured.sequences import Entry, Sequences
from frontend.structured.shapes import AllOf, Shape, type_of
from frontend.structured.strings import TOO_COMPLEX, Strings, parse_pattern
from frontend.structured.writer import NothingMatches, Writer, quoted

Options = list[tuple[str, set[str]]]  # EBNF, and the rules that it cannot avoid


class JsonGrammar:
    """The grammar of one schema. Raises ConstraintError, or TooComplex if the grammar becomes too large."""

    def __init__(self, root: Any) -> None:
        self._root: AllOf = ((root, ""),)
        self._resolver = Resolver(root)
        self._writer = Writer()
        self._strings = Strings(self._writer)
        self._sequences = Sequences(self._writer)
        self._rules: dict[tuple[int, ...], str] = {}
        self._places: dict[str, str] = {}  # by rule
        self._needs: dict[
            str, list[set[str]]
        ] = {}  # by rule: for each option, the rules it cannot do without

    def text(self) -> str:
        root = self._rule(self._root)
        self._check_that_texts_end()
        return self._writer.text(root)

    def _rule(self, part: AllOf) -> str:
        """The name of the rule for a value."""
        part = tuple((schema, path) for schema, path in part if schema is not True and schema != {})
        key = tuple(id(schema) for schema, _ in part)
        if key not in self._rules:
            name = self._rules[key] = self._writer.reserve("v")
            self._needs[name] = []
            self._places[name] = part[0][1] if part else ""
            self._writer.define(name, " | ".join(self._options(part, self._needs[name])))
        return self._rules[key]

    def _options(self, part: AllOf, needs: list[set[str]]) -> list[str]:
        options: dict[str, None] = {}
        for shape in self._resolver.alternatives(part):
            for written, needed in self._of_shape(shape):
                options[written] = None
                needs.append(needed)
        if not options:
            reject(part[0][1], "no value can satisfy this schema")
        return list(options)

    def _of_shape(self, shape: Shape) -> Options:
        if shape.values is not None:
            return [(quoted(json_text(value)), set()) for value in self._permitted(shape)]
        found = []
        for kind in sorted(shape.written_types()):
            match kind:
                case "null":
                    found.append(('"null"', set[str]()))
                case "boolean":
                    found.append(('"true" | "false"', set()))
                case "string":
                    found.append(('"\\"" ' + self._strings.rule(shape), set()))
                case "array":
                    found += self._array(shape)
                case "object":
                    found += self._object(shape)
                case _:
                    found.append((self._writer.characters(self._number(shape, kind == "integer")), set()))
        return found

    def _array(self, shape: Shape) -> Options:
        minimum, maximum = shape.min_counts.get("Items", 0), shape.max_counts.get("Items")
        items = shape.items if shape.items is not None or shape.prefix else ()
        if items is None and minimum > len(shape.prefix):
            items = ()
        if items is not None and not self._resolver.alternatives(items):
            items = None
        if shape.unique and (maximum is None or maximum > 1):
            return self._set(shape, items, minimum, maximum)
        prefix = [self._rule(part) for part in shape.prefix[:maximum]]
        item = None if items is None else self._rule(items)
        entries = [Entry(name, True) for name in prefix]
        rule = self._sequences.rule(entries, [item] if item else [], minimum, maximum, '"]"', distinct=False)
        needed = {*prefix, *([item] if item and minimum > len(prefix) else [])}
        return [(f'"[" {rule}', needed)] if rule else []

    def _set(self, shape: Shape, items: AllOf | None, minimum: int, maximum: int | None) -> Options:
        """An array of unique items, each from a list of values and written in that list's order."""
        found = [] if items is None else [_with_values(one) for one in self._resolver.alternatives(items)]
        if shape.prefix or any(one.values is None for one in found):
            reject(shape.unique or "", "is only supported if the items are an enum or booleans")
        values = {json_text(value): None for one in found for value in self._permitted(one)}
        entries = [Entry(quoted(value), False) for value in values]
        rule = self._sequences.rule(entries, [], minimum, maximum, '"]"', distinct=False)
        return [(f'"[" {rule}', set())] if rule else []

    def _object(self, shape: Shape) -> Options:
        named = self._named(shape)
        if named is None:
            return []
        entries, needed = [], set()
        keys = self._keys(shape)
        names = dict.fromkeys([*shape.properties, *sorted(shape.required)])
        for name, part, required in named:
            value = self._rule(part)
            entries.append(Entry(f"{quoted(json_text(name) + ': ')} {value}", required))
            needed |= {value} if required else set()
        minimum, maximum = shape.min_counts.get("Properties", 0), shape.max_counts.get("Properties")
        free = self._free(shape, list(names), keys)
        rule = self._sequences.rule(entries, free, minimum, maximum, '"}"', distinct=True)
        return [(f'"{{" {rule}', needed)] if rule else []

    def _named(self, shape: Shape) -> list[tuple[str, AllOf, bool]] | None:
        """The properties with names: value, and whether it is required. None if one cannot be satisfied."""
        found, keys = [], self._keys(shape)
        for name in dict.fromkeys([*shape.properties, *sorted(shape.required)]):
            part = shape.properties.get(name, shape.additional or ()) + self._of_patterns(shape, name)
            required = name in shape.required | shape.always
            if (keys is None or fa.matches(keys, name)) and self._resolver.alternatives(part):
                found.append((name, part, required))
            elif required:
                return None
        return found

    def _keys(self, shape: Shape) -> Automaton | None:
        """The property names that propertyNames allows; None for all."""
        if not shape.property_names:
            return None
        found = self._resolver.alternatives((*shape.property_names, ({"type": "string"}, "")))
        if len(found) != 1:
            reject(shape.property_names[0][1], "must be a schema of strings without alternatives")
        return self._automaton(found[0], shape.property_names[0][1])

    def _of_patterns(self, shape: Shape, name: str) -> AllOf:
        path = below(shape.path, "patternProperties")
        return tuple(
            place
            for text, part in shape.pattern_properties.items()
            if fa.matches(self._pattern(text, path), name)
            for place in part
        )

    def _pattern(self, text: str, path: str) -> Automaton:
        try:
            return self._strings.of_tree(parse_pattern(text, below(path, text)))
        except TooComplex:
            reject(below(path, text), TOO_COMPLEX)

    def _free(self, shape: Shape, names: list[str], keys: Automaton | None) -> list[str]:
        """EBNF of the unnamed properties that are allowed. Names that match several patterns are left out."""
        path = below(shape.path, "patternProperties")
        patterns = [self._pattern(text, path) for text in shape.pattern_properties]
        kinds = list(zip(patterns, shape.pattern_properties.values(), strict=True))
        if shape.additional is not None or not (names or patterns):
            kinds.append((fa.of_other_words([]), shape.additional or ()))
        found = []
        for pattern, part in kinds:
            if not self._resolver.alternatives(part):
                continue
            others = [fa.complement(other) for other in patterns if other is not pattern]
            if names:
                others.append(fa.of_other_words(names))
            key = self._key(
                pattern, others + ([keys] if keys else []), below(shape.path, "additionalProperties")
            )
            if key:
                found.append(f'"\\"" {key} ": " {self._rule(part)}')
        return found

    def _key(self, allowed: Automaton, limits: list[Automaton], path: str) -> str | None:
        try:
            for limit in limits:
                allowed = self._strings.intersection(allowed, limit)
            return self._writer.string(allowed) if allowed.edges else None
        except NothingMatches:
            return None
        except TooComplex:
            reject(path, "is too complex: the automaton of the allowed property names would be too large")

    def _number(self, shape: Shape, integer: bool) -> Automaton:
        if not (shape.low or shape.high or shape.multiples):
            return numbers.unbounded(integer)
        low, high = shape.low, shape.high
        path = below(shape.path, "minimum" if low else "maximum") if low or high else shape.path
        steps = [(_step(multiple, at), at) for multiple, at in shape.multiples]
        if integer or any(digits == 0 for (_, digits), _ in steps):
            tree = numbers.integer(
                None if low is None else floor(low.at) + 1 if low.open else ceil(low.at),
                None if high is None else ceil(high.at) - 1 if high.open else floor(high.at),
            )
        else:
            tree = numbers.number(
                low.at if low else None,
                high.at if high else None,
                above=bool(low and low.open),
                below=bool(high and high.open),
            )
        if tree is None:
            reject(path, "no number is within the bounds")
        try:
            found = self._strings.of_tree(tree)
            for (step, digits), _ in steps:
                found = self._strings.intersection(found, numbers.multiples(step, digits))
        except TooComplex:
            reject(path, "is too complex: the automaton of the numbers within the bounds would be too large")
        if not found.edges:
            reject(steps[0][1], "no number within the bounds is a multiple of this")
        return found

    def _permitted(self, shape: Shape) -> list[Any]:
        """The values of the enum that satisfy the schema's other keywords."""
        return [value for value in shape.values or () if self._permits(shape, value)]

    def _permits(self, shape: Shape, value: Any) -> bool:
        kind = type_of(value)
        kinds = {"integer", "number"} if kind == "integer" else {kind}
        if shape.types is not None and not kinds & shape.types:
            return False
        if not shape.constrains(kind):
            return True
        limits = msgspec.structs.replace(shape, values=None)
        if kind == "string":
            return fa.matches(self._automaton(limits, shape.path), value)
        if kind not in ("integer", "number"):
            reject(
                shape.path,
                f"an enum that contains an {kind} cannot be combined with other constraints on {kind}s",
            )
        whole = kind == "integer"
        return fa.matches(self._number(limits, whole), json_text(int(value) if whole else value))

    def _automaton(self, shape: Shape, path: str) -> Automaton:
        try:
            return self._strings.automaton(shape)
        except TooComplex:
            reject(path, TOO_COMPLEX)

    def _check_that_texts_end(self) -> None:
        """Every rule must have an option that needs no other rules, or only rules that end themselves."""
        ending: set[str] = set()
        while found := {
            name
            for name, options in self._needs.items()
            if name not in ending and any(needed <= ending for needed in options)
        }:
            ending |= found
        for name in self._needs:
            if name not in ending:
                reject(
                    self._places[name],
                    "no finite value satisfies this schema: each one would contain another",
                )


def _step(multiple: Any, path: str) -> tuple[int, int]:
    """The multiple as (units, digits): it is `units` times 10 to the power of -`digits`."""
    exact = Decimal(repr(multiple))
    digits = max(0, -int(exact.normalize().as_tuple().exponent))
    if exact != Decimal(multiple):
        # In floating point 0.29 / 0.01 is not 29, so validators would reject valid multiples.
        reject(path, "a fraction is only supported if it is exact in binary, such as 0.5 or 0.25")
    if exact.scaleb(digits) > numbers.LARGEST_MULTIPLE:
        reject(path, f"must have at most two significant digits and be at most {numbers.LARGEST_MULTIPLE}")
    return int(exact.scaleb(digits)), digits


def _with_values(shape: Shape) -> Shape:
    """A shape of booleans or nulls with its values listed; any other shape unchanged."""
    if shape.values is not None or not shape.written_types() <= {"boolean", "null"}:
        return shape
    values = {"boolean": (False, True), "null": (None,)}
    return msgspec.structs.replace(
        shape, values=tuple(value for kind in sorted(shape.written_types()) for value in values[kind])
    )


def json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
