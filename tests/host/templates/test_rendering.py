"""Chat templates: the helpers they expect, and how their refusals reach the client."""

import json
import random
import re
import time
from typing import Any

import pytest
from jinja2 import TemplateError

from host.engines.base import RequestRefused
from host.templates.rendering import ChatTemplate
from ipc.errors import ErrorCode
from ipc.messages import ChatMessage, ChatPrompt, ToolCall

MESSAGES = [ChatMessage("system", "be brief"), ChatMessage("user", "<hi> 'ü'", name="Ann")]


def render(source: str, messages: list[ChatMessage] | None = None, **more: Any) -> str:
    template = ChatTemplate(source, {"bos_token": "<s>", "eos_token": "</s>"})
    return template.render(ChatPrompt(MESSAGES if messages is None else messages, **more))


def test_messages_and_special_tokens_are_rendered() -> None:
    source = (
        "{{ bos_token }}{% for m in messages %}{{ m.role }}:{{ m['content'] }}{{ eos_token }}{% endfor %}"
    )
    assert render(source) == "<s>system:be brief</s>user:<hi> 'ü'</s>"


def test_a_name_is_there_only_if_given() -> None:
    source = "{% for m in messages %}{{ 'name' in m }},{{ m.name }};{% endfor %}"
    assert render(source) == "False,;True,Ann;"


def test_the_generation_prompt_is_asked_for() -> None:
    assert render("{% if add_generation_prompt %}assistant:{% endif %}") == "assistant:"


def test_blocks_leave_no_blank_lines() -> None:
    assert render("{% if true %}\n  {% set x = 1 %}\nyes\n{% endif %}\n") == "yes\n"


def test_loop_controls_work() -> None:
    assert (
        render("{% for m in messages %}{% if loop.last %}{% break %}{% endif %}{{ m.role }}{% endfor %}")
        == "system"
    )


def test_tojson_escapes_no_html_and_indents() -> None:
    assert render("{{ messages[1].content | tojson }}") == "\"<hi> 'ü'\""
    assert render("{{ {'a': 1} | tojson(indent=2) }}") == '{\n  "a": 1\n}'


def test_the_date_is_at_hand() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", render("{{ strftime_now('%Y-%m-%d') }}"))


def test_generation_blocks_are_shown() -> None:
    assert render("a{% generation %}b{{ bos_token }}{% endgeneration %}c") == "ab<s>c"


def test_absent_tools_are_none() -> None:
    assert render("{% if tools is not none or documents is not none %}tools{% endif %}") == ""


CALL = ToolCall("c1", "weather", '{"city": "Paris", "days": [1, 2]}')
AGENT = [
    ChatMessage("user", "weather?"),
    ChatMessage("assistant", None, tool_calls=[CALL], reasoning="hm"),
    ChatMessage("tool", "sun", tool_call_id="c1"),
]
HERMES = (
    "{% for m in messages %}<{{ m.role }}>"
    "{% if m.reasoning_content %}[{{ m.reasoning_content }}]{% endif %}{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{{ c.function | tojson }}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


def test_tools_are_given_as_they_are() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    assert json.loads(render("{{ tools | tojson }}", tools=json.dumps(tools))) == tools
    assert render("{{ tools is none }}", tools="[]") == "True"


def test_a_call_in_the_history_is_an_object_and_a_missing_content_is_nothing() -> None:
    assert render(HERMES, AGENT) == (
        '<user>weather?<assistant>[hm]{"name": "weather", "arguments": {"city": "Paris", "days": [1, 2]}}'
        "<tool>sun<assistant>"
    )


@pytest.mark.parametrize("arguments", ["{", "[1]", "null", "[" * 100_000])
def test_arguments_that_are_no_object_stay_text(arguments: str) -> None:
    messages = [ChatMessage("assistant", None, tool_calls=[ToolCall("c", "f", arguments)])]
    source = "{% set a = messages[0].tool_calls[0].function.arguments %}{{ a is string }} {{ a }}"
    assert render(source, messages) == f"True {arguments}"


@pytest.mark.parametrize("arguments", ["", " \n", "{}"])
def test_no_arguments_are_an_empty_object(arguments: str) -> None:
    messages = [ChatMessage("assistant", None, tool_calls=[ToolCall("c", "f", arguments)])]
    source = "{{ messages[0].tool_calls[0].function | tojson }}"
    assert render(source, messages) == '{"name": "f", "arguments": {}}'


def test_calls_have_their_ids() -> None:
    source = "{% set c = messages[1].tool_calls[0] %}{{ c.id }} {{ c.type }} {{ messages[2].tool_call_id }}"
    assert render(source, AGENT) == "c1 function c1"


def test_a_template_that_adds_to_the_content_gets_an_empty_one() -> None:
    source = "{% for m in messages %}{{ m.role + ':' + m.content + ';' }}{% endfor %}"
    assert render(source, [AGENT[0], ChatMessage("assistant", None, reasoning="hm")]) == (
        "user:weather?;assistant:;"
    )
    assert render(source, AGENT).startswith("user:weather?;assistant:<tool_call>")


def test_a_result_has_the_name_of_its_function() -> None:
    source = "{% for m in messages %}{{ m.name }}:{{ m.content }};{% endfor %}{{ messages[1].tool_calls }}"
    assert render(source, AGENT).startswith(":weather?;:;weather:sun;")


def test_a_template_may_ask_whether_there_is_a_content() -> None:
    source = "{% for m in messages %}{{ m.content is none }} {% endfor %}"
    assert render(source, AGENT) == "False True False "


def test_further_variables_reach_the_template_but_replace_nothing_of_ours() -> None:
    more = json.dumps({"enable_thinking": False, "messages": [], "tools": 1, "bos_token": "x"})
    source = "{{ enable_thinking }} {{ messages | length }} {{ tools is none }} {{ bos_token }}"
    assert render(source, template_arguments=more) == "False 2 True <s>"


def test_the_generation_prompt_can_be_left_out() -> None:
    assert not render(HERMES, AGENT, add_generation_prompt=False).endswith("<assistant>")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% for m in messages %}[{{ m.role }}] {{ m.content }}</s>{% endfor %}", "[a] 1</s>[b]  so far "),
        ("{% for m in messages %}{{ m.content | trim }}</s>{% endfor %}ASSISTANT", "1</s>so far"),
        (
            "{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}x{% endif %}",
            None,
        ),
    ],
)
def test_a_text_goes_on_right_after_the_last_content(source: str, expected: str | None) -> None:
    messages = [ChatMessage("a", "1"), ChatMessage("b", " so far ")]
    assert render(source, messages, continue_final_message=True) == (expected or "1 so far ")


