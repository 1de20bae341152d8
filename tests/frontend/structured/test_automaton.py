"""Patterns, numbers and their automata against Python's own regular expressions and arithmetic."""

import re
import warnings
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frontend.structured import automaton as fa
from frontend.structured import limits, numbers, pattern
from frontend.structured.automaton import Automaton, Budget, TooComplex

ATOMS = st.sampled_from(
    [
        "a",
        "b",
        "é",
        ".",
        "\\d",
        "\\w",
        "\\s",
        "\\S",
        "[ab]",
        "[^a]",
        "[a-c0-]",
        "\\.",
        "-",
        "\\x61",
        "\\u00e9",
    ]
)
TREES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,}", "*?"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=6,
)
TEXTS = st.text(st.sampled_from("abcé0 .-\n9_"), max_size=6)


def automaton(text: str, *, search: bool = False) -> Automaton:
    return fa.of_tree(pattern.parse(text, search=search), Budget())


@settings(max_examples=300)
@given(TREES, st.lists(TEXTS, min_size=5, max_size=5))
def test_an_automaton_matches_what_python_matches(text: str, samples: list[str]) -> None:
    whole, anywhere = automaton(text), automaton(text, search=True)
    for sample in samples:
        assert fa.matches(whole, sample) == bool(re.fullmatch(text, sample, re.ASCII))
        assert fa.matches(anywhere, sample) == bool(re.search(text, sample, re.ASCII))


@settings(max_examples=100)
@given(TREES, TREES, TEXTS)
def test_intersections_and_complements_match_the_right_texts(one: str, other: str, sample: str) -> None:
    left, right = automaton(one), automaton(other)
    both = fa.intersection(left, fa.complement(right), Budget())
    assert fa.matches(both, sample) == (fa.matches(left, sample) and not fa.matches(right, sample))


@settings(max_examples=300)
@given(
    TREES,
    st.lists(
        st.tuples(st.sampled_from(["(?!", "(?=", "(?!^"]), TREES, st.sampled_from(["", "$"])), max_size=2
    ),
    st.lists(TEXTS, min_size=5, max_size=5),
)
def test_lookahead_at_the_start_matches_what_python_matches(
    tree: str, guards: list[tuple[str, str, str]], samples: list[str]
) -> None:
    text = f"^{''.join(f'{sign}{guard}{end})' for sign, guard, end in guards)}(?:{tree})"
    found = automaton(text, search=True)
    for sample in samples:
        # In Python, $ also matches before a final newline.
        readings = [
            bool(re.search(text.replace("$", end), sample, flags))
            for end in ("$", "\\Z")
            for flags in (0, re.ASCII)
        ]
        if fa.matches(found, sample):
            assert all(readings)
        elif sample.isascii() and "\n" not in sample:
            assert not all(readings)


@given(st.lists(TEXTS, max_size=40), TEXTS)
def test_other_words_are_never_among_the_words(words: list[str], sample: str) -> None:
    others = fa.of_other_words(words)
    assert not any(fa.matches(others, word) for word in words)
    if len({word[:end] for word in words for end in range(len(word) + 1)}) <= fa.OTHER_WORDS_STATES:
        assert fa.matches(others, sample) == (sample not in words)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("(?=a)b", "lookaround"),  # not anchored to the start
        ("^a(?=b)", "lookaround"),
        ("^(?!a(?!b))", "lookaround"),
        ("^(?<=a)b", "lookaround"),
        ("^(?!a)b|c", "several alternatives"),
        ("^(?!a)*", "nothing to repeat"),
        ("^(?!a", "without a matching ')'"),
        ("(?i)a", "flag"),
        ("(a)\\1", "escape"),
        ("\\bword", "escape"),
        ("\\p{L}", "escape"),
        ("a**", "repeats a repetition"),
        ("a{3,1}", "upper bound"),
        ("(a", "without a matching ')'"),
        ("a)", "without a matching '('"),
        ("[b-a]", "range"),
        ("[a", "without a matching ']'"),
        ("[]", "empty character class"),
        ("(^a|b)c", "has an anchor '^' that is not at the start"),
        ("a$b", "after '$'"),
        ("*", "nothing to repeat"),
        ("(" * 40 + "a" + ")" * 40, "deeper"),
        ("a" * (limits.PATTERN_BYTES + 1), "longer"),
    ],
)
def test_an_unsupported_pattern_is_rejected_with_the_reason(text: str, complaint: str) -> None:
    with pytest.raises(pattern.UnsupportedPattern, match=re.escape(complaint)):
        pattern.parse(text, search=True)


