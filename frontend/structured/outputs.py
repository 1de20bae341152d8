"""Compiles each kind of constraint to the format object of a structural tag."""

import json

from frontend.structured import automaton as fa
from frontend.structured import charset as cs
from frontend.structured import limits, pattern, size
from frontend.structured.automaton import Budget, TooComplex
from frontend.structured.cache import Format, FormatCache
from frontend.structured.ebnf import InvalidGrammar
from frontend.structured.ebnf import parse as parse_ebnf
from frontend.structured.errors import reject
from frontend.structured.json_grammar import JsonGrammar
from frontend.structured.keywords import below
from frontend.structured.keywords import schema as check_schema
from frontend.structured.rewriting import rewrite
from frontend.structured.writer import BEYOND_ASCII, NothingMatches, Writer, quoted

cache = FormatCache(limits.CACHE_BYTES)


def json_object() -> Format:
    """Any JSON object."""
    return json_schema({"type": "object"})


@cache.memoize
def json_schema(schema: object) -> Format:
    """JSON that validates against the schema. Raises ConstraintError."""
    check_schema(schema, "")
    size.check(schema)
    # Copied because shared objects would share a rule, and the result must depend on the content alone.
    copy = json.loads(json.dumps(schema))
    try:
        return _format(JsonGrammar(copy).text())
    except TooComplex:
        reject("", "the schema is too complex: its grammar would be too large")


@cache.memoize
def regex(text: object) -> Format:
    """Text that matches the pattern as a whole. Raises ConstraintError."""
    if not isinstance(text, str) or not text:
        reject("", "must be a non-empty string")
    writer = Writer()
    try:
        tree = pattern.parse(text, search=False)
        return _format(writer.text(writer.characters(fa.of_tree(tree, Budget()))))
    except pattern.UnsupportedPattern as error:
        reject("", f"the pattern {error}")
    except NothingMatches:
        reject("", f"nothing that can be written matches the pattern{BEYOND_ASCII}")
    except TooComplex:
        reject("", "the pattern is too complex: its automaton would be too large")


def whole_pattern(text: str) -> str:
    """A schema's pattern of the texts that match `text` as a whole. Raises ConstraintError for its syntax."""
    try:
        return pattern.whole(text)
    except pattern.UnsupportedPattern as error:
        reject("", f"the pattern {error}")


@cache.memoize
def ebnf(grammar: object) -> Format:
    """Text that the rule `root` of an EBNF grammar derives; see ebnf.py. Raises ConstraintError."""
    if not isinstance(grammar, str):
        reject("", "must be a string")
    try:
        return _format(rewrite(parse_ebnf(grammar)))
    except InvalidGrammar as error:
        reject("", str(error))
    except NothingMatches:
        reject("", f"a rule matches nothing that can be written{BEYOND_ASCII}")
    except TooComplex:
        reject("", "the grammar is too complex: its automata would be too large")


@cache.memoize
def choice(options: object) -> Format:
    """One of a list of strings. Raises ConstraintError."""
    if not isinstance(options, list) or not options:
        reject("", "must be a non-empty list of strings")
    if len(options) > limits.CHOICES:
        reject("", f"must have at most {limits.CHOICES} options")
    left = limits.CHOICE_BYTES
    for index, option in enumerate(options):
        path = below("", index)
        if not isinstance(option, str) or not option:
            reject(path, "must be a non-empty string")
        left -= len(option)
        if left < 0:
            reject("", f"must not be longer than {limits.CHOICE_BYTES} characters in total")
        if not all(cs.holds(cs.PLAIN, ord(character)) for character in option):
            reject(path, "contains a control character, a lone surrogate or an unassigned character")
    return _format("root ::= " + " | ".join(map(quoted, dict.fromkeys(options))) + "\n")


def _format(grammar: str) -> Format:
    return {"type": "grammar", "grammar": grammar}
