"""Tools, output formats and reasoning through the `openai` client.

Of models of random weights, which can only be right where the server makes it so.
"""

import json
from typing import Any, Literal

import jsonschema
import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel, Field

Body = dict[str, Any]

WEATHER: Body = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 12},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 7},
        },
        "required": ["city", "unit", "days"],
        "additionalProperties": False,
    },
}
SWITCH: Body = {
    "name": "switch_light",
    "description": "Switch the light.",
    "parameters": {
        "type": "object",
        "properties": {"on": {"type": "boolean"}},
        "required": ["on"],
        "additionalProperties": False,
    },
}
TOOLS: list[Any] = [{"type": "function", "function": function} for function in (WEATHER, SWITCH)]
SCHEMAS = {function["name"]: function["parameters"] for function in (WEATHER, SWITCH)}
QUESTION: Body = {"role": "user", "content": "What is the weather in Paris?"}
NAMED: Body = {"type": "function", "function": {"name": "switch_light"}}
MODELS = pytest.mark.parametrize("model", ["plain", "qwen3"])
AND_ONE_THAT_REASONS = pytest.mark.parametrize("model", ["plain", "qwen3", "qwen3.5"])


def ask(model: str, **fields: Any) -> Body:
    return {"model": model, "messages": [QUESTION], "temperature": 0, "max_tokens": 200} | fields


def calls_of(answer: ChatCompletion, choice: int = 0) -> list[tuple[str, Body]]:
    """(name, arguments) of an answer's calls, each checked against its schema."""
    calls = []
    for call in answer.choices[choice].message.tool_calls or []:
        assert call.type == "function"
        arguments = json.loads(call.function.arguments)
        jsonschema.validate(arguments, SCHEMAS[call.function.name])
        calls.append((call.function.name, arguments))
    return calls


def put_together(chunks: list[ChatCompletionChunk]) -> list[Body]:
    """The calls of a streamed answer. Each begins with all but its arguments, which follow in pieces."""
    calls: list[Body] = []
    for delta in (call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []):
        assert delta.function is not None
        if delta.index == len(calls):
            assert delta.id and delta.type == "function"
            assert delta.function.arguments == ""
            calls.append({"id": delta.id, "name": delta.function.name, "arguments": ""})
        else:
            assert delta.index == len(calls) - 1, "a call goes on after the next one has begun"
            assert delta.id is None and delta.function.name is None
            calls[-1]["arguments"] += delta.function.arguments
    return calls


def reasoning_of(part: BaseModel) -> str:
    """Of a message or a delta; the client's types do not know it."""
    return (part.model_extra or {}).get("reasoning_content") or ""


# --- forced calls -------------------------------------------------------------------------------------


@AND_ONE_THAT_REASONS
@pytest.mark.parametrize("choice", ["required", NAMED], ids=["required", "named"])
def test_a_forced_call_keeps_to_its_schema(tool_client, model, choice):
    answer = tool_client.chat.completions.create(
        **ask(model, tools=TOOLS, tool_choice=choice, parallel_tool_calls=False)
    )
    ((name, _),) = calls_of(answer)
    assert choice == "required" or name == "switch_light"
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.content is None


@AND_ONE_THAT_REASONS
@pytest.mark.parametrize("choice", ["required", NAMED], ids=["required", "named"])
def test_a_streamed_call_begins_with_its_name_and_is_the_same_call(tool_client, model, choice):
    fields = ask(model, tools=TOOLS, tool_choice=choice, parallel_tool_calls=False)
    whole = tool_client.chat.completions.create(**fields)
    chunks = list(tool_client.chat.completions.create(**fields, stream=True))
    (call,) = put_together(chunks)
    assert (call["name"], json.loads(call["arguments"])) == calls_of(whole)[0]
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    assert not any(chunk.choices[0].delta.content for chunk in chunks)


def test_arguments_are_streamed_in_pieces(tool_client):
    function = {"type": "function", "function": {"name": "get_weather"}}
    chunks = tool_client.chat.completions.create(
        **ask("qwen3", tools=TOOLS, tool_choice=function, parallel_tool_calls=False, stream=True)
    )
    assert sum(bool(chunk.choices[0].delta.tool_calls) for chunk in chunks) > 5


@pytest.mark.parametrize("seed", range(4))
def test_whatever_the_chance_a_forced_call_keeps_to_its_schema(tool_client, seed):
    answer = tool_client.chat.completions.create(
        **ask("qwen3", tools=TOOLS, tool_choice="required", temperature=1.5, seed=seed, max_tokens=400)
    )
    if answer.choices[0].finish_reason == "tool_calls":
        assert calls_of(answer)
    else:  # it called and called
        assert answer.choices[0].finish_reason == "length"