@pytest.mark.parametrize(
    "text", ["^((a|b|c){1,200}){1,200}$", "^.*a.{30}$", "(((a{9}){9}){9}){9}", "a{999999}"]
)
def test_a_pattern_that_would_explode_is_too_complex(text: str) -> None:
    with pytest.raises(TooComplex):
        automaton(text, search=True)


@given(st.text(max_size=30))
def test_any_text_is_parsed_as_a_pattern_or_rejected(text: str) -> None:
    try:
        automaton(text, search=True)
    except (pattern.UnsupportedPattern, TooComplex):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        re.compile(text)  # Python supports every pattern that we do


@given(st.integers(-(10**6), 10**6), st.integers(0, 10**6), st.integers(-5, 5))
def test_exactly_the_integers_within_the_bounds_match(low: int, width: int, off: int) -> None:
    tree = numbers.integer(low, low + width)
    assert tree is not None
    found = fa.of_tree(tree, Budget())
    for sample in {low + off, low + width + off, low + width // 2}:
        assert fa.matches(found, str(sample)) == (low <= sample <= low + width)
    assert not fa.matches(found, "-0") and not fa.matches(found, f"0{low}")


FINITE = st.decimals(-1000, 1000, places=2)


@given(FINITE, FINITE, st.booleans(), st.booleans(), st.lists(FINITE, min_size=3, max_size=3))
def test_only_numbers_within_the_bounds_match(
    one: Decimal, other: Decimal, above: bool, below: bool, samples: list[Decimal]
) -> None:
    low, high = sorted((one, other))
    tree = numbers.number(low, high, above, below)
    if tree is None:
        assert low == high and (above or below)
        return
    found = fa.of_tree(tree, Budget())
    for sample in (low, high, *samples):
        text = str(sample) if sample else "0.00"
        inside = (low < sample if above else low <= sample) and (sample < high if below else sample <= high)
        assert fa.matches(found, text) == inside


@pytest.mark.parametrize(("of", "digits"), [(5, 1), (15, 1), (25, 2), (75, 2), (100, 2)])
def test_exactly_the_multiples_of_a_fraction_match(of: int, digits: int) -> None:
    found = numbers.multiples(of, digits)
    for hundredths in range(-1000, 1000):
        for text in {f"{hundredths / 100:.2f}", f"{hundredths / 100:g}"}:
            fits = len(text.partition(".")[2]) <= digits
            assert fa.matches(found, text) == (fits and Decimal(text) % Decimal(of).scaleb(-digits) == 0)
    assert not any(fa.matches(found, text) for text in ("", "-", ".5", "5.", "5..5"))


@pytest.mark.parametrize("divisor", [2, 7, 100])
def test_exactly_the_multiples_of_an_integer_match(divisor: int) -> None:
    found = numbers.multiples(divisor)
    taken = [sample for sample in range(-300, 300) if fa.matches(found, str(sample))]
    assert taken == [sample for sample in range(-300, 300) if sample % divisor == 0]


def test_an_automaton_that_is_kept_spends_as_many_steps_as_a_new_one() -> None:
    """So that the limits of a schema do not depend on the schemas before it."""
    tree = pattern.parse("^(?!no)(?=[a-z]+)[a-z]{3,20}(-[0-9]{1,7})?$", search=True)
    first, second = Budget(), Budget()
    found = fa.of_tree(tree, first)
    assert fa.of_tree(tree, second) is found
    assert second.spent == first.spent > 100
    assert fa.of_tree(tree, Budget(first.spent)) is found
    with pytest.raises(TooComplex):
        fa.of_tree(tree, Budget(first.spent - 1))
