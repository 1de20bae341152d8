"""Draws random texts of the formats of structural tags."""

import re
import string
from random import Random
from typing import Any

from frontend.structured import limits
from tests.frontend.structured.sampler import texts

# Any text, and texts that could be taken for values of other types.
FREE = ("", "null", "5", "true", " a\nb ", "<p>x</p>", "[1]", "é", "x\n", '"', "{", "None")
_LOOKAHEAD = re.compile(r" \(= \[[^\]]*\]\)")


def text_of(form: dict[str, Any], chance: Random) -> str:
    match form["type"]:
        case "any_text":
            return chance.choice(FREE)
        case "const_string":
            return str(form["value"])
        case "grammar":
            return chance.choice(_texts(form["grammar"]))
        case "tag":
            return f"{form['begin']}{text_of(form['content'], chance)}{form['end']}"
        case "regex":  # of one character
            return chance.choice([one for one in string.printable if re.fullmatch(form["pattern"], one)])
        case "sequence":
            return "".join(text_of(element, chance) for element in form["elements"])
        case "or":
            return text_of(chance.choice(form["elements"]), chance)
    raise NotImplementedError(form["type"])


_drawn: dict[str, list[str]] = {}


def _texts(grammar: str) -> list[str]:
    if grammar not in _drawn:
        before = limits.EBNF_BYTES, limits.EBNF_RULES
        limits.EBNF_BYTES, limits.EBNF_RULES = limits.GRAMMAR_BYTES, limits.GRAMMAR_RULES
        try:
            _drawn[grammar] = texts(_LOOKAHEAD.sub("", grammar), 30)
        finally:
            limits.EBNF_BYTES, limits.EBNF_RULES = before
    return _drawn[grammar]
