"""What a template refuses comes to the model in a plainer form, and nothing of it is lost."""

import json
import time

import pytest

from frontend.api.toolless import spell_out_calls
from frontend.parsing import detect
from host.templates.plainer import merge_leading_system, plainer
from host.templates.rendering import ChatTemplate
from ipc.messages import ChatMessage, ChatPrompt, MediaPart, TextPart, ToolCall
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


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_shows_all_of_a_conversation(family: str) -> None:
    template = ChatTemplate(chat_template(family), {"bos_token": "<s>", "eos_token": "</s>"})
    messages = LONG if detect(template.source).tool_format else spell_out_calls(LONG)
    text = template.render(ChatPrompt(list(messages)))
    places = [text.find(m.text) for m in LONG if m.content and m.role != "system"]
    assert all(message.text in text for message in LONG if message.content)
    assert places == sorted(places)


def nth_form(messages: list[ChatMessage], number: int) -> list[ChatMessage]:
    """Counted from 1; 0 is the last."""
    return list(plainer(messages))[number - 1]


def last_form(messages: list[ChatMessage]) -> list[ChatMessage]:
    return nth_form(messages, 0)


ONE_CALL_AT_A_TIME = 4


def roles(messages: list[ChatMessage]) -> list[str]:
    return [message.role for message in messages]


def test_a_form_takes_from_a_conversation_only_what_the_one_before_had() -> None:
    forms = list(plainer(LONG))
    complete, system_first, in_turns, one_call, apart, alternating, without_system, texts, plain = forms
    assert roles(complete) == roles(system_first) == roles(LONG)
    assert all(m.content is not None for m in complete)
    assert roles(in_turns) == ["system", "user", "assistant", "tool", "tool", "assistant", "user"]
    assert in_turns[0].content == "first rule\n\nsecond rule"
    assert roles(one_call)[2:6] == ["assistant", "tool"] * 2
    assert apart == alternating == one_call
    assert without_system[0].content == "first rule\n\nsecond rule\n\nsome context\n\nfirst question"
    assert not any(m.tool_calls for m in texts)
    assert roles(plain) == ["user", "assistant"] * 3 + ["user"]


def test_a_later_message_of_the_system_stays_where_it_is() -> None:
    messages = [ChatMessage(role, role) for role in ("system", "user", "assistant", "system", "assistant")]
    assert roles(nth_form(messages, 2)) == ["system", "user", "assistant", "user", "assistant"]


def test_what_only_separates_turns_says_nothing() -> None:
    """Mistral's templates count neither calls nor results, and take no empty message."""
    call = ChatMessage("assistant", None, tool_calls=CALLS[:1])
    result = ChatMessage("tool", "sun", tool_call_id=CALLS[0].id)
    texts = [ChatMessage("assistant", "hello"), ChatMessage("user", "weather?"), call, result]
    form = nth_form([*texts, ChatMessage("user", "and?")], 6)
    assert roles(form) == ["user", "assistant", "user", "assistant", "tool", "assistant", "user"]
    assert [form[0].content, form[5].content] == [" ", " "]
    assert roles(nth_form([call, result], 6)) == ["user", "assistant", "tool"]


@pytest.mark.parametrize(
    "content",
    [
        "<tool_response>\nsun\n</tool_response>",
        [TextPart("<tool_response>sun"), TextPart("</tool_response> ")],
    ],
)
@pytest.mark.parametrize(
    "others", [[], [ChatMessage("system", "be brief")], [ChatMessage("assistant", "hm")]]
)
def test_a_result_in_a_users_words_is_a_question_where_there_is_no_other(
    content: str | list[TextPart | MediaPart], others: list[ChatMessage]
) -> None:
    template = ChatTemplate(chat_template("qwen3.5"), {})
    text = template.render(ChatPrompt([*others, ChatMessage("user", content)]))
    assert "A function returned:\n<tool_response>" in text
    question = [ChatMessage("user", "weather?"), ChatMessage("assistant", "hm"), ChatMessage("user", content)]
    assert "A function" not in template.render(ChatPrompt(question))


