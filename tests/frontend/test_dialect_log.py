"""What the log says of a model's dialect."""

import logging
from dataclasses import dataclass

import msgspec
import pytest

from frontend.config import ModelSettings
from frontend.dialect_log import DialectLog
from frontend.supervision.lifecycle import Lifecycle, State
from ipc.messages import ModelCard, TextCard

CARD = TextCard("CPU", 64, 4096, 1.0, "f", {}, 1000, 1000, "")


@dataclass
class Replica:
    card: ModelCard | None
    life: Lifecycle
    model: str = "m"


def said(caplog, template, times=1, state=State.READY, **settings):
    caplog.set_level(logging.INFO, "nacelle")
    log = DialectLog(lambda name: ModelSettings(name=name, source="s", **settings))
    life = msgspec.structs.replace(Lifecycle(), state=state)
    for _ in range(times):
        log.replica_changed(Replica(msgspec.structs.replace(CARD, chat_template=template), life))
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_the_dialect_is_logged_once(caplog):
    template = "{{ tools }}<tool_call>…</tool_call><think>…</think>"
    assert said(caplog, template, times=3) == [("INFO", "m: tool calls as hermes, reasoning as think")]


def test_a_named_format_is_logged(caplog):
    assert said(caplog, "{{ tools }}", tool_format="granite") == [
        ("INFO", "m: tool calls as granite, no reasoning")
    ]


def test_tools_in_an_unread_form_are_warned_of(caplog):
    (_, info), (level, warning) = said(caplog, "{% for tool in tools %}[[call {{ tool }}]]{% endfor %}")
    assert info == "m: no tool calls in its chat template, no reasoning"
    assert level == "WARNING"
    assert "tool_format" in warning


@pytest.mark.parametrize(("template", "state"), [("", State.READY), ("{{ tools }}", State.LOADING)])
def test_nothing_is_logged_before_there_is_a_template(caplog, template, state):
    assert said(caplog, template, state=state) == []


def test_a_template_without_tools_is_no_reason_to_warn(caplog):
    assert [level for level, _ in said(caplog, "{{ messages }}")] == ["INFO"]
