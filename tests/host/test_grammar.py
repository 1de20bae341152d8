"""Grammars as structural tags: where they begin when the model reasons first."""

import json

import pytest

from host.engines.base import RequestRefused
from host.grammar import structural_tag

FORMAT = {"type": "regex", "pattern": "[ab]+"}
MARKERS = ["<think>", "</think>"]


def tag(prompt_text: str, markers: list[str]) -> object:
    return json.loads(structural_tag(json.dumps(FORMAT), markers, prompt_text))


def test_no_grammar_is_no_tag() -> None:
    assert structural_tag("", MARKERS, "<think>") == ""


@pytest.mark.parametrize(
    ("prompt_text", "markers"),
    [("assistant:", MARKERS), ("<think>\n\n</think>\n\n", MARKERS), ("<think>\n", []), ("", MARKERS)],
)
def test_the_grammar_holds_at_once_where_the_prompt_leaves_no_reasoning_open(
    prompt_text: str, markers: list[str]
) -> None:
    assert tag(prompt_text, markers) == {"type": "structural_tag", "format": FORMAT}


@pytest.mark.parametrize("prompt_text", ["assistant\n<think>", "assistant\n<think>\n", "<think> \n\n"])
def test_the_grammar_holds_after_the_reasoning_that_the_prompt_opened(prompt_text: str) -> None:
    made = tag(prompt_text, ["<think>\n", "\n</think>\n\n"])
    assert isinstance(made, dict)
    reasoning, _, last = made["format"]["elements"]
    assert (reasoning["begin"], reasoning["end"]) == ("", "</think>")
    assert last == FORMAT


@pytest.mark.parametrize("prompt_text", ["assistant\n<think>\n", "<think>\n\n</think>\n\n"])
def test_a_text_has_one_reasoning_at_most(prompt_text: str) -> None:
    grammar = json.dumps(FORMAT)
    made = structural_tag(grammar, MARKERS, prompt_text, may_reason=True)
    assert made == structural_tag(grammar, MARKERS, prompt_text)


def test_a_model_that_may_reason_may_also_answer_at_once() -> None:
    made = json.loads(structural_tag(json.dumps(FORMAT), MARKERS, "assistant\n", may_reason=True))
    at_once, after_reasoning = made["format"]["elements"]
    assert at_once == FORMAT
    reasoning, _, last = after_reasoning["elements"]
    assert (reasoning["begin"], reasoning["end"], last) == ("<think>", "</think>", FORMAT)


def test_a_grammar_that_is_no_json_is_refused_by_name() -> None:
    with pytest.raises(RequestRefused) as caught:
        structural_tag("{", [], "")
    assert caught.value.error.param == "response_format"
