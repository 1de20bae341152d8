"""Writes a grammar in the engine's EBNF: literals, character classes, automata, long runs of characters.

Before the first token, the engine computes which tokens are valid in each state of each rule. The exception
are tokens that cross the end of a rule, which it tries one by one at each step. To avoid these, each state of
an automaton becomes a rule that ends with the next state's rule, and the last one includes a string's closing
quote. The engine's own counted repetition made a step up to 200 ms longer.
"""

import re
from collections.abc import Callable
from functools import lru_cache

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
        self._automata: dict[
            tuple[int, str], tuple[Automaton, str]
        ] = {}  # by id, with the automaton itself so that the id stays unique
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

    def run(self, characters: Charset, low: int, high: int | None) -> str:
        """A rule for `low` to `high` of these characters in a JSON string, with the closing quote.

        If `high` is large, some strings of nearly that length may be excluded. Raises NothingMatches.
        """
        characters = writable(cs.intersection(characters, IN_STRING))
        if low and not characters:
            raise NothingMatches
        if high == 0 or not characters:
            return self.rule(QUOTE, "q")
        if high is None:
            name = self._endless(characters)
        elif high - low > COUNTED:
            name = self._words(characters, min(high - low, LONGEST) // PIECE)
        else:
            name = self.rule(QUOTE, "q")
            for _ in range(high - low):
                name = self._link(characters, name, QUOTE)
        if low > COUNTED:
            return self.rule(f"{self.rule(' | '.join(_one(characters)), 'c')}{{{low}}} {name}", "n")
        for _ in range(low):
            name = self._link(characters, name)
        return name

    def _endless(self, characters: Charset) -> str:
        key = ("endless", characters)
        if key not in self._shared:
            name = self._shared[key] = self.reserve("e")
            self.define(name, " | ".join([QUOTE, *(f"{one} {name}" for one in _one(characters))]))
        return self._shared[key]

    def _words(self, characters: Charset, count: int) -> str:
        """Counts words instead of characters, as few tokens cross the end of a word.

        A space and the word after it are one piece, or two if they are longer than PIECE. Text without spaces
        is cut after every two pieces.
        """
        spaces = cs.intersection(characters, cs.of(" "))
        letters = cs.minus(characters, spaces)
        if not letters:
            letters, spaces = spaces, cs.NONE
        from_space, from_letter = self._kinds(spaces, letters), self._kinds(letters, letters)
        # What may follow a word, and what may follow a cut within one, indexed by the remaining pieces.
        after = [self.rule(QUOTE, "q")]
        cut = [after[0]]
        for left in range(1, count + 1):
            spaced, lettered = (
                [
                    f"{word} {(cut if goes_on else after)[left - used]}"
                    for word, used, goes_on in words
                    if used <= left
                ]
                for words in (from_space, from_letter)
            )
            after.append(self.rule(" | ".join([QUOTE, *spaced]), "p"))
            cut.append(self.rule(" | ".join([QUOTE, *spaced, *lettered]), "p"))
        return cut[-1]

    def _kinds(self, start: Charset, letters: Charset) -> list[tuple[str, int, bool]]:
        """Rules for words, each with its number of pieces and whether the word may continue."""
        if not start:
            return []
        ahead = " (= [\\u0020\\u0022])"
        return [
            (self._word(start, letters, 1, PIECE, ahead), 1, False),
            (self._word(start, letters, PIECE + 1, 2 * PIECE - 1, ahead), 2, False),
            (self._word(start, letters, 2 * PIECE, 2 * PIECE, ""), 2, True),
        ]

    def _word(self, start: Charset, letters: Charset, shortest: int, longest: int, ahead: str) -> str:
        """A rule for words of these lengths. `ahead` is a lookahead to what follows."""
        name = ""
        for length in range(longest, 0, -1):
            characters = start if length == 1 else letters
            options = [f"{one} {name}" for one in _one(characters)] if name else []
            options += _one(characters) if length >= shortest else []
            before = len(self._rules)
            name = self.rule(f"({' | '.join(options)}){ahead}", "w")
            if len(self._rules) > before:
                self._count_wide(characters)
        return name

    def _link(self, characters: Charset, name: str, *others: str) -> str:
        """A rule for one character followed by `name`, or one of the others."""
        before = len(self._rules)
        name = self.rule(" | ".join([*others, *(f"{one} {name}" for one in _one(characters))]), "k")
        if len(self._rules) > before:
            self._count_wide(characters)
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
