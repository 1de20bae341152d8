"""Chat templates: messages in, prompt text out, with the helpers that Hugging Face templates expect."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from host.engines.base import RequestRefused
from ipc.errors import ErrorCode
from ipc.messages import ChatMessage


class _RaisedByTemplate(TemplateError):
    """The template called raise_exception: its author's words for the client."""


class _GenerationBlock(Extension):
    """{% generation %} marks the assistant's part for training; here its body is simply shown."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class ChatTemplate:
    """A compiled template with the model's special tokens."""

    def __init__(self, source: str, special_tokens: Mapping[str, str]) -> None:
        """Raises jinja2.TemplateError if the source is not valid."""
        self._template: Template = _environment().from_string(source)
        self._special_tokens = dict(special_tokens)

    def render(self, messages: Sequence[ChatMessage]) -> str:
        """The prompt up to where the assistant speaks. Raises RequestRefused naming `messages`."""
        try:
            return self._template.render(
                messages=[_as_dict(message) for message in messages],
                add_generation_prompt=True,
                tools=None,
                documents=None,
                **self._special_tokens,
            )
        except _RaisedByTemplate as error:
            raise _rejected(f"the model's chat template says: {error}") from error
        except Exception as error:  # a template is a program: it may raise anything
            raise _rejected("the model's chat template cannot render these messages") from error


def _rejected(message: str) -> RequestRefused:
    return RequestRefused(ErrorCode.CHAT_TEMPLATE_FAILED, message, "messages")


def _as_dict(message: ChatMessage) -> dict[str, str]:
    entry = {"role": message.role, "content": message.content}
    if message.name is not None:
        entry["name"] = message.name
    return entry


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _GenerationBlock]
    )
    environment.filters["tojson"] = _to_json
    helpers: dict[str, Callable[..., object]] = {
        "raise_exception": _raise_exception,
        "strftime_now": _strftime_now,
    }
    environment.globals.update(helpers)
    return environment


def _raise_exception(message: str) -> None:
    raise _RaisedByTemplate(message)


def _strftime_now(layout: str) -> str:
    return datetime.now().strftime(layout)  # local time, as the templates' authors expect


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own filter escapes HTML, which would reach the model."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
