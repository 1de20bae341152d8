"""What requests of Anthropic's API ask a turn for."""

import base64

import msgspec
import pytest

from frontend.api.anthropic.request import carried_characters, only_fills_the_cache, turn_of
from frontend.api.anthropic.thinking import signature_of
from frontend.api.body import decode
from frontend.api.schema.messages import CountTokensRequest, MessagesRequest
from frontend.errors import BadRequest
from ipc.messages import ChatMessage, MediaPart, TextPart, ToolCall

PIXEL = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}
CACHED = {"cache_control": {"type": "ephemeral"}}


def body_of(*messages, **fields):
    body = {"model": "m", "max_tokens": 50, "messages": list(messages), **fields}
    return decode(msgspec.json.encode(body), msgspec.json.Decoder(MessagesRequest))


def turn(*messages, **fields):
    return turn_of(body_of(*(messages or [user("Hi")]), **fields))


def messages_of(*messages, **fields):
    return turn(*messages, **fields).messages


def text(text, **fields):
    return {"type": "text", "text": text, **fields}


def user(*blocks):
    return {"role": "user", "content": blocks[0] if isinstance(blocks[0], str) else list(blocks)}


def assistant(*blocks):
    return {"role": "assistant", "content": blocks[0] if isinstance(blocks[0], str) else list(blocks)}


def call(call_id="call_1", name="f", **given):
    return {"type": "tool_use", "id": call_id, "name": name, "input": given, **CACHED}


def result(content=None, call_id="call_1", **fields):
    block = {"type": "tool_result", "tool_use_id": call_id, **fields}
    return block if content is None else {**block, "content": content}


def tool(content, call_id="call_1", name: str | None = "f"):
    return ChatMessage("tool", content, name, tool_call_id=call_id)


def refusal(*messages, **fields):
    with pytest.raises(BadRequest) as caught:
        turn(*messages, **fields)
    assert caught.value.param is not None
    assert caught.value.param in caught.value.message
    return caught.value


# --- the system prompt --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "system", ["Be brief.", [text("Be brief.", **CACHED)], [text(""), text("Be brief.")]]
)
def test_the_system_prompt_is_the_first_message(system):
    assert messages_of(system=system) == [ChatMessage("system", "Be brief."), ChatMessage("user", "Hi")]


@pytest.mark.parametrize("system", ["", [], [text("")]])
def test_an_empty_system_prompt_is_none(system):
    assert messages_of(system=system) == [ChatMessage("user", "Hi")]


@pytest.mark.parametrize(
    "system",
    [
        [text("x-anthropic-billing-header: cc_version=2.1; cch=1ab2c;"), text("Be brief.")],
        "x-anthropic-billing-header: cch=1ab2c;\nBe brief.",
    ],
)
def test_a_line_that_differs_in_every_request_is_not_for_the_model(system):
    assert messages_of(system=system)[0] == ChatMessage("system", "Be brief.")


def test_what_only_quotes_that_line_stays():
    quoting = "The line `x-anthropic-billing-header: 1` is removed.\n"
    assert messages_of(system=quoting)[0].content == quoting


def test_system_messages_stay_where_they_are():
    system = {"role": "system", "content": [text("Now in French.")]}
    assert messages_of(user("Hi"), system, user("Bye"), system=[text("Be brief.")]) == [
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "Hi"),
        ChatMessage("system", "Now in French."),
        ChatMessage("user", "Bye"),
    ]


def test_a_system_message_for_one_user_message_goes_with_it():
    once = {"role": "system", "content": "Once.", "clear_at": "next_user_message"}
    assert messages_of(user("Hi"), once)[-1].content == "Once."
    assert all(message.content != "Once." for message in messages_of(user("Hi"), once, user("Bye")))


def test_the_system_prompt_is_text_only():
    assert refusal(system=[PIXEL]).param == "system[0].type"


# --- messages -----------------------------------------------------------------------------------------


def test_text_blocks_are_lines_of_one_text_and_empty_ones_are_none():
    assert messages_of(user(text("a", **CACHED), text(""), text("b", citations=None)))[0].content == "a\nb"


