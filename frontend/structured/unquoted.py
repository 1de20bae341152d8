"""Values that are written as text between tags, as some models write the arguments of a call.

Strings have no quotes there, and every other value is JSON. A reader takes a text for JSON if that is a value
of another type that it expects, and for a string otherwise. So strings that would be misread are not written.
"""

from collections.abc import Callable, Iterator, Set
from functools import cache
from itertools import islice
from typing import Any

import msgspec

from frontend.structured import automaton as fa
from frontend.structured import charset as cs
from frontend.structured import pattern
from frontend.structured.automaton import Automaton, Budget, TooComplex
from frontend.structured.charset import Charset
from frontend.structured.errors import reject
from frontend.structured.json_grammar import JsonGrammar, Options, json_text
from frontend.structured.keywords import TYPES, below
from frontend.structured.shapes import AllOf, Shape, type_of
from frontend.structured.strings import TOO_COMPLEX
from frontend.structured.writer import NothingMatches, quoted, raw_notation, writable

MAX_FORMS = 16  # alternatives of all parameters together

ReadAs = Callable[[str], Set[str]]  # name of a parameter → the types of JSON that its reader expects

_ANY = "(?:[^a]|a)*"
_SPACE = r"[ \t\n\r]*"
_READ_AS_JSON = {  # patterns of what is, or may be, read as each type
    "null": "null|None",
    "boolean": "true|false|True|False",
    "number": r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?",
    "object": rf"\{{{_ANY}",
    "array": rf"\[{_ANY}",
}
_LEADING_SPACE = cs.of(" \t\n\r")
_BEGINS = {
    "null": cs.of("nN"),
    "boolean": cs.of("tfTF"),
    "number": cs.union(cs.DIGITS, cs.of("-")),
    "object": cs.of("{"),
    "array": cs.of("["),
}
_COUNTED = 32  # maximum length of a string that is counted by an automaton
_WITHOUT_END = r"(?:[^<]|<+[^<\/])*<*"


class Parameter(msgspec.Struct, frozen=True):
    name: str
    required: bool
    grammar: str | None  # EBNF of the value and its end; None for any text


class Unnamed(msgspec.Struct, frozen=True):
    """The value of a parameter whose name the schema does not contain; see Parameter."""

    grammar: str | None


class Form(msgspec.Struct, frozen=True):
    """One of the forms that arguments may have."""

    parameters: list[Parameter]
    unnamed: Unnamed | None  # None if there may be no others


def forms(root: dict[str, Any], read_as: ReadAs, end: str) -> list[Form]:
    """The arguments that an object schema allows; every value is followed by the literal `end`.

    Raises ConstraintError, or TooComplex if a grammar becomes too large.
    """
    return _Arguments(root, read_as, end).forms()


class _Arguments(JsonGrammar):
    def __init__(self, root: dict[str, Any], read_as: ReadAs, end: str) -> None:
        super().__init__(root)
        self._schema = root
        self._read_as = read_as
        self._end = end

    def forms(self) -> list[Form]:
        shapes = self._resolver.alternatives(((self._schema, ""), ({"type": "object"}, "")))
        found = [form for shape in shapes if (form := self._form(shape)) is not None]
        if not found:
            reject("", "no arguments can satisfy this schema")
        if len(found) > MAX_FORMS:
            reject("", f"combines to more than {MAX_FORMS} alternatives")
        return found

    def _form(self, shape: Shape) -> Form | None:
        named = self._named(shape)
        if shape.values is not None:
            reject(shape.path, "a list of whole arguments is not supported for this model")
        if named is None:
            return None
        needed = sum(required for _, _, required in named)
        least, most = shape.min_counts.get("Properties", 0), shape.max_counts.get("Properties")
        if least > needed:
            reject(
                below(shape.path, "minProperties"), "must not exceed the required properties for this model"
            )
        if most is not None and most < needed:
            return None
        spare = len(named) if most is None else most - needed
        optional = {name for name, _, required in named if not required}
        optional = set(islice((name for name, _, _ in named if name in optional), spare))
        parameters = [
            Parameter(name, required, self._value(part, name))
            for name, part, required in named
            if required or name in optional
        ]
        return Form(parameters, None if named or most == 0 else self._unnamed(shape))

    def _unnamed(self, shape: Shape) -> Unnamed | None:
        if shape.pattern_properties or shape.property_names:
            reject(shape.path, "properties without fixed names must not have patterns for this model")
        part = shape.additional or ()
        return Unnamed(self._value(part, "")) if self._resolver.alternatives(part) else None

    def _value(self, part: AllOf, name: str) -> str | None:
        return _Value(self._schema, self._read_as(name), self._end).text_of(part)


