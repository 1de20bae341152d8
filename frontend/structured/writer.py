"""Writes a grammar in the engine's EBNF: literals, character classes, automata, long runs of characters.

Before the first token, the engine computes which tokens are valid in each state of each rule. The exception
are tokens that cross the end of a rule, which it tries one by one at each step. To avoid these, each state of
an automaton becomes a rule that ends with the next state's rule, and the last one includes a string's closing
quote. The engine's own counted repetition made a step up to 200 ms longer.
"""

import re
from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

from frontend.structured import charset as cs
from frontend.structured import limits
from frontend.structured.automaton import Automaton, TooComplex, reduced
from frontend.structured.charset import Charset

_MISREAD = re.compile("(?<=[\x80-\xff])(?=[0-9a-fA-F])")
QUOTE = '"\\""'
COUNTED = 24  # maximum number of characters that are counted one by one
PIECE = 6  # characters
LONGEST = 6_000  # maximum characters of a string with a maxLength, even if that is larger

# Characters that must be escaped in a JSON string → the second character of the escape.
_ESCAPED = {'"': '"', "\\": "\\", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}
_RAW = cs.minus(cs.ANY, cs.union(cs.span("\0", "\x1f"), cs.of('"\\')))
IN_STRING = cs.union(_RAW, cs.of("".join(_ESCAPED)))  # other control characters are never generated
# \u and four digits, without surrogates: a lone one is not valid text.
_UNICODE = '"\\\\u" ([0-9a-ce-fA-CE-F] [0-9a-fA-F] | [dD] [0-7]) [0-9a-fA-F] [0-9a-fA-F]'
_NAMED = 128  # maximum number of characters beyond ASCII that are listed
BEYOND_ASCII = f" (a class may contain all characters beyond ASCII, or up to {_NAMED} of them)"


def writable(characters: Charset) -> Charset:
    """The subset that can be written.

    The engine's classes are correct for ASCII and for all characters beyond it together. A few characters
    beyond it can be listed one by one.
    """
    beyond = cs.intersection(characters, cs.BEYOND_ASCII)
    few = sum(high - low + 1 for low, high in beyond) <= _NAMED
    return characters if few or beyond == cs.BEYOND_ASCII else cs.intersection(characters, cs.ASCII)


class Notation(NamedTuple):
    """How the characters of a text are written, and what ends it."""

    characters: Charset  # that can be written
    written: Callable[[Charset], list[str]]  # the ways to write one character of a set
    end: str  # EBNF
    after_word: str  # members of a class: what may follow a word, apart from a mark
    mark: Charset = cs.NONE  # a character that begins the end if it is followed by one of `not_after_mark`
    not_after_mark: Charset = cs.NONE


class NothingMatches(Exception):
    """No text that can be written matches."""


def _restricted(automaton: Automaton, within: Charset) -> Automaton:
    edges = [
        [(some, to) for characters, to in found if (some := writable(cs.intersection(characters, within)))]
        for found in automaton.edges
    ]
    kept = reduced(Automaton(edges, automaton.accepting)) if edges else automaton
    if not kept.edges:
        raise NothingMatches
    return kept