def test_consecutive_messages_of_one_role_are_one():
    given = [user("a"), user("b"), assistant("c"), assistant(call(x=1)), user(result("1"), text("d"))]
    assert messages_of(*given) == [
        ChatMessage("user", "a\nb"),
        ChatMessage("assistant", "c", tool_calls=[ToolCall("call_1", "f", '{"x":1}')]),
        tool("1"),
        ChatMessage("user", "d"),
    ]


def test_results_precede_what_the_user_says_with_them_and_keep_their_order():
    calls = assistant(call("call_1"), call("call_2", "g"))
    results = user(text("And?"), result("2", "call_2"), result("1"))
    assert messages_of(user("Hi"), calls, results)[2:] == [
        tool("2", "call_2", "g"),
        tool("1"),
        ChatMessage("user", "And?"),
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (result("warm"), "warm"),
        (result([text("a"), text("b")]), "a\nb"),
        (result(), ""),
        (result([]), ""),
        (result("no such file", is_error=True), "Error: no such file"),
        (result("Error: no such file", is_error=True), "Error: no such file"),
        (
            result([text("<tool_use_error>no</tool_use_error>")], is_error=True),
            "<tool_use_error>no</tool_use_error>",
        ),
        (result(is_error=True), "Error:"),
        (result([{"type": "tool_reference", "tool_name": "g"}]), "g"),
    ],
)
def test_results_of_every_form(given, expected):
    assert messages_of(user("Hi"), assistant(call()), user(given))[-1] == tool(expected)


def test_a_result_may_hold_images():
    spec = turn(user("Hi"), assistant(call()), user(result([text("Seen:"), PIXEL], is_error=True)))
    assert [type(part) for part in spec.messages[-1].content] == [TextPart, TextPart, MediaPart]
    [image] = spec.images
    assert (image.where, image.field) == (
        "messages[2].content[0].content[1]",
        "messages[2].content[0].content[1].source.data",
    )


def test_a_result_of_an_unknown_call_is_still_shown():
    assert messages_of(user(result("warm", "lost")))[0] == tool("warm", "lost", None)


def test_images_of_both_kinds_keep_their_place():
    url = {"type": "image", "source": {"type": "url", "url": "https://images.example/a.png"}}
    spec = turn(user(PIXEL, text("What?"), url))
    assert [type(part) for part in spec.messages[0].content] == [MediaPart, TextPart, MediaPart]
    assert [image.url for image in spec.images] == [
        "data:image/unknown;base64,QUJD",
        "https://images.example/a.png",
    ]
    assert spec.images[1].field == "messages[0].content[2].source.url"


def test_images_do_not_count_against_the_size_of_a_body():
    assert carried_characters(body_of(user(PIXEL), assistant(call()), user(result([PIXEL])))) == 8
    assert carried_characters(body_of(user("QUJD"))) == 0


def test_the_assistants_thought_text_and_calls_are_one_message():
    spoken = assistant(
        {"type": "thinking", "thinking": "Hm.", "signature": "of another server"},
        {"type": "redacted_thinking", "data": "EmwKAhgB"},
        text("I look."),
        call(path="a"),
    )
    assert messages_of(user("Hi"), spoken, user(result("1")))[1] == ChatMessage(
        "assistant",
        "I look.",
        tool_calls=[ToolCall("call_1", "f", '{"path":"a"}')],
        reasoning="Hm.",
    )


def test_the_assistants_blocks_are_one_text_and_keep_their_place_beside_calls():
    f, g = ToolCall("call_1", "f", "{}"), ToolCall("call_2", "g", "{}")
    spoken = assistant(
        text("I look"), text(" twice."), call(), text("\nThen."), call("call_2", "g"), text("")
    )
    assert messages_of(user("Hi"), spoken, user(result("1"), result("2", "call_2")))[1:3] == [
        ChatMessage("assistant", "I look twice.", tool_calls=[f]),
        ChatMessage("assistant", "\nThen.", tool_calls=[g]),
    ]
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    assert messages_of(user("Hi"), assistant(call()), assistant(thought, text("b")), user("c"))[1:3] == [
        ChatMessage("assistant", None, tool_calls=[f]),
        ChatMessage("assistant", "b", reasoning="Hm."),
    ]
    assert messages_of(user("Hi"), assistant("a"), assistant("b"), user("c"))[1].content == "a\nb"


