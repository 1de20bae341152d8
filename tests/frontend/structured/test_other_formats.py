"""Patterns, EBNF grammars and choices as output formats."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.structured import ConstraintError, choice, ebnf, regex
from tests.frontend.structured.strategies import JSON

ARITHMETIC = """
root ::= term (("+" | "-") term)*   # a sum
term ::= [0-9]{1,3} | "(" root ")"
"""


def test_a_choice_has_its_options_as_literals() -> None:
    assert choice(["yes", 'n"o', "yes"]) == {
        "type": "grammar",
        "grammar": 'root ::= "yes" | "n\\u0022o"\n',
    }


def test_a_recursive_grammar_is_supported() -> None:
    assert ebnf(ARITHMETIC)["grammar"].startswith("root ::= ")


def test_a_grammar_is_rewritten_without_counted_repetitions_and_classes_beyond_ascii() -> None:
    written = ebnf('root ::= ([a-zé]{2,5} " "?){1,10} root?')["grammar"]
    assert "{" not in written
    assert '"é"' in written


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no rule 'root'"),
        ('main ::= "a"', "no rule 'root'"),
        ("root ::= x", "'x', which is not defined"),
        ('root ::= "a"\nroot ::= "b"', "line 2: the rule 'root' is defined twice"),
        ("root ::= root", "never ends"),
        ('root ::= "a" root', "never ends"),
        ('root ::= "a" | root "b"', "left-recursive"),
        ('root ::= "a" | x root\nx ::= "b"?', "left-recursive"),
        ('root ::= ("a"', "has no matching ')'"),
        ('root ::= "a" | | "b"', "alternative is empty"),
        ("root ::= [z-a]", "ends before it begins"),
        ("root ::= []", "class is empty"),
        ("root ::= [\\d]", "escape \\d"),
        ('root ::= "\\q"', "escape \\q"),
        ('root ::= "a"{3,2}', "upper bound"),
        ('root ::= (("a" r){9000} ("b" r){9000})?\nr ::= "b" r "c" | "c"', "too complex"),
        ("root ::= [a-z] root root | [a-z]", "ambiguous"),
        ("root ::= (x{1,30}){1,30}\nx ::= [a-z] x | [a-z]", "ambiguous"),
        ('root ::= "s" x? x?\nx ::= "<" x ">" x | "a"', "ambiguous"),
        ('root ::= TagDispatch(("a", x))\nx ::= "b"', "syntax error"),
        ('root ::= "a" (= "b")', "syntax error"),
        ("root ::= [\u4e00-\u9fff]+", "beyond ASCII"),
        ('root ::= "\\x04"', "nothing that can be written"),
        ("(" * 10_000, "expected a rule"),
        ("root ::= " + "(" * 10_000, "nested deeper"),
        ("root ::= " + '"a" ' * 20_000, "longer than"),
    ],
)
def test_an_invalid_grammar_is_rejected_with_the_reason(text: str, complaint: str) -> None:
    with pytest.raises(ConstraintError) as rejected:
        ebnf(text)
    assert complaint in rejected.value.message
    assert rejected.value.path == ""


def test_rules_that_repeat_one_another_take_no_exponential_time() -> None:
    rules = [f"r{i} ::= r{i + 1} r{i + 1}" for i in range(100)]
    with pytest.raises(ConstraintError) as rejected:
        ebnf("\n".join(["root ::= r0 root | r0", *rules, "r100 ::= [a-z]+"]) + '\nx ::= "(" root ")"')
    assert rejected.value.path == ""


@pytest.mark.parametrize(
    "given_", [None, 5, "", "(", "a(?=a)", "a{99999}", "((a{99}){99}){99}", "[\u4e00-\u9fff]"]
)
def test_a_pattern_that_cannot_be_enforced_is_rejected(given_: Any) -> None:
    with pytest.raises(ConstraintError) as rejected:
        regex(given_)
    assert rejected.value.path == ""


@pytest.mark.parametrize(
    ("options", "at"),
    [
        (None, ""),
        ([], ""),
        (["a", ""], "[1]"),
        (["a", 5], "[1]"),
        (["\x00"], "[0]"),
        (["a"] * 2000, ""),
    ],
)
def test_an_invalid_choice_is_rejected(options: Any, at: str) -> None:
    with pytest.raises(ConstraintError) as rejected:
        choice(options)
    assert rejected.value.path == at


EBNF_LIKE = st.lists(
    st.sampled_from(
        [
            "root",
            "x",
            " ::= ",
            '"a"',
            "[a-c]",
            "(",
            ")",
            "|",
            "*",
            "+",
            "?",
            "{1,3}",
            "\n",
            " ",
            "#",
            "\\",
            '"',
            "é",
        ]
    ),
    max_size=25,
).map("".join)


@given(JSON | EBNF_LIKE | EBNF_LIKE.map(lambda text: f'root ::= "s" {text}\nx ::= "y"'))
def test_any_constraint_is_compiled_or_rejected(given_: Any) -> None:
    for compiler in (ebnf, regex, choice):
        try:
            assert compiler(given_)["type"] == "grammar"
        except ConstraintError as rejected:
            assert rejected.message
            assert not rejected.path or rejected.path.startswith("[")