class _Value(JsonGrammar):
    """The grammar of one value."""

    def __init__(self, root: Any, read_as: Set[str], end: str) -> None:
        super().__init__(root)
        self._read_as = set(read_as or TYPES)
        self._end = end
        self._how = raw_notation(end)

    def text_of(self, part: AllOf) -> str | None:
        """EBNF of the value and its end; None if any text will do."""
        shapes = self._resolver.alternatives(part)
        misread = self._misread(shapes)
        if not misread and any(map(self._is_any_string, shapes)):
            return None
        root = self._writer.reserve("v")
        self._needs[root] = []
        self._places[root] = part[0][1] if part else ""
        options: dict[str, None] = {}
        for shape in shapes:
            for written, needed in self._of_text(shape, misread):
                options[written] = None
                self._needs[root].append(needed)
        if not options:
            reject(self._places[root], "no value that this model can write satisfies this schema")
        self._check_that_texts_end()
        return self._writer.text(self._writer.define(root, " | ".join(options)))

    def _misread(self, shapes: list[Shape]) -> set[str]:
        """The types of JSON that a reader takes a string for, although not all of their values are valid."""
        expected = {"number" if kind == "integer" else kind for kind in self._read_as} - {"string"}
        return {
            kind for kind in expected if not any(_allows_all(shape, kind, self._read_as) for shape in shapes)
        }

    def _is_any_string(self, shape: Shape) -> bool:
        return _allows_all(shape, "string", ()) or (
            _accepts(shape, "string") and shape.values is None and self._strings.is_unconstrained(shape)
        )

    def _of_text(self, shape: Shape, misread: set[str]) -> Options:
        end = quoted(self._end)
        if shape.values is not None:
            return [(quoted(text + self._end), set()) for text in self._texts(shape, misread)]
        kinds = frozenset(filter(self._is_read, shape.written_types()))
        found: Options = []
        if others := kinds - {"string"}:
            written = self._of_shape(msgspec.structs.replace(shape, types=others))
            found += [(f"({one}) {end}", needed) for one, needed in written]
        if "string" in kinds and (rule := self._string(shape, misread)):
            found.append((rule, set()))
        return found

    def _is_read(self, kind: str) -> bool:
        return kind in self._read_as or (kind == "integer" and "number" in self._read_as)

    def _texts(self, shape: Shape, misread: set[str]) -> Iterator[str]:
        for value in self._permitted(shape):
            if self._is_read(type_of(value)) and not isinstance(value, str):
                yield json_text(value)
            elif isinstance(value, str) and fa.matches(_writable(frozenset(misread)), value):
                yield value

    def _string(self, shape: Shape, misread: set[str]) -> str | None:
        try:
            run = self._strings.run(shape)
            if run and not misread:
                return self._writer.run(*run, self._how)
            if run and max(run[1], run[2] or 0) > _COUNTED:
                return self._run_beginning_apart(*run, misread)
            found = self._strings.automaton(shape)
            found = self._strings.intersection(found, _writable(frozenset(misread)))
            return self._writer.raw(found, self._end) if found.edges else None
        except NothingMatches:
            return None
        except TooComplex:
            reject(shape.path, TOO_COMPLEX)

    def _run_beginning_apart(self, characters: Charset, low: int, high: int | None, misread: set[str]) -> str:
        """A run that begins as no value of the types in `misread` does: an automaton would be too large."""
        begins = cs.union(_LEADING_SPACE, *(_BEGINS[kind] for kind in misread), self._how.mark)
        first = writable(cs.minus(cs.intersection(characters, cs.PLAIN), begins))
        rest = self._writer.run(characters, max(low - 1, 0), None if high is None else high - 1, self._how)
        options = [f"{one} {rest}" for one in self._how.written(first)]
        return self._writer.rule(" | ".join(options if low else [self._how.end, *options]))


def _accepts(shape: Shape, kind: str) -> bool:
    if shape.types is None:
        return True
    return kind in shape.types or (kind == "integer" and "number" in shape.types)


def _allows_all(shape: Shape, kind: str, read_as: Any) -> bool:
    """Whether every value of this type is valid. Numbers may be integers if only these are expected."""
    if shape.values is not None or shape.constrains(kind):
        return False
    whole = kind == "number" and "number" not in read_as
    return _accepts(shape, "integer" if whole else kind)


@cache
def _writable(misread: frozenset[str]) -> Automaton:
    """Texts without a closing tag that are read as strings."""
    budget = Budget()
    found = fa.of_tree(pattern.parse(_WITHOUT_END, search=False), budget)
    found = fa.intersection(
        found, fa.of_tree(pattern.Repeat(pattern.CharClass(cs.PLAIN), 0, None), budget), budget
    )
    for kind in sorted(misread):
        read = pattern.parse(f"{_SPACE}(?:{_READ_AS_JSON[kind]}){_SPACE}", search=False)
        found = fa.intersection(found, fa.complement(fa.of_tree(read, budget)), budget)
    return found
