"""Finds ambiguities in a grammar that would make the engine's work per token grow with the text.

They occur where a recursive part may continue with the characters that the next part begins with, so that
each of these characters can be parsed in two ways; one token then took up to half a minute. Regular parts are
harmless, as they become automata.
"""

from collections.abc import Callable, Iterator

from frontend.structured import charset as cs
from frontend.structured.charset import Charset
from frontend.structured.ebnf import InvalidGrammar, empty_rules, may_be_empty, references
from frontend.structured.pattern import Alternation, CharClass, Concat, Repeat, RuleRef, Tree

_PASSES = 50  # maximum passes over all rules to reach a fixed point


def check(rules: dict[str, Tree], regular: dict[str, Tree]) -> None:
    """`regular` holds the rules without references to other rules. Raises InvalidGrammar."""
    _Ambiguity(rules, set(regular)).check()


class _Ambiguity:
    def __init__(self, rules: dict[str, Tree], regular: set[str]) -> None:
        self._rules = rules
        self._regular = regular
        self._empty = empty_rules(rules)
        self._first: dict[str, Charset] = dict.fromkeys(rules, cs.NONE)
        self._onward: dict[str, Charset] = dict.fromkeys(rules, cs.NONE)
        self._settle(self._first, self._first_of)
        self._settle(self._onward, self._onward_of)

    def check(self) -> None:
        for name, tree in self._rules.items():
            if name not in self._regular and any(self._conflicts(tree)):
                raise InvalidGrammar(
                    f"the rule {name!r} is ambiguous: a part that refers to other rules may continue with the"
                    " characters that the next part, or its own repetition, begins with"
                )

    def _settle(self, found: dict[str, Charset], of: Callable[[Tree], Charset]) -> None:
        for _ in range(_PASSES):
            before = dict(found)
            for name in reversed(self._rules):
                found[name] = of(self._rules[name])
            if before == found:
                return
        raise InvalidGrammar("the chains of references between rules are too long")

    def _first_of(self, tree: Tree) -> Charset:
        """The characters that a match may begin with."""
        match tree:
            case CharClass(characters):
                return characters
            case RuleRef(name):
                return self._first[name]
            case Repeat(part):
                return self._first_of(part)
            case Alternation(options):
                return cs.union(*map(self._first_of, options))
            case Concat(parts):
                return self._first_after(parts)

    def _first_after(self, parts: tuple[Tree, ...]) -> Charset:
        found: list[Charset] = []
        for part in parts:
            found.append(self._first_of(part))
            if not may_be_empty(part, self._empty):
                break
        return cs.union(*found)

    def _onward_of(self, tree: Tree) -> Charset:
        """The characters that may follow where a match could already have ended."""
        match tree:
            case RuleRef(name):
                return self._onward[name]
            case Repeat(part, _, high):
                return cs.union(self._onward_of(part), cs.NONE if high == 1 else self._first_of(part))
            case Alternation(options):
                return cs.union(*map(self._onward_of, options), self._beyond_shared_beginnings(options))
            case Concat(parts):
                found: list[Charset] = []
                for index in range(len(parts) - 1, -1, -1):
                    found.append(self._onward_of(parts[index]))
                    if not may_be_empty(parts[index], self._empty):
                        break
                    found.append(self._first_of(parts[index]))
                return cs.union(*found)
        return cs.NONE

    def _beyond_shared_beginnings(self, options: tuple[Tree, ...]) -> Charset:
        """If one option may be a prefix of another, the characters that may follow it in any option."""
        begun = cs.NONE
        for option in options:
            first = self._first_of(option)
            if cs.intersection(begun, first) or may_be_empty(option, self._empty):
                parts = [part for one in options for part in (one.parts if isinstance(one, Concat) else ())]
                return cs.union(*map(self._first_of, [*options, *parts]))
            begun = cs.union(begun, first)
        return cs.NONE

    def _conflicts(self, tree: Tree) -> Iterator[bool]:
        match tree:
            case Repeat(part, _, high):
                yield from self._conflicts(part)
                yield high != 1 and self._recursive(part) and self._meet(part, (part,))
            case Alternation(parts):
                for part in parts:
                    yield from self._conflicts(part)
            case Concat(parts):
                for index, part in enumerate(parts):
                    yield from self._conflicts(part)
                    after = parts[index + 1 :]
                    yield (
                        self._recursive(part) and any(map(self._recursive, after)) and self._meet(part, after)
                    )

    def _meet(self, part: Tree, after: tuple[Tree, ...]) -> bool:
        onward = self._onward_of(part)
        if may_be_empty(part, self._empty):
            onward = cs.union(onward, self._first_of(part))
        return bool(cs.intersection(onward, self._first_after(after)))

    def _recursive(self, tree: Tree) -> bool:
        return bool(references(tree) - self._regular)
