"""Calls written by a family's own chat template are read back unchanged."""

import json
import re
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings

from frontend.parsing import detect
from frontend.parsing.events import Event
from frontend.structured.shapes import type_of
from host.templates.rendering import ChatTemplate
from ipc.messages import PROMPT_TAIL, ChatMessage, ChatPrompt, ToolCall
from tests.frontend.parsing.parsed import Function, calls_of, read, text_of
from tests.frontend.parsing.test_any_text import json_objects
from tests.models.templates import chat_template

ONE_CALL_A_TURN = ("llama3.1", "llama3.2", "llama3.3", "gpt-oss")
QUOTES_NOTHING = ("lfm2.5",)  # it writes strings unescaped between quotes, and JSON words in Python
FAMILIES = (
    *("qwen3", "qwen2.5", "hermes3", "qwq", "granite4"),
    *("qwen3-coder", "qwen3.5", "nemotron3"),
    *("mistral-nemo", "mistral-small3.2", "ministral3"),
    *("deepseek-v3.1", "deepseek-r1", "glm4.6", "kimi-k2", "minimax-m2"),
    *ONE_CALL_A_TURN,
    *QUOTES_NOTHING,
)
_NO_PARAMETERS = {"type": "object", "properties": {}}
_TURN_ENDS = ("<|im_end|>", "<|end_of_text|>")  # end-of-sequence tokens, which a host never outputs
ENDS = (*_TURN_ENDS, "</parameter>", "</arg_value>")  # texts that the calls of some family cannot contain
ARGUMENTS: dict[str, Any] = {
    "city": "Zürich \"HB\"\n\n<b>'x'</b>\\n",
    "digits": "007",
    "word": "true",
    "empty": "",
    "days": -3,
    "share": 1.5e-07,
    "precise": True,
    "nothing": None,
    "places": [1, "two", {"three": [None, False]}],
    "nested": {"a": {"b": "}{"}},
}
SIMPLE: dict[str, Any] = {
    "city": "Zürich",
    "days": -3,
    "precise": True,
    "nothing": None,
    "places": [1, "two"],
}


@cache
def template_of(family: str) -> ChatTemplate:
    return ChatTemplate(chat_template(family), {"bos_token": "<s>", "eos_token": "</s>"})


def written(family: str, calls: list[tuple[str, dict[str, Any]]], content: str | None) -> tuple[str, str]:
    """The end of the prompt, and the assistant's turn that the template writes after it."""
    tools = json.dumps(
        [
            {
                "type": "function",
                "function": {"name": name, "description": "", "parameters": _NO_PARAMETERS},
            }
            for name, _ in calls
        ]
    )
    tool_calls = [
        ToolCall(f"call{index:05}", name, json.dumps(arguments))
        for index, (name, arguments) in enumerate(calls)
    ]
    messages = [ChatMessage("user", "What is the weather like?")]
    prompt = template_of(family).render(ChatPrompt(messages, tools))
    messages.append(ChatMessage("assistant", content, tool_calls=tool_calls))
    whole = template_of(family).render(ChatPrompt(messages, tools, add_generation_prompt=False))
    # If the prompt begins the reasoning, the turns of earlier answers do not contain it.
    prompt = re.sub(r"<think>\s*(</think>)?\s*\Z", "", prompt)
    assert whole.startswith(prompt)
    turn = whole[len(prompt) :]
    for mark in _TURN_ENDS:
        turn = turn.partition(mark)[0]
    return prompt[-PROMPT_TAIL:], turn


def read_back(
    family: str, calls: list[tuple[str, dict[str, Any]]], eager: bool = False, content: str | None = None
) -> list[Event]:
    prompt_tail, turn = written(family, calls, content)
    tools = [
        Function(name, {"properties": {key: {"type": type_of(value)} for key, value in arguments.items()}})
        for name, arguments in calls
    ]
    dialect = detect(chat_template(family))
    events = read(turn, dialect, tools=tools, prompt_tail=prompt_tail, eager=eager)
    assert read([turn], dialect, tools=tools, prompt_tail=prompt_tail, eager=eager) == events
    return events


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_calls_are_read_back_unchanged(family, eager):
    calls = [("get_weather", SIMPLE if family in QUOTES_NOTHING else ARGUMENTS), ("now", {})]
    if family in ONE_CALL_A_TURN:
        calls = calls[:1]
    events = read_back(family, calls, eager)
    assert list(calls_of(events)) == calls
    assert not text_of(events).strip()


@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in QUOTES_NOTHING])
@given(arguments=json_objects.filter(lambda drawn: not any(mark in json.dumps(drawn) for mark in ENDS)))
@settings(max_examples=20)
def test_any_arguments_are_read_back_unchanged(family, arguments):
    # Names in XML cannot contain brackets, and no format can represent lone surrogates.
    arguments = {f"k{index}": value for index, value in enumerate(arguments.values())}
    calls = [("get_weather", arguments)]
    assert list(calls_of(read_back(family, calls))) == calls


@pytest.mark.parametrize("family", ["qwen3", "qwen2.5", "granite4", "qwen3-coder", "qwen3.5", "lfm2.5"])
def test_content_before_a_call_is_read_back(family):
    events = read_back(family, [("now", {})], content="I'll look it up.")
    assert text_of(events) == "I'll look it up."
    assert list(calls_of(events)) == [("now", {})]
