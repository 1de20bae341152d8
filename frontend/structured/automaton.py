"""Deterministic finite automata over characters: built from patterns, intersected, complemented, minimized.

Each constraint on a string is an automaton, so that several constraints on one string are their intersection.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise

import msgspec

from frontend.structured import charset as cs
from frontend.structured import limits
from frontend.structured.charset import Charset
from frontend.structured.lru import BoundedLru
from frontend.structured.pattern import (
    Alternation,
    CharClass,
    Concat,
    Pattern,
    Repeat,
    Tree,
    WithLookaheads,
    size,
)

OTHER_WORDS_STATES = 32
_NODE_BYTES = 160  # approximate memory of a state, an edge, a range of characters, or a node of a tree


class TooComplex(Exception):
    """The automaton exceeds its limits."""


class Budget:
    """The number of steps that building automata may still take; about 1500 take a millisecond."""

    def __init__(self, steps: int = limits.PATTERN_STEPS) -> None:
        self._steps = steps
        self.spent = 0

    def spend(self, steps: int) -> None:
        """Raises TooComplex."""
        self.spent += steps
        if self.spent > self._steps:
            raise TooComplex


class Automaton(msgspec.Struct, frozen=True):
    """State 0 is the initial one. The edges of a state have disjoint character sets. Without states, nothing
    matches."""

    edges: list[list[tuple[Charset, int]]]
    accepting: list[bool]


# Most schemas contain the same few formats and bounds. Each automaton is kept with the steps that it took.
_kept = BoundedLru[tuple[Automaton, int]](limits.AUTOMATA_BYTES)


def of_tree(tree: Pattern, budget: Budget) -> Automaton:
    """Raises TooComplex, and spends the same steps whether or not the automaton is kept from before."""
    known = _kept.get(tree)
    if known is None:
        own = Budget()
        known = _built(tree, own), own.spent
        _kept.put(tree, known, _size_bytes(known[0]) + _NODE_BYTES * size(tree))
    found, steps = known
    budget.spend(steps)
    return found


def _size_bytes(automaton: Automaton) -> int:
    ranges = sum(len(characters) for found in automaton.edges for characters, _ in found)
    return _NODE_BYTES * (len(automaton.edges) + sum(map(len, automaton.edges)) + ranges)


def _built(tree: Pattern, budget: Budget) -> Automaton:
    if isinstance(tree, WithLookaheads):
        found = of_tree(tree.tree, budget)
        for guard in tree.positive:
            found = intersection(found, of_tree(guard, budget), budget)
        for guard in tree.negative:
            found = intersection(found, complement(of_tree(guard, budget)), budget)
        return found
    states = size(tree)
    if states > limits.PATTERN_STATES:
        raise TooComplex
    budget.spend(states)
    return reduced(_Unrolled(tree).determined(budget))


def of_words(words: Iterable[str]) -> Automaton:
    """Matches the given strings only. Takes time linear in their total length."""
    edges: list[dict[str, int]] = [{}]
    accepting = [False]
    for word in words:
        state = 0
        for character in word:
            if character not in edges[state]:
                edges[state][character] = len(edges)
                edges.append({})
                accepting.append(False)
            state = edges[state][character]
        accepting[state] = True
    return Automaton([[(cs.of(c), to) for c, to in found.items()] for found in edges], accepting)


def of_other_words(words: list[str]) -> Automaton:
    """Matches strings other than the given ones.

    If there are many, it also excludes strings that share a prefix with one of them, to save states.
    """
    prefixes = {word[:end] for word in words for end in range(len(word) + 1)} | {""}
    longest = max(map(len, prefixes))
    while longest > 1 and sum(len(prefix) <= longest for prefix in prefixes) > OTHER_WORDS_STATES:
        longest -= 1
    kept = sorted(prefix for prefix in prefixes if len(prefix) <= longest)
    ends = {word for word in words if len(word) <= longest}
    cut = {word[:longest] for word in words if len(word) > longest}
    numbers = {prefix: number for number, prefix in enumerate(kept)}
    edges: list[list[tuple[Charset, int]]] = [[] for _ in range(len(kept) + 1)]
    for prefix in kept[1:]:
        edges[numbers[prefix[:-1]]].append((cs.of(prefix[-1]), numbers[prefix]))
    for prefix, number in numbers.items():
        if prefix not in cut:
            edges[number].append((cs.complement(cs.union(*(one for one, _ in edges[number]))), len(kept)))
    edges[-1] = [(cs.ANY, len(kept))]
    return reduced(Automaton(edges, [prefix not in ends | cut for prefix in kept] + [True]))


class _Unrolled:
    """A nondeterministic automaton with at most one edge per state, and ε-transitions (`free`)."""

    def __init__(self, tree: Tree) -> None:
        self.edge: list[tuple[Charset, int] | None] = []
        self.free: list[list[int]] = []
        self.start = self.state()
        self.end = self.state()
        self.connect(tree, self.start, self.end)

    def state(self) -> int:
        self.edge.append(None)
        self.free.append([])
        if len(self.edge) > 3 * limits.PATTERN_STATES:
            raise TooComplex
        return len(self.edge) - 1

    def connect(self, tree: Tree, start: int, end: int) -> None:
        match tree:
            case CharClass(characters):
                via = self.state()
                self.free[start].append(via)
                self.edge[via] = (characters, end)
            case Concat(parts):
                for part in parts:
                    start, before = self.state(), start
                    self.connect(part, before, start)
                self.free[start].append(end)
            case Alternation(options):
                for option in options:
                    self.connect(option, start, end)
            case Repeat(part, low, high):
                self.repeat(part, low, high, start, end)

    def repeat(self, part: Tree, low: int, high: int | None, start: int, end: int) -> None:
        for done in range(low if high is None else high):
            if done >= low:
                self.free[start].append(end)
            start, before = self.state(), start
            self.connect(part, before, start)
        if high is None:
            loop = self.state()  # a separate state, so that no ε-transition leads back to earlier states
            self.free[start].append(loop)
            self.connect(part, loop, loop)
            self.free[loop].append(end)
        self.free[start].append(end)

    def closure(self, states: Iterable[int]) -> frozenset[int]:
        found = set(states)
        waiting = list(found)
        while waiting:
            for to in self.free[waiting.pop()]:
                if to not in found:
                    found.add(to)
                    waiting.append(to)
        return frozenset(state for state in found if self.edge[state] or state == self.end)

    def determined(self, budget: Budget) -> Automaton:
        numbers = {self.closure([self.start]): 0}
        waiting = list(numbers)
        edges: list[list[tuple[Charset, int]]] = []
        for states in waiting:
            found = []
            for characters, targets in _split(edge for state in states if (edge := self.edge[state])):
                onward = self.closure(targets)
                budget.spend(len(targets) + len(onward))
                if onward not in numbers:
                    numbers[onward] = len(numbers)
                    waiting.append(onward)
                found.append((characters, numbers[onward]))
            edges.append(found)
            if len(numbers) > 2 * limits.AUTOMATON_STATES:
                raise TooComplex
        return Automaton(edges, [self.end in states for states in waiting])


def _split(edges: Iterable[tuple[Charset, int]]) -> Iterator[tuple[Charset, frozenset[int]]]:
    """Split overlapping edges into disjoint ones, each with all its target states."""
    starts: dict[int, list[tuple[int, int]]] = {}
    for characters, target in edges:
        for low, high in characters:
            starts.setdefault(low, []).append((1, target))
            starts.setdefault(high + 1, []).append((-1, target))
    grouped: dict[frozenset[int], list[tuple[int, int]]] = {}
    active: dict[int, int] = {}
    points = sorted(starts)
    for point, following in pairwise(points):
        for change, target in starts[point]:
            active[target] = active.get(target, 0) + change
        if targets := frozenset(target for target, count in active.items() if count):
            grouped.setdefault(targets, []).append((point, following - 1))
    for targets, ranges in grouped.items():
        yield cs.charset(ranges), targets


def intersection(left: Automaton, right: Automaton, budget: Budget) -> Automaton:
    """Raises TooComplex."""
    if not left.edges or not right.edges:
        return Automaton([], [])
    numbers = {(0, 0): 0}
    waiting = [(0, 0)]
    edges: list[list[tuple[Charset, int]]] = []
    for a, b in waiting:
        budget.spend(len(left.edges[a]) * len(right.edges[b]))
        found = []
        for (mine, to), (theirs, other) in ((x, y) for x in left.edges[a] for y in right.edges[b]):
            if shared := cs.intersection(mine, theirs):
                if (to, other) not in numbers:
                    numbers[to, other] = len(numbers)
                    waiting.append((to, other))
                found.append((shared, numbers[to, other]))
        edges.append(found)
        if len(numbers) > 4 * limits.AUTOMATON_STATES:
            raise TooComplex
    accepting = [left.accepting[a] and right.accepting[b] for a, b in waiting]
    return reduced(Automaton(edges, accepting))


def complement(automaton: Automaton) -> Automaton:
    sink = len(automaton.edges)
    edges = []
    for found in automaton.edges:
        rest = cs.complement(cs.union(*(characters for characters, _ in found)))
        edges.append([*found, (rest, sink)] if rest else found)
    edges.append([(cs.ANY, sink)])
    return Automaton(edges, [not accepts for accepts in automaton.accepting] + [True])


def lengths(automaton: Automaton) -> tuple[int, int | None]:
    """Lengths of the shortest and the longest match; None if matches have no maximum length.

    The automaton must be reduced and match something.
    """
    shortest, seen, states = 0, {0}, {0}
    while not any(automaton.accepting[state] for state in states):
        states = {to for state in states for _, to in automaton.edges[state]} - seen
        seen |= states
        shortest += 1
    longest, states = 0, {0}
    while states := {to for state in states for _, to in automaton.edges[state]}:
        longest += 1
        if longest > len(automaton.edges):
            return shortest, None
    return shortest, longest


def matches(automaton: Automaton, text: str) -> bool:
    if not automaton.edges:
        return False
    state: int | None = 0
    for character in text:
        code = ord(character)
        state = next(
            (to for characters, to in automaton.edges[state or 0] if cs.holds(characters, code)), None
        )
        if state is None:
            return False
    return automaton.accepting[state or 0]


def reduced(automaton: Automaton) -> Automaton:
    """The minimal equivalent automaton: without dead states, and with equivalent states merged."""
    alive = _alive(automaton)
    if 0 not in alive:
        return Automaton([], [])
    edges = [[edge for edge in found if edge[1] in alive] for found in automaton.edges]
    block = [int(accepts) for accepts in automaton.accepting]
    while True:
        kinds: dict[tuple[int, tuple[tuple[int, Charset], ...]], int] = {}
        following = block[:]
        for state in sorted(alive):
            kind = (block[state], _onward(edges[state], block))
            following[state] = kinds.setdefault(kind, len(kinds))
        settled = len(kinds) == len({block[state] for state in alive})
        block = following
        if settled:
            return _numbered(edges, automaton.accepting, block)


def _alive(automaton: Automaton) -> set[int]:
    back: dict[int, list[int]] = {}
    for state, found in enumerate(automaton.edges):
        for _, to in found:
            back.setdefault(to, []).append(state)
    waiting = [state for state, accepts in enumerate(automaton.accepting) if accepts]
    alive = set(waiting)
    while waiting:
        for state in back.get(waiting.pop(), ()):
            if state not in alive:
                alive.add(state)
                waiting.append(state)
    return alive


def _onward(found: list[tuple[Charset, int]], block: list[int]) -> tuple[tuple[int, Charset], ...]:
    """A state's edges by the target's block, with edges to one block merged."""
    grouped: dict[int, list[Charset]] = {}
    for characters, to in found:
        grouped.setdefault(block[to], []).append(characters)
    return tuple((to, sets[0] if len(sets) == 1 else cs.union(*sets)) for to, sets in sorted(grouped.items()))


def _numbered(edges: list[list[tuple[Charset, int]]], accepting: list[bool], block: list[int]) -> Automaton:
    numbers = {block[0]: 0}
    order = [0]
    found: list[list[tuple[Charset, int]]] = []
    for state in order:
        mine = []
        for onward, characters in _onward(edges[state], block):
            if onward not in numbers:
                numbers[onward] = len(numbers)
                order.append(next(to for _, to in edges[state] if block[to] == onward))
            mine.append((characters, numbers[onward]))
        found.append(mine)
    return Automaton(found, [accepting[state] for state in order])