def test_text_beside_a_call_becomes_a_message_of_its_own() -> None:
    message = ChatMessage("assistant", "let me see", tool_calls=CALLS[:1], reasoning="hm")
    text, call = nth_form([ChatMessage("user", "?"), message], 5)[1:]
    assert (text.content, text.reasoning, text.tool_calls) == ("let me see", "hm", [])
    assert (call.content, call.reasoning, len(call.tool_calls)) == ("", None, 1)


def test_parts_stay_parts() -> None:
    """Templates of some vision models take nothing else."""
    messages = [ChatMessage(role, [TextPart(role)]) for role in ("user", "user", "assistant", "tool")]
    for form in plainer(messages):
        assert all(isinstance(message.content, list) for message in form)


def test_ids_become_short_and_still_belong_together() -> None:
    form = nth_form(LONG, ONE_CALL_AT_A_TIME)
    calls = [call for message in form for call in message.tool_calls]
    answered = [message.tool_call_id for message in form if message.role == "tool"]
    assert [call.id for call in calls] == answered
    assert all(len(call.id) == 9 and call.id.isalnum() for call in calls)


def test_a_short_id_stays() -> None:
    kept = ChatMessage("assistant", "", tool_calls=[ToolCall("abcDEF123", "f", "{}")])
    assert nth_form([kept], ONE_CALL_AT_A_TIME)[0].tool_calls[0].id == "abcDEF123"


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", {}),
        (" ", {}),
        ("[1]", {"arguments": [1]}),
        ("{", {"arguments": "{"}),
        (DEEP, {"arguments": DEEP}),
        ('{"a": 1}', {"a": 1}),
    ],
)
def test_arguments_that_are_no_object_become_one_that_holds_them(arguments: str, expected: object) -> None:
    message = ChatMessage("assistant", None, tool_calls=[ToolCall("c", "f", arguments)])
    (form, *_) = plainer([message])
    assert json.loads(form[0].tool_calls[0].arguments) == expected


def test_results_go_to_the_calls_of_their_own_turn() -> None:
    """Some clients begin to count again with every turn."""
    turn = [
        ChatMessage("assistant", None, tool_calls=[ToolCall("0", "f", "{}"), ToolCall("1", "g", "{}")]),
        ChatMessage("tool", "of g", tool_call_id="1"),
        ChatMessage("tool", "of f", tool_call_id="0"),
    ]
    results = [
        message.content for message in nth_form([*turn, *turn], ONE_CALL_AT_A_TIME) if message.role == "tool"
    ]
    assert results == ["of f", "of g"] * 2


def test_a_conversation_of_very_many_messages_takes_no_long_time() -> None:
    """Whoever sends one must not hold up all others: joined one by one, these would take minutes."""
    began = time.process_time()
    for role in ("system", "user"):
        many = [ChatMessage(role, "x" * 1000)] * 20_000
        assert len(last_form(merge_leading_system(many))) == 1
    calls = [ToolCall(str(number), "f", "{}") for number in range(20_000)]
    results = [ChatMessage("tool", "", tool_call_id=call.id) for call in calls]
    turn = [ChatMessage("assistant", None, tool_calls=calls), *results]
    assert len(nth_form(turn, ONE_CALL_AT_A_TIME)) == 40_000
    assert time.process_time() - began < 10


def test_a_result_of_no_call_is_kept() -> None:
    calls = [ToolCall("0", "f", "{}"), ToolCall("1", "g", "{}")]
    stray = ChatMessage("tool", "of nobody", tool_call_id="2")
    form = nth_form([ChatMessage("assistant", None, tool_calls=calls), stray], ONE_CALL_AT_A_TIME)
    assert [message.content for message in form] == ["", "", "of nobody"]


def test_only_system_messages_that_come_first_are_always_joined() -> None:
    roles = ["system", "system", "user", "system", "system"]
    messages = merge_leading_system([ChatMessage(role, role) for role in roles])
    assert [message.role for message in messages] == ["system", "user", "system", "system"]
    assert merge_leading_system([]) == []


def test_a_system_message_alone_becomes_the_users() -> None:
    assert last_form([ChatMessage("system", "hi")])[0].role == "user"
