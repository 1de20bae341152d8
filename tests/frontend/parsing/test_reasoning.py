"""Reasoning before the answer."""

import time

import pytest

from frontend.parsing import parser_for
from frontend.parsing.events import CallBegun, Content, Reasoning
from frontend.parsing.reasoning import REASONING_FORMATS
from tests.frontend.parsing.parsed import FUNCTIONS, call, calls_of, formats, parse, text_of, together

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


CALLED = {
    "hermes": '<tool_call>\n{"name": "f", "arguments": {"a": "</b>"}}\n</tool_call>',
    "qwen3_coder": "<tool_call>\n<function=f>\n<parameter=a>\n</b>\n</parameter>\n</function>\n</tool_call>",
    "mistral": '[TOOL_CALLS]f[ARGS]{"a": "</b>"}',
    "pythonic": "<|python_start|>[f(a='</b>')]<|python_end|>",
}
BEGUN = {"prompt_tail": "<think>\n"}


@pytest.mark.parametrize("form", CALLED)
def test_a_call_counts_where_the_reasoning_never_ends(form):
    text = f"I must.\n\n{CALLED[form]}"
    [reasoning, *called] = parse(text, form, "think", **BEGUN)
    assert reasoning == Reasoning("I must.")
    assert list(calls_of(called)) == [("f", {"a": "</b>"})]
    assert parse(f"<think>{text}", form, "think") == [reasoning, *called]


@pytest.mark.parametrize("form", CALLED)
def test_a_call_does_not_count_where_the_reasoning_ends_after_it(form):
    text = f"I could {CALLED[form]}\n\nor {CALLED[form]} not"
    assert parse(f"{text}\n</think>\n\nNo.", form, "think", **BEGUN) == [Reasoning(text), Content("No.")]


def test_several_calls_count_in_their_order():
    text = f"One.\n{CALLED['hermes']}\n{CALLED['hermes']}"
    events = parse(text, "hermes", "think", **BEGUN)
    assert [event.name for event in events if isinstance(event, CallBegun)] == ["f", "f"]
    assert events[0] == Reasoning("One.")


@pytest.mark.parametrize(
    "text",
    [
        "Use <tool_call> for",
        '<tool_call>{"name": "f", "argu',
        "<tool_call>{} </tool_call> is empty",
        "a\n\n<to",
    ],
)
def test_what_is_no_complete_call_stays_reasoning(text):
    assert parse(text, "hermes", "think", **BEGUN) == [Reasoning(text)]
    closed = parse(f"{text}</think>Yes", "hermes", "think", **BEGUN)
    assert closed == [Reasoning(text), Content("Yes")]


def test_reasoning_is_not_held_back_by_what_only_mentions_a_call():
    parser = parser_for(formats("hermes", "think"), tools=FUNCTIONS, prompt_tail="<think>", eager=False)
    assert parser is not None
    events = parser.feed("Use <tool_call> for it, ") + parser.feed("then ")
    assert together(events) == [Reasoning("Use <tool_call> for it, then ")]


def test_visible_marks_around_the_answer_are_dropped():
    text = "<|START_THINKING|>Hm<|END_THINKING|><|START_RESPONSE|>Hi<|END_RESPONSE|><|END_OF_TURN_TOKEN|>"
    assert parse(text, "none", "cohere", tools=None) == [Reasoning("Hm"), Content("Hi")]
    assert parse("[THINK]Hm[/THINK]Hi</s>", "mistral", "mistral", tools=None) == [
        Reasoning("Hm"),
        Content("Hi"),
    ]
    steps = "Here are my reasoning steps:\n"
    text = "Hm\n[BEGIN FINAL RESPONSE]\nHi\n[END FINAL RESPONSE]"
    for tools in (None, FUNCTIONS):
        for written, prompt in ((f"{steps}{text}", ""), (text, steps)):
            events = parse(written, "apriel", "apriel", tools=tools, prompt_tail=prompt)
            assert events == [Reasoning("Hm"), Content("Hi")]


def test_a_thought_of_many_pieces_after_a_call_is_not_copied_at_each():
    parser = parser_for(formats("hermes", "think"), tools=FUNCTIONS, prompt_tail="<think>", eager=False)
    assert parser is not None
    parser.feed(CALLED["hermes"])
    began = time.process_time()
    for _ in range(50_000):
        parser.feed("a thought ")
    assert time.process_time() - began < 5
    assert len(text_of(parser.finish(), Reasoning)) >= 500_000 - 1
