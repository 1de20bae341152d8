"""Rewrites a client's grammar for the engine: its regular parts become automata."""

from frontend.structured import ambiguity, limits
from frontend.structured import automaton as fa
from frontend.structured import charset as cs
from frontend.structured.automaton import Budget, TooComplex
from frontend.structured.ebnf import references
from frontend.structured.pattern import EMPTY, Alternation, CharClass, Concat, Repeat, RuleRef, Tree, size
from frontend.structured.writer import NothingMatches, Writer, quoted


def rewrite(rules: dict[str, Tree]) -> str:
    """The text of the grammar whose rules `ebnf.parse` returned.

    Raises InvalidGrammar, TooComplex, or NothingMatches if a rule matches nothing that can be written.
    """
    return _Rewriter(rules).text()


class _Rewriter:
    def __init__(self, rules: dict[str, Tree]) -> None:
        self._writer = Writer()
        self._budget = Budget()
        self._rules = rules
        self._regular = self._inlined()
        ambiguity.check(rules, self._regular)
        self._names: dict[str, str] = {}

    def text(self) -> str:
        return self._writer.text(self._rule("root"))

    def _inlined(self) -> dict[str, Tree]:
        """The regular rules, with the rules they refer to inlined as long as the results stay small."""
        found: dict[str, Tree] = {}
        waiting = {name: references(tree) for name, tree in self._rules.items()}
        while ready := [name for name, needed in waiting.items() if needed <= found.keys()]:
            for name in ready:
                del waiting[name]
                tree = _replaced(self._rules[name], found)
                if size(tree) <= limits.PATTERN_STATES // 2:
                    found[name] = tree
        return found

    def _rule(self, name: str) -> str:
        if name not in self._names:
            reserved = self._names[name] = self._writer.reserve("g")
            self._writer.define(reserved, self._expression(self._regular.get(name, self._rules[name])))
        return self._names[name]

    def _expression(self, tree: Tree) -> str:
        tree = _replaced(tree, self._regular)
        if (text := _literal(tree)) is not None:
            if not all(cs.holds(cs.PLAIN, ord(character)) for character in text):
                raise NothingMatches
            return quoted(text)
        if not references(tree):
            return self._writer.characters(fa.of_tree(tree, self._budget))
        match tree:
            case RuleRef(name):
                return self._rule(name)
            case Alternation(options):
                return f"({' | '.join(map(self._expression, options))})"
            case Concat(parts):
                return " ".join(map(self._expression, _grouped(parts)))
            case Repeat(part, low, high):
                return self._repeated(self._writer.rule(self._expression(part), "x"), low, high)
        raise TooComplex

    def _repeated(self, element: str, low: int, high: int | None) -> str:
        if high is None:
            name = self._writer.reserve("m")
            self._writer.define(name, f'"" | {element} {name}')
        else:
            name = '""'
            for _ in range(high - low):
                name = self._writer.rule(f'"" | {element} {name}', "l")
        for _ in range(low):
            name = self._writer.rule(f"{element} {name}", "l")
        return name


def _replaced(tree: Tree, rules: dict[str, Tree]) -> Tree:
    match tree:
        case RuleRef(name):
            return rules.get(name, tree)
        case Concat(parts):
            return Concat(tuple(_replaced(part, rules) for part in parts))
        case Alternation(options):
            return Alternation(tuple(_replaced(option, rules) for option in options))
        case Repeat(part, low, high):
            return Repeat(_replaced(part, rules), low, high)
    return tree


def _literal(tree: Tree) -> str | None:
    """The text that the tree matches, if there is only one."""
    match tree:
        case CharClass(((low, high),)) if low == high:
            return chr(low)
        case Concat(parts):
            texts = [_literal(part) for part in parts]
            return None if None in texts else "".join(text or "" for text in texts)
    return None


def _grouped(parts: tuple[Tree, ...]) -> list[Tree]:
    """The parts, with adjacent ones merged if they have no references."""
    found: list[Tree] = []
    regular: list[Tree] = []
    for part in (*parts, None):
        if part is not None and not references(part):
            regular.append(part)
            continue
        if regular:
            found.append(Concat(tuple(regular)))
        regular = []
        if part is not None:
            found.append(part)
    return found or [EMPTY]