class Writer:
    """Collects rules. Raises TooComplex if there are too many."""

    def __init__(self) -> None:
        self._rules: dict[str, str] = {}
        self._shared: dict[object, str] = {}
        # By id, with the automaton itself so that the id stays unique.
        self._automata: dict[tuple[int, str], tuple[Automaton, str]] = {}
        self._bytes = 0
        self._wide = 0

    def reserve(self, hint: str = "r") -> str:
        """The name of a rule that is defined later."""
        name = f"{hint}{len(self._rules)}"
        self._rules[name] = ""
        if len(self._rules) > limits.GRAMMAR_RULES:
            raise TooComplex
        return name

    def define(self, name: str, body: str) -> str:
        self._rules[name] = body
        self._bytes += len(name) + len(body)
        if self._bytes > limits.GRAMMAR_BYTES:
            raise TooComplex
        return name

    def rule(self, body: str, hint: str = "r") -> str:
        """The name of the rule with this body, which is shared by equal ones."""
        if body not in self._shared:
            self._shared[body] = self.define(self.reserve(hint), body)
        return self._shared[body]

    def text(self, root: str) -> str:
        return "".join(f"{name} ::= {body}\n" for name, body in {"root": root, **self._rules}.items())

    def characters(self, automaton: Automaton) -> str:
        """A rule for the texts that the automaton matches. Raises NothingMatches."""
        return self._states(automaton, cs.PLAIN, _class, '""')

    def string(self, automaton: Automaton) -> str:
        """A rule for these texts as the content of a JSON string, with the closing quote.

        Raises NothingMatches.
        """
        return self._states(automaton, IN_STRING, _in_string, QUOTE)

    def _states(
        self, automaton: Automaton, within: Charset, written: Callable[[Charset], list[str]], end: str
    ) -> str:
        known = self._automata.get((id(automaton), end))
        if known:
            return known[1]
        kept = _restricted(automaton, within)
        if len(kept.edges) > limits.AUTOMATON_STATES:
            raise TooComplex
        names = [self.reserve("s") for _ in kept.edges]
        for name, found, accepts in zip(names, kept.edges, kept.accepting, strict=True):
            self._count_wide(cs.union(*(characters for characters, _ in found)))
            options = [f"{one} {names[to]}" for characters, to in found for one in written(characters)]
            self.define(name, " | ".join([end, *options] if accepts else options))
        self._automata[id(automaton), end] = (automaton, names[0])
        return names[0]

    def _count_wide(self, characters: Charset) -> None:
        letters = sum(high - low + 1 for low, high in cs.intersection(characters, cs.LETTERS))
        self._wide += (letters > 12) * (1 + cs.holds(characters, ord(" ")))
        if self._wide > limits.WIDE_STATES:
            raise TooComplex

    def raw(self, automaton: Automaton, end: str) -> str:
        """A rule for these texts, unquoted and followed by the literal `end`. Raises NothingMatches."""
        return self._states(automaton, cs.PLAIN, _class, quoted(end))

    def run(self, characters: Charset, low: int, high: int | None, notation: "Notation | None" = None) -> str:
        """A rule for `low` to `high` of these characters and the end; in a JSON string by default.

        If `high` is large, some strings of nearly that length may be excluded. Raises NothingMatches.
        """
        how = notation or IN_JSON
        characters = writable(cs.intersection(characters, how.characters))
        if low and not characters:
            raise NothingMatches
        if high == 0 or not characters:
            return self.rule(how.end, "q")
        run = _Run(self, characters, how)
        if high is None:
            after = run.endless()
        elif high - low > COUNTED:
            after = run.words(min(high - low, LONGEST) // PIECE)
        else:
            after = run.end()
            for _ in range(high - low):
                after = run.link(after, how.end)
        if low > COUNTED:
            name = self.rule(" | ".join(how.written(cs.minus(characters, how.mark))), "c")
            return self.rule(f"{name}{{{low}}} {after.name}", "n")
        for _ in range(low):
            after = run.link(after)
        return after.name

    def counted(self, body: str, hint: str, characters: Charset) -> str:
        """A rule that accepts these characters in one of its states."""
        before = len(self._rules)
        name = self.rule(body, hint)
        if len(self._rules) > before:
            self._count_wide(characters)
        return name

    def once(self, key: object, hint: str) -> tuple[str, bool]:
        """The name of the rule with this key, and whether it is still to be defined."""
        new = key not in self._shared
        if new:
            self._shared[key] = self.reserve(hint)
        return self._shared[key], new


class _After(NamedTuple):
    """Rules for what may follow a character, and for what may follow a mark."""

    name: str
    marked: str


class _Run:
    """A run of characters. A mark is only written where what follows does not make it an end."""

    def __init__(self, writer: Writer, characters: Charset, how: Notation) -> None:
        self._writer = writer
        self._how = how
        self._marks = cs.intersection(characters, how.mark)
        self._plain = cs.minus(characters, how.mark) if self._marks else characters
        self._after_mark = cs.minus(self._plain, how.not_after_mark)

    def end(self) -> _After:
        name = self._writer.rule(self._how.end, "q")
        return _After(name, name)

    def link(self, after: _After, *others: str) -> _After:
        """One character followed by `after`, or one of the others."""

        def one(plain: Charset) -> str:
            body = " | ".join([*others, *self._options(plain, after)])
            return self._writer.counted(body, "k", plain)

        name = one(self._plain)
        return _After(name, one(self._after_mark) if self._marks else name)

    def endless(self) -> _After:
        key = ("endless", self._plain, self._marks, self._how.end)
        name, new = self._writer.once(key, "e")
        marked, _ = self._writer.once((*key, "marked"), "e") if self._marks else (name, False)
        after = _After(name, marked)
        if new:
            for rule, plain in {name: self._plain, marked: self._after_mark}.items():
                plain = self._plain if rule == name else plain
                self._writer.define(rule, " | ".join([self._how.end, *self._options(plain, after)]))
        return after

    def _options(self, plain: Charset, after: _After) -> list[str]:
        marks = self._how.written(self._marks) if self._marks else []
        return [f"{one} {after.name}" for one in self._how.written(plain)] + [
            f"{one} {after.marked}" for one in marks
        ]

    def words(self, count: int) -> _After:
        """Counts words instead of characters, as few tokens cross the end of a word.

        A space and the word after it are one piece, or two if they are longer than PIECE. So are a mark and
        the word after it. Text without spaces is cut after every two pieces.
        """
        spaces = cs.intersection(self._plain, cs.of(" "))
        letters = cs.minus(self._plain, spaces)
        if not letters:
            letters, spaces = spaces, cs.NONE
        starting = self._kinds(spaces, letters, letters)
        starting += self._kinds(self._marks, cs.minus(letters, self._how.not_after_mark), letters)
        from_letter = self._kinds(letters, letters, letters)
        rule, end = self._writer.rule, self._how.end
        # What may follow a word, and what may follow a cut within one, indexed by the remaining pieces.
        after = [self.end().name]
        cut = [after[0]]
        marked = after[0]
        unmarked = self._kinds(cs.minus(letters, self._how.not_after_mark), letters, letters)
        for left in range(1, count + 1):
            started, lettered, after_mark = (
                [
                    f"{word} {(cut if goes_on else after)[left - used]}"
                    for word, used, goes_on in words
                    if used <= left
                ]
                for words in (starting, from_letter, unmarked if left == count else [])
            )
            after.append(rule(" | ".join([end, *started]), "p"))
            cut.append(rule(" | ".join([end, *started, *lettered]), "p"))
            marked = rule(" | ".join([end, *started, *after_mark]), "p")
        return _After(cut[-1], marked if self._marks else cut[-1])

    def _kinds(self, start: Charset, second: Charset, letters: Charset) -> list[tuple[str, int, bool]]:
        """Rules for words, each with its number of pieces and whether the word may continue."""
        if not start:
            return []
        following = f"{self._how.after_word}{''.join(_member(low) for low, _ in self._marks)}"
        ahead = f" (= [{following}])"
        word = partial(self._word, start, second, letters)
        return [
            (word(1, PIECE, ahead), 1, False),
            (word(PIECE + 1, 2 * PIECE - 1, ahead), 2, False),
            (word(2 * PIECE, 2 * PIECE, ""), 2, True),
        ]

    def _word(
        self, start: Charset, second: Charset, letters: Charset, shortest: int, longest: int, ahead: str
    ) -> str:
        """A rule for words of these lengths. `ahead` is a lookahead to what follows."""
        name = ""
        for length in range(longest, 0, -1):
            characters = start if length == 1 else second if length == 2 else letters
            written = self._how.written(characters)
            options = [f"{one} {name}" for one in written] if name else []
            options += written if length >= shortest else []
            name = self._writer.counted(f"({' | '.join(options)}){ahead}", "w", characters)
        return name


def quoted(text: str) -> str:
    """A literal, split between accented letters and hexadecimal digits, which the engine misreads."""
    parts = _MISREAD.split(text)
    literals = ['"' + "".join(map(_literal, part)) + '"' for part in parts]
    return literals[0] if len(literals) == 1 else f"({' '.join(literals)})"


def _one(characters: Charset) -> list[str]:
    """The ways to write one character inside a JSON string."""
    return _in_string(characters) + ([_UNICODE] if characters == IN_STRING else [])


@lru_cache(512)
def _in_string(characters: Charset) -> list[str]:
    escapes = "".join(second for first, second in _ESCAPED.items() if cs.holds(characters, ord(first)))
    options = _class(cs.intersection(characters, _RAW))
    if escapes:
        options = options + ['"\\\\" ' + option for option in _class(cs.of(escapes))]
    return options


def _class(characters: Charset) -> list[str]:
    """The alternatives that make up a writable set."""
    if cs.intersection(characters, cs.BEYOND_ASCII) == cs.BEYOND_ASCII:
        return [_bracket("^", cs.minus(cs.ASCII, characters))]
    plain = cs.intersection(characters, cs.ASCII)
    named = [chr(code) for low, high in cs.minus(characters, cs.ASCII) for code in range(low, high + 1)]
    return ([_bracket("", plain)] if plain else []) + [quoted(character) for character in named]


def _bracket(sign: str, characters: Charset) -> str:
    ranges = (_member(low) + (f"-{_member(high)}" if high > low else "") for low, high in characters)
    return f"[{sign}{''.join(ranges)}]"


def _member(code: int) -> str:
    return chr(code) if chr(code).isalnum() and code < 128 else f"\\u{code:04X}"


def _literal(character: str) -> str:
    if character.isprintable() and character not in '"\\':
        return character
    code = ord(character)
    return f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"


IN_JSON = Notation(IN_STRING, _one, QUOTE, "\\u0020\\u0022")


def raw_notation(end: str) -> Notation:
    """Text without quotes, escapes and closing tags, up to the literal `end`, which contains one."""
    after_word = f"\\u0020{_member(ord(end[0]))}"
    return Notation(cs.PLAIN, _class, quoted(end), after_word, cs.of("<"), cs.of("/"))