def test_each_choice_has_calls_with_ids_of_their_own(tool_client):
    answer = tool_client.chat.completions.create(
        **ask("qwen3", tools=TOOLS, tool_choice="required", parallel_tool_calls=False, temperature=1, n=3)
    )
    assert [len(calls_of(answer, index)) for index in range(3)] == [1, 1, 1]
    assert len({choice.message.tool_calls[0].id for choice in answer.choices}) == 3


@MODELS
def test_a_function_without_parameters_can_be_called(tool_client, model):
    tools = [{"type": "function", "function": {"name": "now"}}]
    answer = tool_client.chat.completions.create(
        **ask(model, tools=tools, tool_choice="required", parallel_tool_calls=False, max_tokens=600)
    )
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "now"
    if answer.choices[0].finish_reason == "tool_calls":  # any object will do, also one without an end
        assert isinstance(json.loads(call.function.arguments), dict)


@MODELS
def test_no_call_is_made_where_none_is_wanted(tool_client, model):
    answer = tool_client.chat.completions.create(**ask(model, tools=TOOLS, tool_choice="none", max_tokens=30))
    assert not answer.choices[0].message.tool_calls
    assert answer.choices[0].message.content


@MODELS
def test_a_strict_function_is_free_to_stay_uncalled_but_called_it_keeps_to_its_schema(tool_client, model):
    strict: list[Any] = [{"type": "function", "function": WEATHER | {"strict": True}}]
    answer = tool_client.chat.completions.create(**ask(model, tools=strict, max_tokens=60))
    assert calls_of(answer) or answer.choices[0].message.content


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": "sometimes"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice"),
        ({"tools": TOOLS + TOOLS}, "tools"),
    ],
)
def test_what_cannot_be_called_is_a_400_that_names_it(tool_client, fields, param):
    with pytest.raises(openai.BadRequestError) as caught:
        tool_client.chat.completions.create(**ask("qwen3", **fields))
    assert caught.value.param == param


def test_a_schema_that_no_answer_can_keep_to_is_a_400_and_the_server_lives_on(tool_client):
    schema = {"type": "object", "properties": {"x": {"$ref": "#/$defs/nowhere"}}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": schema, "strict": True}}]
    with pytest.raises(openai.BadRequestError) as caught:
        tool_client.chat.completions.create(**ask("qwen3", tools=tools, tool_choice="required"))
    assert "tools[0].function.parameters" in (caught.value.param or "")
    assert tool_client.chat.completions.create(**ask("qwen3", max_tokens=2)).choices


# --- a conversation with tools ------------------------------------------------------------------------


@MODELS
def test_calls_and_their_results_reach_the_prompt(tool_client, model):
    function = {"name": "get_weather", "arguments": '{"city": "Paris", "unit": "celsius", "days": 1}'}
    call = {"id": "call_1", "type": "function", "function": function}
    assistant = {"role": "assistant", "content": None, "tool_calls": [call]}

    def prompt_tokens(result: str) -> int:
        messages = [QUESTION, assistant, {"role": "tool", "tool_call_id": "call_1", "content": result}]
        answer = tool_client.chat.completions.create(
            **ask(model, messages=messages, tools=TOOLS, tool_choice="none", max_tokens=10)
        )
        assert answer.choices[0].message.content
        return int(answer.usage.prompt_tokens)

    question = tool_client.chat.completions.create(**ask(model, max_tokens=1)).usage.prompt_tokens
    assert prompt_tokens("sunny " * 50) - 40 > prompt_tokens("sunny") > question + 20


@AND_ONE_THAT_REASONS
def test_a_conversation_as_coding_agents_begin_and_continue_it(tool_client, model):
    """Instructions and a developer, two users in a row, tools of OpenAI's own, items by reference."""
    texts = [("developer", "You may read."), ("user", "I am in /src."), ("user", "Go on.")]
    given: list[Any] = [{"role": role, "content": text} for role, text in texts]
    functions = [{"type": "function", "strict": False, **function} for function in (WEATHER, SWITCH)]
    fields: Body = {
        "model": model,
        "instructions": "You are an agent.",
        "tools": [*functions, {"type": "web_search"}],
        "temperature": 0,
        "max_output_tokens": 40,
    }
    first = tool_client.responses.create(**fields, input=given, tool_choice="required")
    call = first.output[-1]
    assert call.type == "function_call"
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "done"}
    given += [{"type": "item_reference", "id": item.id} for item in first.output] + [result]
    second = tool_client.responses.create(**fields, input=given)
    assert second.usage.input_tokens > first.usage.input_tokens


def test_a_result_without_its_call_id_is_a_400(tool_client):
    messages = [QUESTION, {"role": "tool", "content": "sunny"}]
    with pytest.raises(openai.BadRequestError) as caught:
        tool_client.chat.completions.create(**ask("qwen3", messages=messages))
    assert caught.value.param == "messages[1].tool_call_id"


