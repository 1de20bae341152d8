"""Chat templates: the helpers they expect, and how their refusals reach the client."""

import re

import pytest
from jinja2 import TemplateError

from host.engines.base import RequestRefused
from host.prompt import ChatTemplate
from ipc.errors import ErrorCode
from ipc.messages import ChatMessage

MESSAGES = [ChatMessage("system", "be brief"), ChatMessage("user", "<hi> 'ü'", name="Ann")]


def render(source: str, messages: list[ChatMessage] | None = None) -> str:
    template = ChatTemplate(source, {"bos_token": "<s>", "eos_token": "</s>"})
    return template.render(MESSAGES if messages is None else messages)


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


def refusal(source: str, messages: list[ChatMessage] | None = None) -> RequestRefused:
    with pytest.raises(RequestRefused) as caught:
        render(source, messages)
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
