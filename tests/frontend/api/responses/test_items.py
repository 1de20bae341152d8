"""The input of a response: every mistake is a 400 that names the field; the rest becomes chat messages."""

import itertools

import msgspec
import pytest

from frontend.api.body import decode
from frontend.api.responses.items import ItemImages, items_of, messages_of, whole_input
from frontend.api.responses.request import check, turn_of
from frontend.api.schema.common import MOST_MESSAGES
from frontend.api.schema.response_items import FunctionOutputItem, InputText, Item, MessageItem, OutputText
from frontend.api.schema.responses import UNSUPPORTED, ResponsesRequest
from frontend.errors import BadRequest
from ipc.messages import ChatMessage, ToolCall

DECODER = msgspec.json.Decoder(ResponsesRequest)
F = {"type": "function", "name": "f", "parameters": {"type": "object"}}
CUSTOM = {"type": "custom", "name": "c"}
USER = {"role": "user", "content": "hi"}
ALLOWED = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}


def asked(given="hi", history=(), others=(), **fields):
    body = decode(msgspec.json.encode({"model": "m", "input": given, **fields}), DECODER)
    check(body)
    ids = itertools.count()
    stored = {item.id: item for item in (*history, *others)}
    items = [*history, *items_of(body.input, history, stored, lambda prefix: f"{prefix}_{next(ids)}")]
    return turn_of(body, items)[0]


def messages(given, **fields):
    return asked(given, **fields).messages


def refused(given="hi", **fields) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        asked(given, **fields)
    assert caught.value.param is not None
    assert caught.value.param.partition("[")[0] in caught.value.message
    return caught.value


def test_text_is_a_users_message_after_the_instructions():
    assert messages("hi") == [ChatMessage("user", "hi")]
    assert messages("hi", instructions="Be brief.") == [
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "hi"),
    ]


def test_messages_come_with_or_without_type_and_parts():
    given = [
        {"role": "developer", "content": "Rules"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}] * 2},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "b"}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
    ]
    assert messages(given) == [
        ChatMessage("system", "Rules"),
        ChatMessage("user", "a\na"),
        ChatMessage("assistant", "b"),
        ChatMessage("assistant", "no"),
    ]


def test_what_the_assistant_thought_said_and_called_in_one_go_is_one_message():
    given = [
        {"role": "user", "content": "weather?"},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "hm"}],
            "encrypted_content": None,
        },
        {"role": "assistant", "content": "I look."},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "2", "name": "g", "arguments": '{"a":1}'},
        {"type": "function_call_output", "call_id": "1", "output": "sun"},
        {"type": "function_call_output", "call_id": "2", "output": [{"type": "input_text", "text": "rain"}]},
        {"type": "function_call", "call_id": "3", "name": "f", "arguments": "{}"},
    ]
    assert messages(given) == [
        ChatMessage("user", "weather?"),
        ChatMessage(
            "assistant",
            "I look.",
            tool_calls=[ToolCall("1", "f", "{}"), ToolCall("2", "g", '{"a":1}')],
            reasoning="hm",
        ),
        ChatMessage("tool", "sun", "f", tool_call_id="1"),
        ChatMessage("tool", "rain", "g", tool_call_id="2"),
        ChatMessage("assistant", None, tool_calls=[ToolCall("3", "f", "{}")]),
    ]


def test_reasoning_that_led_to_nothing_is_left_out():
    reasoning = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}]}
    assert messages([reasoning, {"role": "user", "content": "hi"}]) == [ChatMessage("user", "hi")]
    assert messages([reasoning, reasoning, {"role": "assistant", "content": "a"}]) == [
        ChatMessage("assistant", "a", reasoning="s\ns")
    ]


def test_two_texts_of_the_assistant_stay_two_messages():
    given = [{"role": "assistant", "content": text} for text in "ab"]
    assert [message.content for message in messages(given)] == ["a", "b"]


def test_history_comes_first_and_its_calls_can_be_answered():
    new_id = lambda prefix: f"{prefix}_x"  # noqa: E731
    call = DECODER.decode(
        b'{"model":"m","input":[{"type":"function_call","id":"fc_1","call_id":"1","name":"f","arguments":""}]}'
    )
    history = items_of(call.input, [], {}, new_id)
    answer = [
        {"type": "item_reference", "id": "fc_1"},
        {"type": "function_call_output", "call_id": "1", "output": ""},
    ]
    assert [message.role for message in messages(answer, history=history)] == ["assistant", "tool"]


def test_a_stored_item_stands_where_it_is_referred_to_and_only_once():
    said = MessageItem(id="msg_1", role="assistant", content=[OutputText("Hello")])
    reference = {"type": "item_reference", "id": "msg_1"}
    given = [USER, reference, USER | {"content": "and?"}]
    assert [m.content for m in messages(given, others=[said])] == ["hi", "Hello", "and?"]
    assert [m.content for m in messages([*given, reference], history=[said])] == ["Hello", "hi", "and?"]


