"""Parses regular expressions to syntax trees.

The supported syntax is what ECMAScript and Python share with the same meaning. There are no back-references,
word boundaries, flags or Unicode classes, and lookahead is allowed only at the start of the text. Where the
two languages disagree about the characters of a class, it contains those that both include.
"""

import re
from math import inf
from typing import NoReturn

import msgspec

from frontend.structured import charset as cs
from frontend.structured import limits
from frontend.structured.charset import Charset


class UnsupportedPattern(Exception):
    """The message describes the unsupported syntax and gives its position."""

    def __init__(self, what: str, at: int | None = None) -> None:
        super().__init__(what if at is None else f"{what}, at character {at}")


class CharClass(msgspec.Struct, frozen=True):
    """Any one character of a set."""

    characters: Charset


class Concat(msgspec.Struct, frozen=True):
    parts: tuple["Tree", ...]


class Alternation(msgspec.Struct, frozen=True):
    options: tuple["Tree", ...]


class Repeat(msgspec.Struct, frozen=True):
    part: "Tree"
    low: int
    high: int | None


class RuleRef(msgspec.Struct, frozen=True):
    """Whatever the grammar rule of this name matches. Does not occur in patterns."""

    name: str


Tree = CharClass | Concat | Alternation | Repeat | RuleRef


class WithLookaheads(msgspec.Struct, frozen=True):
    """Texts that match `tree` and every tree in `positive`, but no tree in `negative`."""

    tree: Tree
    positive: tuple[Tree, ...]
    negative: tuple[Tree, ...]


Pattern = Tree | WithLookaheads

EMPTY = Concat(())
ANYTHING = Repeat(CharClass(cs.ANY), 0, None)

_SHORTHANDS = {
    "d": cs.DIGITS,
    "D": cs.minus(cs.ASCII, cs.DIGITS),  # the languages differ beyond ASCII
    "w": cs.WORD,
    "W": cs.minus(cs.ASCII, cs.WORD),
    "s": cs.SPACE,
    "S": cs.complement(cs.SPACE_OF_ANY),
}
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v"}
_PUNCTUATION = set("^$\\.*+?()[]{}|/-,:;=!<>@#%&~`'\"_ ")
_COUNTS = re.compile(r"\{([0-9]{1,6})(?:(,)([0-9]{1,6})?)?\}")
_HEX = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})")
_BEFORE, _BEHIND = "^(?:", ")$"
_LAST_ANCHOR = re.compile(r"(?<!\\)((?:\\\\)*)\$\Z")
_GROUP_NAME = re.compile(r"\(\?P?<[A-Za-z_][A-Za-z0-9_]*>")


def literal(text: str) -> Tree:
    return Concat(tuple(CharClass(cs.of(character)) for character in text))


def whole(text: str) -> str:
    """A pattern, for a search, of what matches `text` as a whole. Raises UnsupportedPattern, whose positions
    are those in `text`."""
    parse(text, search=False)  # or its parentheses might close the group around it
    bare = _LAST_ANCHOR.sub(r"\1", text.removeprefix("^"))  # it would not say more with its anchors
    try:
        parse(bare, search=False)
        found = f"{_BEFORE}{bare}{_BEHIND}"
        parse(found, search=True)
    except UnsupportedPattern:
        found = f"{_BEFORE}{text}{_BEHIND}"
        _Parser(found, search=True, shift=len(_BEFORE)).whole()
    return found


def parse(text: str, *, search: bool) -> Pattern:
    """Raises UnsupportedPattern.

    With `search` the pattern may match anywhere in a text, as in JSON Schema, so that an unanchored tree also
    allows any text before and after. Otherwise it must match the whole text.
    """
    if len(text) > limits.PATTERN_BYTES:
        raise UnsupportedPattern(f"is longer than {limits.PATTERN_BYTES} characters")
    return _Parser(text, search).whole()