@pytest.mark.parametrize(
    ("given", "arguments"),
    [({}, "{}"), (None, "{}"), ("", "{}"), ('{"x": 1}', '{"x": 1}'), ({"x": "é"}, '{"x":"é"}')],
)
def test_the_input_of_a_call_in_the_history_is_json_text(given, arguments):
    spoken = assistant({"type": "tool_use", "id": "c", "name": "f", "input": given})
    assert messages_of(user("Hi"), spoken)[1].tool_calls == [ToolCall("c", "f", arguments)]


def test_a_call_alone_has_no_content_and_a_thought_alone_an_empty_one():
    assert messages_of(user("Hi"), assistant(call()))[1].content is None
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    assert messages_of(user("Hi"), assistant(thought), user("b"))[1] == ChatMessage(
        "assistant", "", reasoning="Hm."
    )


def test_an_omitted_thought_comes_back_in_its_signature():
    signed = {"type": "thinking", "thinking": "", "signature": signature_of("Hm, é.", is_omitted=True)}
    assert messages_of(user("Hi"), assistant(signed, text("a")), user("b"))[1].reasoning == "Hm, é."


@pytest.mark.parametrize("signature", ["", "nacelle:%%%", "nacelle:/w==", base64.b64encode(b"x").decode()])
def test_a_signature_that_holds_no_thought_is_no_thought(signature):
    signed = {"type": "thinking", "thinking": "", "signature": signature}
    assert messages_of(user("Hi"), assistant(signed, text("a")), user("b"))[1].reasoning is None


def test_an_assistants_last_text_is_continued():
    spec = turn(user("Hi"), assistant(text("It is")))
    assert (spec.continue_final_message, spec.add_generation_prompt) == (True, False)
    for last in (assistant(call()), assistant(""), assistant(text("")), user("b")):
        spec = turn(user("Hi"), last)
        assert (spec.continue_final_message, spec.add_generation_prompt) == (False, True)


def test_documents_and_search_results_are_their_text():
    source = {"type": "text", "media_type": "text/plain", "data": "Roses are red."}
    document = {"type": "document", "title": "Poem", "context": "Old.", "source": source}
    parts = {"type": "document", "source": {"type": "content", "content": [text("a"), text("b")]}}
    short = {"type": "document", "source": {"type": "content", "content": "c"}}
    found = {"type": "search_result", "title": "T", "source": "https://t.example", "content": [text("d")]}
    assert messages_of(user(document, parts, short, found))[0].content.split("\n") == [
        *("Poem", "Old.", "Roses are red.", "a", "b", "c", "T", "https://t.example", "d")
    ]


def test_tools_of_anthropics_servers_in_a_history_are_calls_and_results():
    searched = assistant(
        text("I search."),
        {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "x"}},
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srv_1",
            "content": [{"type": "web_search_result", "title": "X", "url": "https://x.example"}],
        },
        text("Found."),
    )
    assert messages_of(user("Hi"), searched, user("b"))[1:4] == [
        ChatMessage("assistant", "I search.", tool_calls=[ToolCall("srv_1", "web_search", '{"query":"x"}')]),
        tool("X\nhttps://x.example", "srv_1", "web_search"),
        ChatMessage("assistant", "Found."),
    ]


@pytest.mark.parametrize(
    ("block", "param"),
    [
        ({"type": "audio"}, "messages[0].content[0].type"),
        ({"type": "text"}, "messages[0].content[0].text"),
        ({"type": "image"}, "messages[0].content[0].source"),
        ({"type": "image", "source": {"type": "file"}}, "messages[0].content[0].source.type"),
        ({"type": "image", "source": {"type": "base64"}}, "messages[0].content[0].source.data"),
        ({"type": "document", "source": {"type": "base64"}}, "messages[0].content[0].source.type"),
        ({"type": "document", "source": {"type": "url"}}, "messages[0].content[0].source.type"),
        ({"type": "tool_result", "content": "x"}, "messages[0].content[0].tool_use_id"),
        ({"type": "tool_result", "tool_use_id": "a", "content": {}}, "messages[0].content[0].content"),
        (result([{"type": "audio"}]), "messages[0].content[0].content[0].type"),
    ],
)
def test_what_cannot_be_shown_to_the_model_is_refused_by_name(block, param):
    assert refusal(user(block)).param == param


