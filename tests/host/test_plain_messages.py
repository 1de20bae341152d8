"""What a template refuses comes to the model in a plainer form, and nothing of it is lost."""

import json
import time

import pytest

from frontend.api.toolless import spell_out_calls
from frontend.parsing import detect
from host.plain_messages import merge_leading_system, plainer
from host.prompt import ChatTemplate
from ipc.messages import ChatMessage, ChatPrompt, ToolCall
from tests.models.templates import FAMILIES, chat_template

CALLS = [ToolCall("call_0123456789abcdef", "weather", '{"city": "Paris"}'), ToolCall("x", "time", "")]
LONG = [
    ChatMessage("system", "first rule"),
    ChatMessage("system", "second rule"),
    ChatMessage("user", "some context"),
    ChatMessage("user", "first question"),
    ChatMessage("assistant", None, tool_calls=CALLS),
    ChatMessage("tool", "it is sunny", "weather", tool_call_id=CALLS[0].id),
    ChatMessage("tool", "it is noon", "time", tool_call_id=CALLS[1].id),
    ChatMessage("assistant", "first answer"),
    ChatMessage("user", "second question"),
]
NEEDS_TOOLS = {"hermes3"}  # a template for turns with tools, which it takes for granted


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - NEEDS_TOOLS))
def test_every_family_shows_all_of_a_conversation(family: str) -> None:
    template = ChatTemplate(chat_template(family), {"bos_token": "<s>", "eos_token": "</s>"})
    messages = LONG if detect(template.source).tool_format else spell_out_calls(LONG)
    text = template.render(ChatPrompt(list(messages)))
    places = [text.find(m.text) for m in LONG if m.content and m.role != "system"]
    assert all(message.text in text for message in LONG if message.content)
    assert places == sorted(places)


def last_form(messages: list[ChatMessage]) -> list[ChatMessage]:
    *_, form = plainer(messages)
    return form


def test_a_form_takes_from_a_conversation_only_what_the_one_before_had() -> None:
    complete, in_turns, one_call, without_system = plainer(LONG)
    assert [m.role for m in complete] == [m.role for m in LONG]
    assert all(m.content is not None for m in complete)
    assert [m.role for m in in_turns] == ["system", "user", "assistant", "tool", "tool", "assistant", "user"]
    assert in_turns[0].content == "first rule\n\nsecond rule"
    assert [m.role for m in one_call][2:6] == ["assistant", "tool"] * 2
    assert without_system[0].content == "first rule\n\nsecond rule\n\nsome context\n\nfirst question"


def test_ids_become_short_and_still_belong_together() -> None:
    calls = [call for message in last_form(LONG) for call in message.tool_calls]
    answered = [message.tool_call_id for message in last_form(LONG) if message.role == "tool"]
    assert [call.id for call in calls] == answered
    assert all(len(call.id) == 9 and call.id.isalnum() for call in calls)


def test_a_short_id_stays() -> None:
    kept = ChatMessage("assistant", "", tool_calls=[ToolCall("abcDEF123", "f", "{}")])
    assert last_form([kept])[0].tool_calls[0].id == "abcDEF123"


@pytest.mark.parametrize("arguments", ["", "[1]", "{", "[" * 100_000])
def test_arguments_that_are_no_object_become_one(arguments: str) -> None:
    message = ChatMessage("assistant", None, tool_calls=[ToolCall("c", "f", arguments)])
    (form, *_) = plainer([message])
    assert json.loads(form[0].tool_calls[0].arguments) == {}


def test_results_go_to_the_calls_of_their_own_turn() -> None:
    """Some clients begin to count again with every turn."""
    turn = [
        ChatMessage("assistant", None, tool_calls=[ToolCall("0", "f", "{}"), ToolCall("1", "g", "{}")]),
        ChatMessage("tool", "of g", tool_call_id="1"),
        ChatMessage("tool", "of f", tool_call_id="0"),
    ]
    results = [message.content for message in last_form([*turn, *turn]) if message.role == "tool"]
    assert results == ["of f", "of g"] * 2


def test_a_conversation_of_very_many_messages_takes_no_long_time() -> None:
    """Whoever sends one must not hold up all others: joined one by one, these would take minutes."""
    began = time.process_time()
    for role in ("system", "user"):
        many = [ChatMessage(role, "x" * 1000)] * 20_000
        assert len(last_form(merge_leading_system(many))) == 1
    calls = [ToolCall(str(number), "f", "{}") for number in range(20_000)]
    results = [ChatMessage("tool", "", tool_call_id=call.id) for call in calls]
    assert len(last_form([ChatMessage("assistant", None, tool_calls=calls), *results])) == 40_000
    assert time.process_time() - began < 10


def test_a_result_of_no_call_is_kept() -> None:
    calls = [ToolCall("0", "f", "{}"), ToolCall("1", "g", "{}")]
    stray = ChatMessage("tool", "of nobody", tool_call_id="2")
    form = last_form([ChatMessage("assistant", None, tool_calls=calls), stray])
    assert [message.content for message in form] == ["", "", "of nobody"]


def test_only_system_messages_that_come_first_are_always_joined() -> None:
    roles = ["system", "system", "user", "system", "system"]
    messages = merge_leading_system([ChatMessage(role, role) for role in roles])
    assert [message.role for message in messages] == ["system", "user", "system", "system"]
    assert merge_leading_system([]) == []


def test_a_system_message_alone_becomes_the_users() -> None:
    assert last_form([ChatMessage("system", "hi")])[0].role == "user"
