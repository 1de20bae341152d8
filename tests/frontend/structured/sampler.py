"""Draws random texts of a grammar that was written for the engine."""

from random import Random

from frontend.structured.ebnf import parse
from frontend.structured.pattern import Alternation, CharClass, Concat, Repeat, RuleRef, Tree


def texts(grammar: str, count: int) -> list[str]:
    """The same texts on every call. The grammar must not have lookaheads."""
    rules, chance = parse(grammar), Random(0)
    return [_text(rules, chance) for _ in range(count)]


def _text(rules: dict[str, Tree], chance: Random) -> str:
    found: list[str] = []
    waiting: list[Tree] = [RuleRef("root")]
    while waiting:
        match waiting.pop():
            case CharClass(characters):
                found.append(chr(chance.randint(*chance.choice(characters))))
            case Concat(parts):
                waiting += reversed(parts)
            case Alternation(options):
                waiting.append(chance.choice(options))
            case Repeat(part, low, high):
                waiting += [part] * chance.randint(low, low + 3 if high is None else high)
            case RuleRef(name):
                waiting.append(rules[name])
    return "".join(found)