class _Parser:
    def __init__(self, text: str, search: bool, shift: int = 0) -> None:
        """Positions are told as of a text that begins `shift` characters later."""
        self.shift = shift
        self.text = text
        self.at = 0
        self.search = search
        self.depth = 0
        self.positive: list[Tree] = []
        self.negative: list[Tree] = []
        self.wide = False  # in what is negated, classes contain the characters of either language

    def whole(self) -> Pattern:
        tree = self.choice(outermost=True)
        if self.at < len(self.text):
            self.fail("has a ')' without a matching '('")
        if not self.positive and not self.negative:
            return tree
        return WithLookaheads(tree, tuple(self.positive), tuple(self.negative))

    def fail(self, what: str) -> NoReturn:
        raise UnsupportedPattern(what, self.at - self.shift)

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self, expected: str) -> bool:
        if not self.text.startswith(expected, self.at):
            return False
        self.at += len(expected)
        return True

    def choice(self, outermost: bool = False, ahead: bool = False) -> Tree:
        options = [self.sequence(outermost, ahead)]
        while self.take("|"):
            options.append(self.sequence(outermost, ahead))
        if outermost and len(options) > 1 and (self.positive or self.negative):
            self.fail("has a lookahead in one of several alternatives, which is not supported")
        return options[0] if len(options) == 1 else Alternation(tuple(options))

    def sequence(self, outermost: bool, ahead: bool) -> Tree:
        starts = ((outermost or ahead) and self.take("^")) or ahead
        if outermost and (starts or not self.search):
            self.look_ahead()
        parts: list[Tree] = []
        ends = False
        while self.peek() not in ("", "|", ")"):
            if ends:
                self.fail("continues after '$'")
            if (outermost or ahead) and self.take("$"):
                ends = True
            else:
                parts.append(self.repeated())
        if ahead or (outermost and self.search):
            parts = ([] if starts else [ANYTHING]) + parts + ([] if ends else [ANYTHING])
        if ends and self.wide:
            parts.append(Repeat(literal("\n"), 0, 1))  # in Python, $ also matches before a final newline
        return parts[0] if len(parts) == 1 else Concat(tuple(parts))

    def look_ahead(self) -> None:
        while (negative := self.take("(?!")) or self.take("(?="):
            self.wide = negative
            (self.negative if negative else self.positive).append(self.choice(ahead=True))
            self.wide = False
            if not self.take(")"):
                self.fail("has a '(' without a matching ')'")

    def repeated(self) -> Tree:
        part = self.atom()
        counts = self.counts()
        if counts is None:
            return part
        self.take("?")  # lazy repetitions match the same texts
        if self.peek() in ("*", "+", "?") or _COUNTS.match(self.text, self.at):
            self.fail("repeats a repetition, which is not supported")
        return Repeat(part, *counts)

    def counts(self) -> tuple[int, int | None] | None:
        for sign, counts in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self.take(sign):
                return counts
        found = _COUNTS.match(self.text, self.at)
        if not found:
            return None
        low = int(found[1])
        high = low if not found[2] else int(found[3]) if found[3] else None
        if high is not None and high < low:
            self.fail("has a repetition whose upper bound is below its lower bound")
        self.at = found.end()
        return low, high

    def atom(self) -> Tree:
        character = self.peek()
        if character == "(":
            return self.group()
        if character == "[":
            return CharClass(self.bracket())
        if character == "\\":
            return CharClass(self.escape())
        if character in "^$":
            self.fail(f"has an anchor {character!r} that is not at the start or end, which is not supported")
        if character in "*+?{}":
            self.fail(f"has {character!r} with nothing to repeat; escape it to match it")
        self.at += 1
        if character == ".":
            return CharClass(cs.complement(cs.of("\n") if self.wide else cs.LINE_ENDS))
        return CharClass(self.character(character))

    def character(self, character: str) -> Charset:
        if not (found := cs.of(character)):
            self.fail("has a lone surrogate")
        return found

    def group(self) -> Tree:
        self.depth += 1
        if self.depth > limits.PATTERN_DEPTH:
            self.fail(f"nests groups deeper than {limits.PATTERN_DEPTH}")
        if named := _GROUP_NAME.match(self.text, self.at):
            self.at = named.end()
        elif self.text.startswith("(?", self.at) and not self.text.startswith("(?:", self.at):
            self.fail("has a lookaround or a flag, which are not supported")
        else:
            self.take("(?:") or self.take("(")
        tree = self.choice()
        if not self.take(")"):
            self.fail("has a '(' without a matching ')'")
        self.depth -= 1
        return tree

    def bracket(self) -> Charset:
        self.at += 1
        negated = self.take("^")
        found: list[Charset] = []
        self.wide ^= negated
        while not self.take("]"):
            low = self.member()
            if self.peek() == "-" and self.text[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                low = self.range(low, self.member())
            found.append(low)
        self.wide ^= negated
        if not found:
            self.fail("has an empty character class")
        characters = cs.union(*found)
        return cs.complement(characters) if negated else characters

    def range(self, low: Charset, high: Charset) -> Charset:
        ends = [bounds[0][0] for bounds in (low, high) if len(bounds) == 1 and bounds[0][0] == bounds[0][1]]
        if len(ends) < 2 or ends[0] > ends[1]:
            self.fail("has an invalid range in a character class")
        return cs.charset([(ends[0], ends[1])])

    def member(self) -> Charset:
        character = self.peek()
        if character == "":
            self.fail("has a '[' without a matching ']'")
        if character == "\\":
            return self.escape()
        self.at += 1
        return self.character(character)

    def escape(self) -> Charset:
        self.at += 1
        found = _HEX.match(self.text, self.at)
        if found:
            self.at = found.end()
            return self.character(chr(int(found[1] or found[2], 16)))
        character = self.peek()
        known = _SHORTHANDS.get(character)
        if not known and (character not in _CONTROLS and character not in _PUNCTUATION):
            self.fail(f"has the escape '\\{character}', which is not supported")
        self.at += 1
        if known and self.wide:
            return cs.complement(_SHORTHANDS[character.swapcase()])
        return known or cs.of(_CONTROLS.get(character, character))


def shortened(pattern: Pattern, maximum: int) -> Pattern:
    """The pattern with at most `maximum` repetitions, or as few as it requires if that is more."""
    if isinstance(pattern, WithLookaheads):
        return msgspec.structs.replace(pattern, tree=_shortened(pattern.tree, maximum))
    return _shortened(pattern, maximum)


def _shortened(tree: Tree, maximum: int) -> Tree:
    match tree:
        case Repeat(part, low, high):
            return Repeat(
                _shortened(part, maximum), low, max(low, min(maximum if high is None else high, maximum))
            )
        case Concat(parts):
            return Concat(tuple(_shortened(part, maximum) for part in parts))
        case Alternation(options):
            return Alternation(tuple(_shortened(option, maximum) for option in options))
    return tree


def longest(pattern: Pattern) -> float:
    """An upper bound of the length of matches, in characters."""
    match pattern:
        case WithLookaheads(tree):
            return longest(tree)
        case Repeat(part, _, high):
            maximum = longest(part)
            return maximum * (inf if high is None else high) if maximum else 0
        case Concat(parts):
            return sum(map(longest, parts))
        case Alternation(options):
            return max(map(longest, options), default=0)
    return 1


def size(pattern: Pattern) -> int:
    """The number of states with repetitions unrolled, counted up to the limit."""
    match pattern:
        case WithLookaheads(tree):
            total = size(tree)
        case Repeat(part, low, high):
            total = 1 + size(part) * max(high or low + 1, 1)
        case Concat(parts) | Alternation(parts):
            total = 1 + sum(map(size, parts))
        case _:
            total = 1
    return min(total, limits.PATTERN_STATES + 1)