def test_an_assistant_has_no_images():
    assert refusal(user("Hi"), assistant(PIXEL)).param == "messages[1].content[0].type"


def test_a_conversation_of_nothing_is_refused():
    assert refusal(assistant("")).param == "messages"


# --- tools --------------------------------------------------------------------------------------------

SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}}
F = {"name": "f", "description": "Does f.", "input_schema": SCHEMA, "strict": True, **CACHED}
G = {"type": "custom", "name": "g", "input_schema": {}, "defer_loading": True, "input_examples": [{}]}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 5}


def test_tools_are_functions():
    [first, second] = turn(tools=[F, G]).tool_use.tools
    assert (first.name, first.description, first.parameters, first.strict) == ("f", "Does f.", SCHEMA, True)
    assert (second.name, second.parameters, second.strict) == ("g", {}, None)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, ("auto", None, None)),
        ({"type": "auto"}, ("auto", None, None)),
        ({"type": "auto", "disable_parallel_tool_use": True}, ("auto", None, False)),
        ({"type": "any"}, ("required", None, None)),
        ({"type": "any", "disable_parallel_tool_use": False}, ("required", None, True)),
        ({"type": "tool", "name": "g"}, ("required", "g", None)),
        ({"type": "none"}, ("none", None, None)),
    ],
)
def test_choices_of_tools(choice, expected):
    use = turn(tools=[F, G], **({} if choice is None else {"tool_choice": choice})).tool_use
    assert (use.choice, use.named, use.parallel) == expected