def test_items_without_an_id_get_one():
    body = DECODER.decode(
        b'{"model":"m","input":[{"role":"user","content":"a"},{"role":"user","id":"x","content":""}]}'
    )
    assert [item.id for item in items_of(body.input, [], {}, lambda prefix: f"{prefix}_new")] == [
        "msg_new",
        "x",
    ]


@pytest.mark.parametrize(
    ("given", "param"),
    [
        (5, "input"),
        ([], "input"),
        ([USER, {"role": "alien", "content": "x"}], "input[1].role"),
        ([{"type": "message", "content": "x"}], "input[0].role"),
        ([{"role": "user"}], "input[0].content"),
        ([{"role": "user", "content": 5}], "input[0].content"),
        ([USER, {"role": "user", "content": [{"type": "input_file"}]}], "input[1].content[0].type"),
        ([USER, {"role": "user", "content": [{"type": "input_image"}]}], "input[1].content[0].image_url"),
        (
            [{"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}],
            "input[0].content[0].file_id",
        ),
        (
            [{"role": "user", "content": [{"type": "input_image", "image_url": "x", "detail": "huge"}]}],
            "input[0].content[0].detail",
        ),
        (
            [{"role": "assistant", "content": [{"type": "input_image", "image_url": "x"}]}],
            "input[0].content[0].type",
        ),
        (
            [
                {
                    "role": "user",
                    "content": [{"type": "input_image", "image_url": "x"}, {"type": "input_audio"}],
                }
            ],
            "input[0].content[1].type",
        ),
        ([{"role": "user", "content": [{"type": "output_text", "text": ""}]}], "input[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "input_text"}]}], "input[0].content[0].text"),
        ([{"role": "user", "content": [{"text": "x"}]}], "input[0].content[0].type"),
        ([5], "input[0]"),
        ([{"type": 5}], "input[0].type"),
        ([{"type": "custom_tool_call", "call_id": "1", "name": "f"}], "input[0].input"),
        ([{"type": "custom_tool_call_output", "call_id": "1", "output": "x"}], "input"),
        ([{"type": "compaction"}], "input[0].encrypted_content"),
        ([{"type": "function_call", "name": "f", "arguments": "{}"}], "input[0].call_id"),
        ([{"type": "function_call", "call_id": "1", "arguments": "{}"}], "input[0].name"),
        ([{"type": "function_call", "call_id": "1", "name": "f"}], "input[0].arguments"),
        ([{"type": "function_call_output", "call_id": "1"}], "input[0].output"),
        ([{"type": "function_call_output", "call_id": "1", "output": "x"}], "input"),
        ([{"type": "reasoning", "summary": [{"type": "text", "text": ""}]}], "input[0].summary[0].type"),
        ([{"type": "item_reference", "id": "msg_1"}], "input[0].id"),
        ([{"type": "item_reference"}], "input[0].id"),
    ],
)
def test_a_wrong_item_is_named(given, param):
    assert refused(given).param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [F, {"type": "function"}]}, "tools[1].name"),
        ({"tools": [F, F]}, "tools"),
        ({"tools": [{"type": "namespace", "tools": [F]}]}, "tools[0].name"),
        (
            {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function"}]}]},
            "tools[0].tools[0].name",
        ),
        ({"tools": [{"type": "custom"}]}, "tools[0].name"),
        ({"tools": [{"type": "custom", "name": "c", "format": {"type": "xml"}}]}, "tools[0].format.type"),
        ({"tools": [CUSTOM | {"format": {"type": "grammar"}}]}, "tools[0].format.definition"),
        (
            {"tools": [CUSTOM | {"format": {"type": "grammar", "syntax": "bnf", "definition": "x"}}]},
            "tools[0].format.syntax",
        ),
        ({"tools": [{"type": "function", "name": "a b"}]}, "tools[0].name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "always", "tools": [F]}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "g"}, "tools": [F]}, "tool_choice"),
        ({"tool_choice": {"type": "web_search"}, "tools": [F]}, "tool_choice"),
        ({"tool_choice": "required", "tools": [{"type": "web_search"}]}, "tool_choice"),
        (
            {"tool_choice": ALLOWED | {"tools": [{"type": "function", "name": "g"}]}, "tools": [F]},
            "tool_choice",
        ),
        ({"text": {"verbosity": "loud"}}, "text.verbosity"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"reasoning": {"summary": "long"}}, "reasoning.summary"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"truncation": "left"}, "truncation"),
        ({"include": ["message.output_text.logprobs"]}, "include[0]"),
        ({"metadata": {"a": 1}}, "metadata[...]"),
        ({"metadata": {str(i): "" for i in range(17)}}, "metadata"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_tokens": 5}, "max_tokens"),
        ({"response_format": {"type": "text"}}, "response_format"),
        ({"n": 2}, "n"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"temperature": 3}, "temperature"),
        ({"background": True, "store": False}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
    ],
)
def test_a_wrong_parameter_is_named(fields, param):
    assert refused(**fields).param == param


