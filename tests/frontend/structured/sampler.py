"""Texts of a grammar that was written for the engine, drawn at random."""

from random import Random

from frontend.structured.ebnf import parse
from frontend.structured.pattern import Either, One, Repeat, Rule, Sequence, Tree


def texts(grammar: str, count: int) -> list[str]:
    """The same ones each time. The grammar has no lookahead."""
    rules, chance = parse(grammar), Random(0)
    return [_text(rules, chance) for _ in range(count)]


def _text(rules: dict[str, Tree], chance: Random) -> str:
    found: list[str] = []
    waiting: list[Tree] = [Rule("root")]
    while waiting:
        match waiting.pop():
            case One(characters):
                found.append(chr(chance.randint(*chance.choice(characters))))
            case Sequence(parts):
                waiting += reversed(parts)
            case Either(options):
                waiting.append(chance.choice(options))
            case Repeat(part, low, high):
                waiting += [part] * chance.randint(low, low + 3 if high is None else high)
            case Rule(name):
                waiting.append(rules[name])
    return "".join(found)