def test_a_last_message_that_is_not_shown_cannot_be_continued() -> None:
    source = "{{ messages | length }}"
    assert "last message" in refusal(source, continue_final_message=True).error.message


def refusal(source: str, messages: list[ChatMessage] | None = None, **more: Any) -> RequestRefused:
    with pytest.raises(RequestRefused) as caught:
        render(source, messages, **more)
    assert caught.value.error.code is ErrorCode.CHAT_TEMPLATE_FAILED
    assert caught.value.error.param == "messages"
    return caught.value


def test_a_template_may_refuse_in_its_own_words() -> None:
    error = refusal("{{ raise_exception('roles must alternate') }}").error
    assert error.message == "the model's chat template says: roles must alternate"


@pytest.mark.parametrize(
    "source",
    [
        "{{ nothing.at.all }}",
        "{{ messages[0].content + 1 }}",
        "{{ messages[9].content.x }}",
        "{{ 1 / 0 }}",
        "{{ messages.append(1) }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% for i in range(10**9) %}x{% endfor %}",
    ],
)
def test_a_template_that_fails_refuses_the_messages_and_tells_no_details(source: str) -> None:
    assert "Traceback" not in refusal(source).error.message
    assert "/" not in refusal(source).error.message


def test_an_invalid_template_is_found_when_it_is_compiled() -> None:
    with pytest.raises(TemplateError):
        ChatTemplate("{% if %}", {})


def test_what_refuses_tools_as_text_has_rendered_them_before() -> None:
    source = (
        "{% for m in messages %}{{ m.content or '' }}{% endfor %}"
        "{% if not tools %}{{ raise_exception('needs tools') }}{% endif %}"
    )
    tools = json.dumps([{"type": "function", "function": {"name": "unheard", "parameters": {}}}])
    assert render(source, tools=tools) == "be brief<hi> 'ü'"


def test_the_values_of_a_long_call_are_found_in_no_quadratic_time() -> None:
    source = (
        "{% for m in messages %}{{ m.content or '' }}{% for c in m.tool_calls %}{{ c.function.name }}"
        "{% for key, value in c.function.arguments.items() %}<{{ key }}>{{ value }}{% endfor %}"
        "{% endfor %}{% endfor %}"
    )
    call = ToolCall("1", "f", json.dumps({"a": list(range(40_000))}))
    messages = [ChatMessage("user", "?"), ChatMessage("assistant", None, tool_calls=[call])]
    began = time.process_time()
    assert "<a>[0, 1, 2" in render(source, messages)
    assert time.process_time() - began < 3  # seconds; it took 15


def test_of_a_very_long_conversation_few_forms_are_tried() -> None:
    tried = 0

    def refuse(_: object) -> str:
        nonlocal tried
        tried += 1
        raise ValueError

    template = ChatTemplate("{{ seen(messages) }}", {"seen": refuse})  # type: ignore[dict-item]
    roles = random.Random(1)
    messages = [ChatMessage(roles.choice(["user", "assistant", "system"]), "x") for _ in range(1500)]
    tried = 0
    with pytest.raises(RequestRefused):
        template.render(ChatPrompt(messages))
    assert tried <= 4