# --- output formats -----------------------------------------------------------------------------------


class Mood(BaseModel):
    """Bounded on all sides, so that a random model comes to an end."""

    mood: Literal["good", "bad"]
    stars: int = Field(ge=1, le=5)
    words: list[Literal["a", "b"]] = Field(min_length=1, max_length=3)


@MODELS
def test_the_clients_parse_helper_gets_its_model(tool_client, model):
    answer = tool_client.chat.completions.parse(**ask(model, response_format=Mood))
    assert isinstance(answer.choices[0].message.parsed, Mood)
    assert answer.choices[0].finish_reason == "stop"


@AND_ONE_THAT_REASONS
def test_the_clients_stream_helper_gets_its_model(tool_client, model):
    with tool_client.chat.completions.stream(**ask(model, response_format=Mood)) as stream:
        pieces = [event.delta for event in stream if event.type == "content.delta"]
        answer = stream.get_final_completion()
    assert Mood.model_validate_json("".join(pieces)) == answer.choices[0].message.parsed


@AND_ONE_THAT_REASONS
def test_the_clients_parse_helper_gets_a_functions_arguments(tool_client, model):
    tools = [openai.pydantic_function_tool(Mood, name="rate")]
    answer = tool_client.chat.completions.parse(
        **ask(model, tools=tools, tool_choice="required", parallel_tool_calls=False)
    )
    (call,) = answer.choices[0].message.tool_calls
    assert isinstance(call.function.parsed_arguments, Mood)


@MODELS
def test_the_clients_stream_helper_gets_a_functions_arguments(tool_client, model):
    tools = [openai.pydantic_function_tool(Mood, name="rate")]
    fields = ask(model, tools=tools, tool_choice="required", parallel_tool_calls=False)
    with tool_client.chat.completions.stream(**fields) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
    assert [event.name for event in done] == ["rate"]
    assert isinstance(done[0].parsed_arguments, Mood)


@AND_ONE_THAT_REASONS
@pytest.mark.parametrize("stream", [False, True])
def test_a_json_schema_is_kept_to(tool_client, model, stream):
    schema = Mood.model_json_schema()
    wanted = {"type": "json_schema", "json_schema": {"name": "mood", "schema": schema, "strict": True}}
    answer = tool_client.chat.completions.create(**ask(model, response_format=wanted, stream=stream))
    if stream:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in answer)
    else:
        text = answer.choices[0].message.content
    jsonschema.validate(json.loads(text), schema)


@MODELS
def test_a_json_object_is_one(tool_client, model):
    answer = tool_client.chat.completions.create(
        **ask(model, response_format={"type": "json_object"}, max_tokens=600)
    )
    text = answer.choices[0].message.content
    assert text.lstrip().startswith("{")
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(text), dict)


# --- reasoning ----------------------------------------------------------------------------------------


def test_reasoning_is_told_apart_from_the_answer(tool_client):
    fields = ask("qwen3.5", max_tokens=300)
    whole = tool_client.chat.completions.create(**fields)
    reasoning = reasoning_of(whole.choices[0].message)
    assert reasoning
    assert "think>" not in reasoning
    assert 0 < whole.usage.completion_tokens_details.reasoning_tokens <= whole.usage.completion_tokens
    deltas = [chunk.choices[0].delta for chunk in tool_client.chat.completions.create(**fields, stream=True)]
    assert "".join(map(reasoning_of, deltas)) == reasoning
    assert "".join(delta.content or "" for delta in deltas) == whole.choices[0].message.content


def test_a_forced_call_follows_the_reasoning_that_was_asked_for(tool_client):
    fields = ask("qwen3.5", tools=TOOLS, tool_choice="required", parallel_tool_calls=False)
    answer = tool_client.chat.completions.create(**fields | {"max_tokens": 1500}, reasoning_effort="high")
    assert reasoning_of(answer.choices[0].message)
    assert len(calls_of(answer)) == 1


@pytest.mark.parametrize(
    "switch",
    [{"reasoning_effort": "none"}, {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}}],
)
def test_reasoning_that_is_switched_off_is_not_there(tool_client, switch):
    answer = tool_client.chat.completions.create(**ask("qwen3.5", max_tokens=30), **switch)
    assert not reasoning_of(answer.choices[0].message)
    assert answer.choices[0].message.content


@MODELS
@pytest.mark.parametrize("tools", [None, TOOLS], ids=["plain", "with tools"])
def test_a_model_that_does_not_reason_streams_its_answer_as_content(tool_client, model, tools):
    stream = tool_client.chat.completions.create(
        **ask(model, stream=True, max_tokens=20, tools=tools or openai.omit)
    )
    deltas = [chunk.choices[0].delta for chunk in stream]
    assert any(delta.content for delta in deltas)
    assert not any(map(reasoning_of, deltas))
