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


def test_a_grammar_that_is_no_json_is_refused_by_name() -> None:
    with pytest.raises(RequestRefused) as caught:
        structural_tag("{", [], "")
    assert caught.value.error.param == "response_format"
