"""Tools and tool_choice of chat requests: parsed, or rejected with the parameter named."""

from typing import Any

import msgspec
import pytest

from frontend.api.ollama.requests import ChatRequest as OllamaChatRequest
from frontend.api.prompting import TurnSpec, plan_turn
from frontend.api.schema.chat import ChatRequest
from frontend.api.schema.messages import MessagesRequest
from frontend.api.schema.responses import ResponsesRequest
from frontend.api.schema.tools import (
    MAX_TOOLS,
    FunctionTool,
    ToolBody,
    ToolChoiceBody,
    ToolUse,
    parse_tool_choice,
)
from frontend.errors import BadRequest
from frontend.parsing import detect
from ipc.messages import ChatMessage, Sampling


def tools(*names: str) -> list[ToolBody]:
    return msgspec.convert([{"type": "function", "function": {"name": n}} for n in names], list[ToolBody])


def parsed(names: str, choice: object, parallel: bool | None = None) -> ToolUse | None:
    return parse_tool_choice(tools(*names), msgspec.convert(choice, str | ToolChoiceBody | None), parallel)


NAMED_B = {"type": "function", "function": {"name": "b"}}


@pytest.mark.parametrize(
    ("choice", "kind", "named"),
    [
        (None, "auto", None),
        ("auto", "auto", None),
        ("none", "none", None),
        ("required", "required", None),
        (NAMED_B, "required", "b"),
    ],
)
def test_the_choice_among_tools(choice, kind, named):
    use = parsed("ab", choice)
    assert use is not None
    assert (use.choice, use.named, [tool.name for tool in use.tools]) == (kind, named, ["a", "b"])


def test_allowed_tools_exclude_the_others():
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED_B]}}
    use = parsed("ab", allowed)
    assert use is not None
    assert (use.choice, [tool.name for tool in use.tools]) == ("required", ["b"])
    assert use.place("b") == "tools[1].function.parameters"


def test_every_endpoint_takes_as_many_tools():
    function = {"name": "f", "parameters": {}}
    kinds: list[tuple[Any, dict[str, Any], dict[str, Any]]] = [
        (
            ChatRequest,
            {"type": "function", "function": function},
            {"messages": [{"role": "user", "content": ""}]},
        ),
        (ResponsesRequest, {"type": "function", **function}, {"input": "x"}),
        (
            MessagesRequest,
            {"name": "f", "input_schema": {}},
            {"messages": [{"role": "user", "content": ""}], "max_tokens": 1},
        ),
        (OllamaChatRequest, {"type": "function", "function": function}, {"messages": []}),
    ]
    for kind, tool, more in kinds:
        body = {"model": "m", **more}
        assert len(msgspec.convert(body | {"tools": [tool] * MAX_TOOLS}, kind).tools) == MAX_TOOLS >= 1000
        with pytest.raises(msgspec.ValidationError, match="tools"):
            msgspec.convert(body | {"tools": [tool] * (MAX_TOOLS + 1)}, kind)


def test_a_thousand_tools_are_a_prompt_and_a_grammar():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    use = ToolUse(
        tools=[FunctionTool(name=f"f{number}", parameters=schema) for number in range(MAX_TOOLS)],
        choice="required",
    )
    messages = [ChatMessage("user", "x")]
    plan = plan_turn(
        TurnSpec(model="m", messages=messages, samplings=[Sampling()], tool_use=use), detect("<tool_call>")
    )
    assert "f999" in plan.grammar
    assert len(plan.grammar) + len(plan.prompt.tools) < 1_000_000


def test_without_tools_there_is_nothing_to_choose():
    assert parsed("", None) is None
    assert parsed("", "auto") is None


@pytest.mark.parametrize(
    ("names", "choice", "param"),
    [
        ("", "required", "tool_choice"),
        ("", NAMED_B, "tool_choice"),
        ("ac", NAMED_B, "tool_choice"),
        ("ab", "any", "tool_choice"),
        ("ab", {"type": "custom", "custom": {"name": "a"}}, "tool_choice"),
        ("aa", None, "tools"),
    ],
)
def test_an_invalid_choice_is_rejected_with_the_parameter_named(names, choice, param):
    with pytest.raises(BadRequest) as caught:
        parsed(names, choice)
    assert caught.value.param == param


def test_a_tool_that_is_not_a_function_is_rejected_with_its_index():
    for body, param in (
        ({"type": "custom", "custom": {}}, "tools[0].type"),
        ({"type": "function"}, "tools[0].function"),
    ):
        with pytest.raises(BadRequest) as caught:
            parse_tool_choice([msgspec.convert(body, ToolBody)], None, None)
        assert caught.value.param == param


@pytest.mark.parametrize("name", ["f\n", "f ", "f/g", "", "x" * 129])
def test_a_name_that_is_not_one_from_beginning_to_end_is_refused(name):
    with pytest.raises(msgspec.ValidationError):
        tools(name)
