"""Reasoning before the answer."""

import pytest

from frontend.parsing.events import Content, Reasoning
from frontend.parsing.reasoning import REASONING_FORMATS
from tests.frontend.parsing.parsed import call, parse

PAIRS = [form for form in REASONING_FORMATS.values() if form.begin]


@pytest.mark.parametrize("form", PAIRS, ids=lambda form: form.name)
def test_reasoning_is_between_its_marks(form):
    text = f"\n{form.begin}\n\nHm, {form.begin}!\n{form.end}\n\n Answer {form.end}\n"
    expected = [Reasoning(f"Hm, {form.begin}!"), Content(f" Answer {form.end}\n")]
    assert parse(text, "none", form.name, tools=None) == expected


@pytest.mark.parametrize("form", PAIRS, ids=lambda form: form.name)
def test_the_prompt_may_have_begun_the_reasoning(form):
    text = f"Hm.\n{form.end}\n\nAnswer"
    expected = [Reasoning("Hm."), Content("Answer")]
    tail = f"…assistant\n{form.begin}\n"
    assert parse(text, "none", form.name, tools=None, prompt_tail=tail) == expected
    assert parse(f"{form.begin}\n{text}", "none", form.name, tools=None, prompt_tail=tail) == expected


def test_the_prompt_may_have_ended_the_reasoning():
    tail = "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    text = "<think> is a tag </think>"
    assert parse(text, "none", "think", tools=None, prompt_tail=tail) == [Content(text)]


@pytest.mark.parametrize("text", ["Hi <think>a</think>", "\n\n Hi", "\n<thin", "<thinking>", " <think>"])
def test_an_answer_that_does_not_begin_with_the_mark_is_content(text):
    assert parse(text, "none", "think", tools=None) == [Content(text)]


def test_reasoning_that_never_ends_stays_reasoning():
    assert parse("<think>\nHm\n</thin", "none", "think", tools=None) == [Reasoning("Hm\n</thin")]


def test_empty_reasoning_is_nothing():
    assert parse("<think>\n\n</think>\n\nHi", "none", "think", tools=None) == [Content("Hi")]


def test_a_call_within_the_reasoning_is_not_a_call_but_one_after_it_is():
    tagged = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'
    text = f"<think>\nI could say {tagged}\n</think>\n\n{tagged}"
    assert parse(text, "hermes", "think") == [Reasoning(f"I could say {tagged}"), *call("f", "{}")]


def test_visible_marks_around_the_answer_are_dropped():
    text = "<|START_THINKING|>Hm<|END_THINKING|><|START_RESPONSE|>Hi<|END_RESPONSE|><|END_OF_TURN_TOKEN|>"
    assert parse(text, "none", "cohere", tools=None) == [Reasoning("Hm"), Content("Hi")]
    assert parse("[THINK]Hm[/THINK]Hi</s>", "mistral", "mistral", tools=None) == [
        Reasoning("Hm"),
        Content("Hi"),
    ]
