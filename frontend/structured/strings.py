"""Grammar rules of constrained JSON strings: runs of characters where possible, otherwise automata."""

from frontend.structured import automaton as fa
from frontend.structured import charset as cs
from frontend.structured import pattern, string_formats
from frontend.structured.automaton import Automaton, Budget, TooComplex
from frontend.structured.charset import Charset
from frontend.structured.errors import reject
from frontend.structured.keywords import below
from frontend.structured.pattern import ANYTHING, CharClass, Concat, Pattern, Repeat
from frontend.structured.shapes import Shape
from frontend.structured.writer import BEYOND_ASCII, NothingMatches, Writer

TOO_COMPLEX = "is too complex: the automaton of all constraints on the string would be too large"

_COUNTED = 128  # maximum states of a pattern times the length that is counted along with it
_REPETITIONS = (64, 32, 24, 16, 12, 10, 8, 6, 5, 4, 3, 2, 1)  # tried in turn where that is exceeded
_SHORT = 160  # maximum size of a pattern with fewer repetitions


class Strings:
    """The strings of one grammar. Repeated patterns share an automaton."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._budget = Budget()
        self._automata: dict[tuple[object, ...], Automaton] = {}

    def rule(self, shape: Shape) -> str:
        """A rule for the content of a string of this shape and its closing quote. Raises ConstraintError."""
        low, high = shape.min_counts.get("Length", 0), shape.max_counts.get("Length")
        path = self._fault_path(shape)
        if high is not None and high < low:
            reject(path, f"no string has at least {low} and at most {high} characters")
        try:
            if (run := _character_run(shape, low, high)) is not None:
                return self._writer.run(*run)
            return self._writer.string(self.automaton(shape))
        except NothingMatches:
            reject(path, f"no string that can be written matches{BEYOND_ASCII}")
        except TooComplex:
            reject(path, TOO_COMPLEX)

    def automaton(self, shape: Shape) -> Automaton:
        """Matches the strings of this shape, unquoted and unescaped.

        Raises ConstraintError or TooComplex.
        """
        if shape.values is not None:
            return fa.of_words(value for value in shape.values if isinstance(value, str))
        trees = _trees(shape) or [ANYTHING]
        low, high = shape.min_counts.get("Length", 0), shape.max_counts.get("Length")
        key = (*trees, low, high)
        if key not in self._automata:
            found = self._all_of(trees)
            if high is not None and len(found.edges) * high > _COUNTED:
                short = self._all_of(_shortened(trees, low, high))
                found = short if short.edges else found
            self._automata[key] = self._within(found, low, high)
        return self._automata[key]

    def run(self, shape: Shape) -> tuple[Charset, int, int | None] | None:
        """Of a string that is a run of characters: these, and its minimum and maximum length."""
        return _character_run(shape, shape.min_counts.get("Length", 0), shape.max_counts.get("Length"))

    def is_unconstrained(self, shape: Shape) -> bool:
        return self.run(shape) == (cs.ANY, 0, None)

    def _within(self, found: Automaton, low: int, high: int | None) -> Automaton:
        if not found.edges:
            return found
        shortest, longest = fa.lengths(found)
        if high is not None and longest is not None and longest <= high:
            high = None
        if high is None and shortest >= low:
            return found
        return self.intersection(found, self.of_tree(Repeat(CharClass(cs.ANY), low, high)))

    def _all_of(self, trees: list[Pattern]) -> Automaton:
        found = self.of_tree(trees[0])
        for tree in trees[1:]:
            found = self.intersection(found, self.of_tree(tree))
        return found

    def of_tree(self, tree: Pattern) -> Automaton:
        """Raises TooComplex."""
        if (tree,) not in self._automata:
            self._automata[tree,] = fa.of_tree(tree, self._budget)
        return self._automata[tree,]

    def intersection(self, left: Automaton, right: Automaton) -> Automaton:
        return fa.intersection(left, right, self._budget)

    def _fault_path(self, shape: Shape) -> str:
        for _, path in shape.patterns + shape.formats:
            return path
        return below(shape.path, "maxLength") if "Length" in shape.max_counts else shape.path


def parse_pattern(text: str, path: str) -> Pattern:
    """Parse a JSON schema's pattern. Raises ConstraintError."""
    try:
        return pattern.parse(text, search=True)
    except pattern.UnsupportedPattern as error:
        reject(path, f"the pattern {error}")


def _trees(shape: Shape) -> list[Pattern]:
    trees = [parse_pattern(text, path) for text, path in shape.patterns]
    for name, path in shape.formats:
        if name in string_formats.UNSUPPORTED:
            reject(path, f"the format {name!r} is not supported")
        if name in string_formats.PATTERNS:
            trees.append(pattern.parse(string_formats.PATTERNS[name], search=False))
    return trees


def _shortened(trees: list[Pattern], low: int, high: int) -> list[Pattern]:
    """The patterns with fewer repetitions in one of them, so that none of its matches is too long.

    Counting characters along with the patterns would need too many states.
    """
    if min(map(pattern.longest, trees)) <= high:
        return trees
    for maximum in _REPETITIONS:
        for index, tree in enumerate(trees):
            short = pattern.shortened(tree, maximum)
            if low <= pattern.longest(short) <= high and pattern.size(short) <= _SHORT:
                return [*trees[:index], short, *trees[index + 1 :]]
    return trees


def _character_run(shape: Shape, low: int, high: int | None) -> tuple[Charset, int, int | None] | None:
    """The string's characters and its minimum and maximum length, if there are no other constraints."""
    trees = _trees(shape)
    if len(trees) > 1:
        return None
    match trees[0] if trees else ANYTHING:
        case Repeat(CharClass(characters), minimum, maximum):
            pass
        case Concat(parts) if parts and all(part == ANYTHING for part in parts):
            characters, minimum, maximum = cs.ANY, 0, None
        case _:
            return None
    if maximum is None or (high is not None and high < maximum):
        maximum = high
    minimum = max(minimum, low)
    return None if maximum is not None and maximum < minimum else (characters, minimum, maximum)