def test_the_message_about_a_part_says_what_and_where():
    audio = {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "x"}}]}
    assert "input[3].content[0].type: 'input_audio' is not supported" in refused([USER] * 3 + [audio]).message


def test_what_asks_for_nothing_is_accepted():
    harmless = {name: values[0] for name, values in UNSUPPORTED.items() if values}
    asked(
        include=["reasoning.encrypted_content"],
        text={"format": {"type": "text"}, "verbosity": "low"},
        reasoning={"summary": "detailed"},
        service_tier="auto",
        tools=[],
        tool_choice="none",
        stream=False,
        **harmless,
    )
    asked(**dict.fromkeys(ResponsesRequest.__struct_fields__[1:], None) | {"input": "hi"})


def test_tools_and_the_choice_among_them():
    use = asked(tools=[F | {"strict": True}, F | {"name": "g"}], parallel_tool_calls=False).tool_use
    assert [(tool.name, bool(tool.strict)) for tool in use.tools] == [("f", True), ("g", False)]
    assert (use.choice, use.named, use.parallel) == ("auto", None, False)
    use = asked(tools=[F], tool_choice={"type": "function", "name": "f"}).tool_use
    assert (use.choice, use.named, use.parallel) == ("required", "f", None)
    assert asked(tools=[F], tool_choice="none").tool_use.choice == "none"
    assert asked().tool_use is None


def test_tools_that_are_no_functions_are_left_out():
    hosted = [{"type": "web_search", "external_web_access": False}, {"type": "namespace", "name": "n"}]
    use = asked(tools=[hosted[0], F, hosted[1]]).tool_use
    assert [tool.name for tool in use.tools] == ["f"]
    assert asked(tools=hosted).tool_use is None


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_only_allowed_tools_may_be_called(mode):
    choice = ALLOWED | {"mode": mode, "tools": [*ALLOWED["tools"], {"type": "web_search"}]}
    use = asked(tools=[F | {"name": "g"}, F], tool_choice=choice).tool_use
    assert ([tool.name for tool in use.tools], use.choice, use.named) == (["f"], mode, None)


def test_the_output_format_comes_from_text_format():
    assert asked().output_format is None
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    form = {"type": "json_schema", "name": "n", "schema": schema, "strict": True}
    assert asked(text={"format": form}).output_format is not None
    assert asked(text={"format": {"type": "json_object"}}).output_format is not None


def test_sampling_is_as_asked():
    spec = asked(max_output_tokens=5, temperature=0.5, seed=3, truncation="auto", reasoning={"effort": "low"})
    (sampling,) = spec.samplings
    assert (sampling.max_tokens, sampling.temperature, sampling.seed) == (5, 0.5, 3)
    assert sampling.truncate_prompt == -1
    assert spec.reasoning_effort == "low"
    assert asked(truncation="disabled").samplings[0].truncate_prompt is None


def test_a_long_thought_in_many_parts_takes_time_in_proportion():
    """Each part was once appended to a copy of all before it: a hundred gigabytes for this one."""
    thought = "x" * 10_000
    given = [{"type": "reasoning", "summary": [{"type": "summary_text", "text": thought}]}] * 5000
    calls = [
        {"type": "function_call", "call_id": str(n), "name": "f", "arguments": "{}"} for n in range(4000)
    ]
    (message,) = messages([*given, *calls])
    assert message.reasoning == "\n".join([thought] * 5000)
    assert len(message.tool_calls) == 4000


def test_a_conversation_that_grows_from_response_to_response_has_the_bound_of_a_single_request():
    history = [MessageItem(id=str(n), role="user", content=[InputText("x")]) for n in range(MOST_MESSAGES)]
    new_id = lambda prefix: prefix  # noqa: E731
    assert len(whole_input("hi", history[1:], {}, new_id)) == MOST_MESSAGES
    with pytest.raises(BadRequest, match="start a new one") as caught:
        whole_input("hi", history, {}, new_id)
    assert caught.value.param == "input"


def test_stored_items_that_no_request_could_have_made_are_no_defect_of_the_server():
    items: list[Item] = [
        FunctionOutputItem(id="fco_1", call_id="unknown", output="o"),
        MessageItem(id="msg_1", role="user", content=[]),
        MessageItem(id="msg_2", role="assistant", content=[]),
    ]
    assert messages_of(items, None, ItemImages([])) == [
        ChatMessage("tool", "o", None, tool_call_id="unknown"),
        ChatMessage("user", ""),
        ChatMessage("assistant", ""),
    ]
