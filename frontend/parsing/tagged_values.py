"""Arguments as text between tags, where strings have no quotes: reads them, and forces them with grammars."""

import json
import re
from typing import Any, NamedTuple

from frontend.parsing.calls import Call
from frontend.parsing.grammar import (
    ANY_TEXT,
    NOTHING,
    constant,
    ebnf,
    either,
    escaped,
    one_or_more,
    regex,
    sequence,
    tag,
)
from frontend.parsing.scanner import Malformed, Reading, Scanner
from frontend.parsing.schema_types import allowed_types, argument_schemas, as_json
from frontend.structured import Format, json_schema
from frontend.structured.automaton import TooComplex
from frontend.structured.errors import reject
from frontend.structured.outputs import cache
from frontend.structured.unquoted import Form, forms

_ANY_NAME = "[a-zA-Z_][a-zA-Z0-9_]*"
_ESCAPE = re.compile(r"\\.", re.DOTALL)


class TaggedValues:
    """Writes the arguments of a call as a JSON object while its parameters are read."""

    def __init__(self, call: Call, root: dict[str, Any] | None) -> None:
        self._call = call
        self._root = root
        self._schemas = argument_schemas(root)
        self._seen: set[str] = set()
        self._name = ""

    def may_have(self, name: str) -> bool:
        """Whether a parameter of this name may follow."""
        return bool(name) and name not in self._seen and (not self._schemas or name in self._schemas)

    @property
    def are_complete(self) -> bool:
        """Whether nothing is missing that the schema requires; False if it requires nothing."""
        required = self._root.get("required") if self._root is not None else None
        return isinstance(required, list) and bool(self._seen) and self._seen.issuperset(required)

    def begin(self, name: str) -> None:
        """The value of `name` follows. Raises Malformed if it has one already."""
        if name in self._seen:
            raise Malformed
        self._seen.add(name)
        self._name = name

    def add(self, text: str, is_string: bool = False) -> None:
        """Write the value. Its type follows from the schema, unless the model states that it is a string."""
        value = (
            json.dumps(text, ensure_ascii=False)
            if is_string
            else as_json(text, self._schemas.get(self._name), self._root)
        )
        before = ", " if len(self._seen) > 1 else "{"
        self._call.write(f"{before}{json.dumps(self._name, ensure_ascii=False)}: {value}")

    def read(self, scanner: Scanner, end: str, bound: bool) -> Reading[str]:
        """Read a value and its end tag. `bound` states that a grammar binds the value. Raises Malformed."""
        text = yield from scanner.before(end)
        while bound and self.is_amid_string(text):
            text += end + (yield from scanner.before(end))
        return text

    def is_amid_string(self, text: str) -> bool:
        """Whether `text`, with which a valid value begins, ends in a JSON string: end tags are text there."""
        if text.lstrip()[:1] not in ("{", "["):
            return False
        types = allowed_types(self._schemas.get(self._name), self._root)
        return bool(types) and "string" not in types and _ESCAPE.sub("", text).count('"') % 2 == 1

    def end(self) -> None:
        if self._seen:
            self._call.write("}")


class Tags(NamedTuple):
    """What a parameter is written with."""

    begin: str  # before the name
    named: str  # between the name and the value
    newline: str  # after the value, if the family puts the end tag on a line of its own
    end: str  # after the value
    typed: tuple[str, str] | None = None  # instead of `named` for strings, and for values that are none
    readable: str = r"[^<>\r\n]+"  # a pattern of the names that the family's reader returns as they are


def parameters_format(root: dict[str, Any] | None, tags: Tags) -> Format:
    """Parameters in the schema's order, of which optional ones may be missing; any without a schema.

    Raises ConstraintError.
    """
    return _compiled([root, list(tags)])


@cache.memoize
def _compiled(constraint: list[Any]) -> Format:
    root, tags = constraint[0], Tags(*constraint[1])
    if root is None:
        return _any_parameters(tags, None)
    json_schema(root)  # so that all families reject the same schemas
    schemas = argument_schemas(root)

    def form_of(form: Form) -> Format:
        if form.unnamed is not None:
            return _any_parameters(tags, form.unnamed.grammar)
        parameters = []
        for one in form.parameters:
            if not re.fullmatch(tags.readable, one.name):
                reject(".properties", f"the name {one.name!r} cannot be written as this model writes calls")
            named = constant(f"{one.name}{_named(tags, allowed_types(schemas.get(one.name), root))}")
            parameter = _parameter(tags, named, one.grammar)
            parameters.append(parameter if one.required else either(parameter, NOTHING))
        return sequence(*parameters) if parameters else NOTHING

    try:
        found = forms(root, lambda name: allowed_types(schemas.get(name), root), f"{tags.newline}{tags.end}")
    except TooComplex:
        reject("", "the schema is too complex: its grammar would be too large")
    return either(*map(form_of, found))


def _named(tags: Tags, types: set[str]) -> str:
    """What is after the name. A family that states types leaves that out where either is possible."""
    if tags.typed is None or not types or ("string" in types and len(types) > 1):
        return tags.named
    return tags.typed[0 if "string" in types else 1]


def _parameter(tags: Tags, name: Format, value: str | None) -> Format:
    if value is None:  # free text may end with a newline
        return tag(tags.begin, sequence(name, ANY_TEXT), tags.end)
    return tag(tags.begin, sequence(name, ebnf(value)), "")


def _any_parameters(tags: Tags, value: str | None) -> Format:
    name = f"{_ANY_NAME}{escaped(tags.named)}"
    if value is None:
        anything = tag(tags.begin, regex(rf"{name}([^<]|<[^/])*"), tags.end)
    else:
        anything = _parameter(tags, regex(name), value)
    return {**one_or_more([anything], "", parallel=True), "at_least_one": False}
