"""Parses and validates grammars in a GBNF-like EBNF.

It has rules (`name ::= …`), literals, character classes, groups, and the repetitions `*`, `+`, `?` and
`{m,n}`.
"""

import re
from typing import NoReturn

from frontend.structured import charset as cs
from frontend.structured import limits
from frontend.structured.charset import Charset
from frontend.structured.pattern import EMPTY, Alternation, CharClass, Concat, Repeat, RuleRef, Tree, literal


class InvalidGrammar(Exception):
    """The message describes the fault and where it is."""


_TOKEN = re.compile(
    r"""(?P<space>(?:[ \t\r\n]|\#[^\r\n]*)+)
    |(?P<name>[A-Za-z_.-][A-Za-z0-9_.-]*)
    |(?P<assign>::=)
    |(?P<literal>"(?:[^"\\\r\n]|\\.)*")
    |(?P<bracket>\[(?:[^\]\\\r\n]|\\.)*\])
    |(?P<counts>\{[ ]*[0-9]{1,6}[ ]*(?:,[ ]*(?:[0-9]{1,6}[ ]*)?)?\})
    |(?P<sign>[()|*+?])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "b": "\b", "a": "\a", "0": "\0"}


def parse(text: str) -> dict[str, Tree]:
    """The rules by name. Raises InvalidGrammar, also for missing, left-recursive and endless rules."""
    if len(text) > limits.EBNF_BYTES:
        raise InvalidGrammar(f"the grammar is longer than {limits.EBNF_BYTES} characters")
    rules = _Parser(text).grammar()
    if "root" not in rules:
        raise InvalidGrammar("the grammar has no rule 'root'")
    if len(rules) > limits.EBNF_RULES:
        raise InvalidGrammar(f"the grammar has more than {limits.EBNF_RULES} rules")
    _check_references(rules)
    _check_that_texts_end(rules)
    _check_left_recursion(rules)
    return rules


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str, int]] = []
        self._at = 0
        self._depth = 0
        position, line = 0, 1
        while position < len(text):
            found = _TOKEN.match(text, position)
            if not found:
                raise InvalidGrammar(f"line {line}: syntax error at {text[position : position + 10]!r}")
            if found.lastgroup != "space":
                self._tokens.append((found.lastgroup or "", found[0], line))
            line += found[0].count("\n")
            position = found.end()
        self._tokens += [("end", "the end", line)] * 2

    def grammar(self) -> dict[str, Tree]:
        rules: dict[str, Tree] = {}
        while self._kind() != "end":
            kind, name, _ = self._tokens[self._at]
            if kind != "name" or self._kind(1) != "assign":
                self._fail(f"expected a rule such as 'name ::= …', not {name!r}")
            if name in rules:
                self._fail(f"the rule {name!r} is defined twice")
            self._at += 2
            rules[name] = self._choice()
        return rules

    def _kind(self, ahead: int = 0) -> str:
        return self._tokens[self._at + ahead][0]

    def _fail(self, what: str) -> NoReturn:
        raise InvalidGrammar(f"line {self._tokens[self._at][2]}: {what}")

    def _take(self, sign: str) -> bool:
        taken = self._tokens[self._at][:2] == ("sign", sign)
        self._at += taken
        return taken

    def _choice(self) -> Tree:
        options = [self._sequence()]
        while self._take("|"):
            options.append(self._sequence())
        return options[0] if len(options) == 1 else Alternation(tuple(options))

    def _sequence(self) -> Tree:
        parts: list[Tree] = []
        while True:
            kind, text, _ = self._tokens[self._at]
            ends = kind == "end" or (kind == "sign" and text in "|)")
            if ends or (kind == "name" and self._kind(1) == "assign"):
                break
            parts.append(self._repeated())
        if not parts:
            self._fail('an alternative is empty; write "" for an empty text')
        return parts[0] if len(parts) == 1 else Concat(tuple(parts))

    def _repeated(self) -> Tree:
        part = self._element()
        for sign, low, high in (("*", 0, None), ("+", 1, None), ("?", 0, 1)):
            if self._take(sign):
                return Repeat(part, low, high)
        if self._kind() == "counts":
            text = self._tokens[self._at][1]
            minimum, comma, maximum = text.strip("{}").replace(" ", "").partition(",")
            found = Repeat(part, int(minimum), int(maximum) if maximum else None if comma else int(minimum))
            if found.high is not None and found.high < found.low:
                self._fail(f"the upper bound of {text} is below the lower one")
            self._at += 1
            return found
        return part

    def _element(self) -> Tree:
        kind, text, _ = self._tokens[self._at]
        if self._take("("):
            return self._group()
        if kind == "name":
            found: Tree = RuleRef(text)
        elif kind == "literal":
            found = literal("".join(map(chr, self._characters(text[1:-1]))))
        elif kind == "bracket":
            found = CharClass(self._bracket(text[1:-1]))
        else:
            self._fail(f"expected a literal, a character class, a rule name or a group, not {text!r}")
        self._at += 1
        return found

    def _group(self) -> Tree:
        self._depth += 1
        if self._depth > limits.EBNF_DEPTH:
            self._fail(f"groups are nested deeper than {limits.EBNF_DEPTH}")
        if self._take(")"):
            found: Tree = EMPTY
        else:
            found = self._choice()
            if not self._take(")"):
                self._fail("a '(' has no matching ')'")
        self._depth -= 1
        return found

    def _characters(self, text: str) -> list[int]:
        found, position = [], 0
        while position < len(text):
            escape = _ESCAPE.match(text, position)
            if not escape:
                found.append(ord(text[position]))
            elif digits := escape[1] or escape[2] or escape[3]:
                found.append(int(digits, 16))
            elif escape[4] in _CONTROLS:
                found.append(ord(_CONTROLS[escape[4]]))
            elif escape[4].isalnum():
                self._fail(f"the escape \\{escape[4]} is not supported")
            else:
                found.append(ord(escape[4]))
            position = escape.end() if escape else position + 1
        if any(0xD800 <= code <= 0xDFFF or code > 0x10FFFF for code in found):
            self._fail("an escape is not a valid character")
        return found

    def _bracket(self, text: str) -> Charset:
        negated = text.startswith("^")
        # Members are read from the raw text, so that an escaped '-' does not make a range.
        ranges: list[tuple[int, int]] = []
        position = int(negated)
        while position < len(text):
            low, position = self._member(text, position)
            high = low
            if text[position : position + 1] == "-" and position + 1 < len(text):
                high, position = self._member(text, position + 1)
            if high < low:
                self._fail("a range in a character class ends before it begins")
            ranges.append((low, high))
        if not ranges:
            self._fail("a character class is empty")
        return cs.complement(cs.charset(ranges)) if negated else cs.charset(ranges)

    def _member(self, text: str, position: int) -> tuple[int, int]:
        escape = _ESCAPE.match(text, position)
        end = escape.end() if escape else position + 1
        return self._characters(text[position:end])[0], end


def references(tree: Tree) -> set[str]:
    """The names of the rules that a tree refers to."""
    match tree:
        case RuleRef(name):
            return {name}
        case Repeat(part):
            return references(part)
        case Concat(parts) | Alternation(parts):
            return set().union(*map(references, parts))
    return set()


def _check_references(rules: dict[str, Tree]) -> None:
    for name, tree in rules.items():
        for missing in sorted(references(tree) - rules.keys()):
            raise InvalidGrammar(f"the rule {name!r} refers to {missing!r}, which is not defined")


def _check_that_texts_end(rules: dict[str, Tree]) -> None:
    for name in rules.keys() - _reachable(rules, character=True):
        raise InvalidGrammar(f"the rule {name!r} never ends: each of its alternatives refers back to it")


def _reachable(rules: dict[str, Tree], character: bool) -> set[str]:
    """The rules that derive a finite text; only those that derive an empty one unless `character` is true."""
    known: set[str] = set()
    while found := {name for name in rules.keys() - known if _reaches(rules[name], known, character)}:
        known |= found
    return known


def _reaches(tree: Tree, known: set[str], character: bool) -> bool:
    match tree:
        case RuleRef(name):
            return name in known
        case Concat(parts):
            return all(_reaches(part, known, character) for part in parts)
        case Alternation(options):
            return any(_reaches(option, known, character) for option in options)
        case Repeat(part, low):
            return low == 0 or _reaches(part, known, character)
    return character


def _check_left_recursion(rules: dict[str, Tree]) -> None:
    empty = empty_rules(rules)
    first = {name: _first(tree, empty) for name, tree in rules.items()}
    for name in rules:
        seen: set[str] = set()
        waiting = list(first[name])
        while waiting:
            if (rule := waiting.pop()) not in seen:
                seen.add(rule)
                waiting += first[rule]
        if name in seen:
            raise InvalidGrammar(
                f"the rule {name!r} is left-recursive: it may begin with itself; use a repetition instead"
            )


def empty_rules(rules: dict[str, Tree]) -> set[str]:
    """The names of the rules that match the empty text."""
    return _reachable(rules, character=False)


def may_be_empty(tree: Tree, empty: set[str]) -> bool:
    return _reaches(tree, empty, character=False)


def _first(tree: Tree, empty: set[str]) -> set[str]:
    """The names of the rules that a match may begin with."""
    match tree:
        case RuleRef(name):
            return {name}
        case Repeat(part):
            return _first(part, empty)
        case Alternation(options):
            return set().union(*(_first(option, empty) for option in options))
        case Concat(parts):
            found: set[str] = set()
            for part in parts:
                found |= _first(part, empty)
                if not may_be_empty(part, empty):
                    break
            return found
    return set()
