"""The output formats that a client may ask for, each as the format object of a structural tag."""

import json
from functools import lru_cache
from typing import Any

from frontend.structured import automaton as fa
from frontend.structured import charset as cs
from frontend.structured import limits, pattern, size
from frontend.structured.automaton import Budget, TooComplex
from frontend.structured.ebnf import Invalid
from frontend.structured.ebnf import parse as parse_ebnf
from frontend.structured.json_grammar import JsonGrammar
from frontend.structured.keywords import below, fault
from frontend.structured.keywords import schema as check_schema
from frontend.structured.rewriting import rewritten
from frontend.structured.writer import BEYOND_ASCII, Empty, Writer, quoted

Format = dict[str, Any]


def json_object() -> Format:
    """Any JSON object."""
    return json_schema({"type": "object"}, "response_format")


def json_schema(schema: object, where: str) -> Format:
    """JSON that validates against the schema. Raises BadRequest, whose param is the path of the fault below
    `where`."""
    check_schema(schema, where)
    size.check(schema, where)
    try:
        return _grammar(_json_grammar(json.dumps(schema), where))
    except TooComplex:
        fault(where, "the schema is too complex: its grammar would be too large")


@lru_cache(16)
def _json_grammar(schema: str, where: str) -> str:
    """Clients tend to ask for the same format again and again."""
    return JsonGrammar(json.loads(schema), where).text()


def regex(text: object, where: str) -> Format:
    """Text that matches the whole pattern. Raises BadRequest."""
    if not isinstance(text, str) or not text:
        fault(where, "must be a string that is not empty")
    writer = Writer()
    try:
        tree = pattern.parse(text, search=False)
        return _grammar(writer.text(writer.characters(fa.of_tree(tree, Budget()))))
    except pattern.Unsupported as error:
        fault(where, f"the pattern {error}")
    except Empty:
        fault(where, f"nothing that can be written matches the pattern{BEYOND_ASCII}")
    except TooComplex:
        fault(where, "the pattern is too complex: its automaton would be too large")


def ebnf(grammar: object, where: str) -> Format:
    """Text of a grammar in EBNF (see ebnf.py), from its rule `root`. Raises BadRequest."""
    if not isinstance(grammar, str):
        fault(where, "must be a string")
    try:
        return _grammar(rewritten(parse_ebnf(grammar)))
    except Invalid as error:
        fault(where, str(error))
    except Empty:
        fault(where, f"a rule matches nothing that can be written{BEYOND_ASCII}")
    except TooComplex:
        fault(where, "the grammar is too complex: its automata would be too large")


def choice(options: object, where: str) -> Format:
    """One of the strings given. Raises BadRequest."""
    if not isinstance(options, list) or not options:
        fault(where, "must be a list of strings that is not empty")
    if len(options) > limits.CHOICES:
        fault(where, f"must have at most {limits.CHOICES} options")
    left = limits.CHOICE_BYTES
    for index, option in enumerate(options):
        if not isinstance(option, str) or not option:
            fault(below(where, index), "must be a string that is not empty")
        left -= len(option)
        if left < 0:
            fault(where, f"must not be longer than {limits.CHOICE_BYTES} characters together")
        if not all(cs.holds(cs.PLAIN, ord(character)) for character in option):
            fault(
                below(where, index), "has a control character, half of a surrogate pair, or an unassigned one"
            )
    return _grammar("root ::= " + " | ".join(map(quoted, dict.fromkeys(options))) + "\n")


def _grammar(text: str) -> Format:
    return {"type": "grammar", "grammar": text}
