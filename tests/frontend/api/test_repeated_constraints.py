"""Requests that repeat the schemas of earlier ones: nothing is compiled again."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from frontend.api.chat import turn_spec
from frontend.api.completions import specs_of
from frontend.api.prompting import Plan, TurnSpec, plan_turn
from frontend.api.responses.items import items_of
from frontend.api.responses.request import turn_of
from frontend.api.schema.chat import ChatRequest
from frontend.api.schema.completions import CompletionRequest
from frontend.api.schema.responses import ResponsesRequest
from frontend.parsing import Dialect, detect
from frontend.structured import outputs
from frontend.structured.json_grammar import JsonGrammar

DIALECTS = {
    name: detect(template)
    for name, template in {
        "hermes": "<tool_call>",
        "qwen3_coder": "<tool_call><function=<parameter=",
        "pythonic": "<|python_start|>",
        "llama3_json": "<|python_tag|>",
        "mistral": "[TOOL_CALLS]",
        "harmony": "<|channel|>",
        "none": "{{ messages }}",
    }.items()
}
HERMES = DIALECTS["hermes"]


class Compilations:
    def __init__(self) -> None:
        self.count = 0

    def take(self) -> int:
        """How many there were since the last call."""
        count, self.count = self.count, 0
        return count


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> Iterator[Compilations]:
    found = Compilations()

    class Counted(JsonGrammar):
        def text(self) -> str:
            found.count += 1
            return super().text()

    monkeypatch.setattr(outputs, "JsonGrammar", Counted)
    outputs.json_object()
    found.count = 0
    yield found


def schema(number: int, test: str) -> dict[str, Any]:
    """Distinct for each number and test, as the cache outlives a test."""
    line = {"type": "object", "properties": {"sku": {"type": "string"}, "count": {"type": "integer"}}}
    return {
        "title": f"{test} {number}",
        "type": "object",
        "properties": {
            "id": {"type": "integer", "minimum": number},
            "state": {"enum": ["open", "closed", None]},
            "lines": {"type": "array", "items": line, "maxItems": 3},
            "ship_to": {"$ref": "#/$defs/Address"},
        },
        "required": ["id", "state"],
        "$defs": {"Address": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }


def tools(numbers: list[int], test: str, prefix: str = "f", strict: bool = True) -> list[dict[str, Any]]:
    return [
        {"name": f"{prefix}{number}", "parameters": schema(number, test), "strict": strict}
        for number in numbers
    ]


def chat_turn(**fields: Any) -> TurnSpec:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
    if "tools" in body:
        body["tools"] = [{"type": "function", "function": tool} for tool in body["tools"]]
    return turn_spec(msgspec.json.decode(msgspec.json.encode(body), type=ChatRequest))


def chat(dialect: Dialect = HERMES, **fields: Any) -> Plan:
    return plan_turn(chat_turn(**fields), dialect)


def respond(**fields: Any) -> Plan:
    body = msgspec.convert({"model": "m", "input": "hi", **fields}, ResponsesRequest)
    return plan_turn(turn_of(body, items_of(body.input, [], {}, lambda prefix: prefix))[0], HERMES)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_second_request_with_60_strict_tools_compiles_nothing(compilations, dialect):
    sixty = tools(list(range(60)), dialect)
    first = chat(DIALECTS[dialect], tools=sixty)
    assert compilations.take() >= 60
    second = chat(DIALECTS[dialect], tools=sixty)
    assert compilations.take() == 0
    assert second.grammar == first.grammar


def test_neither_the_position_of_a_tool_nor_its_name_matters(compilations):
    chat(tools=tools(list(range(20)), "moved"))
    assert compilations.take() == 20
    chat(tools=tools(list(range(19, -1, -1)), "moved"))
    chat(tools=tools(list(range(20)), "moved", prefix="other"))
    chat(tools=tools([3, 5], "moved"), tool_choice="required")
    chat(tools=tools(list(range(20)), "moved", strict=False), tool_choice="required")
    assert compilations.take() == 0


def test_only_the_schema_that_changed_is_compiled(compilations):
    chat(tools=tools(list(range(20)), "changed"))
    compilations.take()
    chat(tools=tools([*range(19), 99], "changed"))
    assert compilations.take() == 1


def test_endpoints_and_parameters_share_what_was_compiled(compilations):
    one = schema(1, "shared")
    chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": one}})
    assert compilations.take() == 1
    chat(structured_outputs={"json": one})
    chat(structured_outputs={"json": msgspec.json.encode(one).decode()})
    chat(tools=tools([1], "shared"))
    respond(tools=[{"type": "function", **tool} for tool in tools([1], "shared")])
    respond(text={"format": {"type": "json_schema", "name": "x", "schema": one}})
    specs_of(
        msgspec.convert({"model": "m", "prompt": "x", "structured_outputs": {"json": one}}, CompletionRequest)
    )
    assert compilations.take() == 0


def test_a_schema_that_cannot_be_enforced_is_not_tried_again(compilations):
    unsupported = {**schema(1, "unsupported"), "minProperties": 1, "not": {}}
    forced: dict[str, Any] = {"tools": [{"name": "f", "parameters": unsupported}], "tool_choice": "required"}
    first = chat(**forced)
    assert compilations.take() == 1
    second = chat(**forced)
    assert compilations.take() == 0
    assert second.grammar == first.grammar


def test_the_choices_of_a_chat_share_one_grammar():
    spec = chat_turn(tools=tools([1, 2], "choices"), tool_choice="required", n=5)
    plan = plan_turn(spec, HERMES)
    grammars = {id(plan.sampling(sampling).grammar) for sampling in spec.samplings}
    assert grammars == {id(plan.grammar)}


def test_the_prompts_and_choices_of_a_completion_share_one_grammar():
    body = {"model": "m", "prompt": ["x", "y"], "n": 3, "structured_outputs": {"regex": "[a-z]{1,9}"}}
    specs = specs_of(msgspec.convert(body, CompletionRequest))
    assert len(specs) == 6
    assert len({id(spec.sampling.grammar) for spec in specs}) == 1
    assert "root ::= " in specs[0].sampling.grammar