def test_tools_that_the_client_runs_and_does_not_describe_are_described():
    tools = [
        {"type": "bash_20250124", "name": "bash"},
        {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
        {"type": "memory_20250818", "name": "memory"},
    ]
    found = {tool.name: tool for tool in turn(tools=tools).tool_use.tools}
    assert list(found["bash"].parameters["properties"]) == ["command", "restart"]
    assert {"path", "old_str", "new_str"} <= set(
        found["str_replace_based_edit_tool"].parameters["properties"]
    )
    assert all(tool.description for tool in found.values())


def test_tools_of_anthropics_servers_are_left_out():
    others = [SEARCH, {"type": "mcp_toolset", "mcp_server_name": "s"}, {"type": "computer_20250124"}]
    assert [tool.name for tool in turn(tools=[*others, F]).tool_use.tools] == ["f"]
    assert turn(tools=others).tool_use is None


def test_places_of_schemas_count_the_tools_that_are_left_out():
    use = turn(tools=[SEARCH, F, SEARCH, G]).tool_use
    assert [use.place(tool.name) for tool in use.tools] == ["tools[1].input_schema", "tools[3].input_schema"]


@pytest.mark.parametrize("others", [[], [F]])
@pytest.mark.parametrize(
    "choice", [{"type": "tool", "name": "web_search"}, {"type": "tool", "name": "computer"}, {"type": "any"}]
)
def test_a_choice_of_a_tool_that_was_left_out_says_so(choice, others):
    tools = [SEARCH, {"type": "computer_20250124", "name": "computer"}, *others]
    if choice["type"] == "any" and others:
        assert turn(tools=tools, tool_choice=choice).tool_use.choice == "required"
        return
    error = refusal(tools=tools, tool_choice=choice)
    kind = "computer_20250124" if choice.get("name") == "computer" else SEARCH["type"]
    assert f"does not run tools of type {kind!r}" in error.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [F], "tool_choice": {"type": "required"}}, "tool_choice.type"),
        ({"tools": [F], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tools": [F], "tool_choice": {"type": "tool", "name": "g"}}, "tool_choice"),
        ({"tools": [SEARCH], "tool_choice": {"type": "tool", "name": "web_search"}}, "tool_choice"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tools": [F, F]}, "tools"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"tools": [{"name": "a b", "input_schema": {}}]}, "tools[0].name"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"stop_sequences": [""]}, "stop_sequences[0]"),
        ({"thinking": {"type": "maybe"}}, "thinking.type"),
        ({"mcp_servers": [{"type": "url", "url": "https://mcp.example", "name": "s"}]}, "mcp_servers"),
        ({"container": "c"}, "container"),
        ({"return_token_ids": True}, "return_token_ids"),
        ({"output_config": {"effort": "bogus"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
        ({"output_format": {"type": "json_schema"}}, "output_format.schema"),
        ({"output_config": {"format": {"type": "json_schema", "schema": {"type": 1}}}}, None),
    ],
)
def test_bad_values_are_refused_by_name(fields, param):
    error = refusal(**fields)
    assert param is None or error.param == param


# --- the rest -----------------------------------------------------------------------------------------


def test_sampling():
    spec = turn(temperature=0.5, top_p=0.9, top_k=5, max_tokens=7, stop_sequences=["END", "\n\n"])
    [sampling] = spec.samplings
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.max_tokens) == (0.5, 0.9, 5, 7)
    assert sampling.stop == ["END", "\n\n"]


def test_no_tokens_at_all_only_fill_the_cache():
    body = body_of(user("Hi"), max_tokens=0)
    assert only_fills_the_cache(body)
    assert turn_of(body).samplings[0].max_tokens == 1
    assert not only_fills_the_cache(body_of(user("Hi")))
    with pytest.raises(BadRequest, match="stream"):
        only_fills_the_cache(body_of(user("Hi"), max_tokens=0, stream=True))


def test_max_tokens_is_required_but_for_counting():
    body = b'{"model": "m", "messages": [{"role": "user", "content": "Hi"}]}'
    with pytest.raises(BadRequest) as caught:
        decode(body, msgspec.json.Decoder(MessagesRequest))
    assert caught.value.param == "max_tokens"
    counting = decode(body, msgspec.json.Decoder(CountTokensRequest))
    assert turn_of(counting).messages == [ChatMessage("user", "Hi")]


@pytest.mark.parametrize(
    ("thinking", "effort", "expected"),
    [
        (None, None, (None, None)),
        ({"type": "enabled", "budget_tokens": 1024}, None, (None, True)),
        ({"type": "adaptive"}, "high", ("high", True)),
        ({"type": "adaptive", "display": "summarized"}, "max", ("high", True)),
        ({"type": "disabled"}, "high", ("none", None)),
        (None, "low", ("low", None)),
    ],
)
def test_thinking_is_the_switch_for_reasoning(thinking, effort, expected):
    fields = {"thinking": thinking, "output_config": None if effort is None else {"effort": effort}}
    spec = turn(**{name: value for name, value in fields.items() if value is not None})
    assert (spec.reasoning_effort, spec.template_arguments.get("enable_thinking")) == expected


@pytest.mark.parametrize("place", ["output_config", "output_format"])
def test_an_output_format_is_a_schema(place):
    form = {
        "type": "json_schema",
        "schema": {"type": "object", "properties": {}, "additionalProperties": False},
    }
    spec = turn(**{place: {"format": form} if place == "output_config" else form})
    assert spec.output_format is not None


def test_threads_are_refused_with_the_code_that_makes_clients_send_whole_conversations():
    error = refusal(thread={"type": "create"})
    assert (error.param, error.code) == ("thread", "thread_unsupported_request")


def test_the_user_is_who_asks():
    assert turn(metadata={"user_id": "u"}).variant_key == "u"
    assert turn(metadata={}).variant_key is None


def test_what_only_concerns_anthropics_servers_has_no_effect():
    ignored = {
        "service_tier": "auto",
        "inference_geo": "eu",
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
        "mcp_servers": [],
        "container": None,
        "betas": ["x"],
        "speed": "standard",
        **CACHED,
    }
    assert turn(**ignored) == turn()
