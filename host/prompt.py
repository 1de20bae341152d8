"""Chat templates: messages in, prompt text out, as Hugging Face's `apply_chat_template` would write it."""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from host.engines.base import RequestRefused
from host.plain_messages import merge_leading_system, plainer
from ipc.errors import ErrorCode
from ipc.messages import ChatMessage, ChatPrompt, TextPart, ToolCall

_REASONING_KEYS = ("reasoning_content", "reasoning")  # templates differ in what they call it
# Where a text is to go on. The blank shows whether the template trims what it is given.
_END_OF_TEXT = "\ue000end of text\ue000 "


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
        self.source = source
        self._template: Template = _environment().from_string(source)
        self._special_tokens = dict(special_tokens)

    def render(self, prompt: ChatPrompt) -> str:
        """The prompt up to where the assistant speaks. Raises RequestRefused naming `messages`."""
        variables = {
            "documents": None,
            **(json.loads(prompt.template_arguments) if prompt.template_arguments else {}),
            "tools": (json.loads(prompt.tools) if prompt.tools else None) or None,
            "add_generation_prompt": prompt.add_generation_prompt and not prompt.continue_final_message,
            **self._special_tokens,
        }
        messages = merge_leading_system(prompt.messages)
        goes_on = prompt.continue_final_message
        try:
            text = self._render(messages, variables, goes_on)
        except Exception as error:  # a template is a program: it may raise anything
            rendered = self._render_plainer(messages, variables, goes_on)
            if rendered is None:
                raise _refusal(error) from error
            text = rendered
        return _cut(text) if goes_on else text

    def _render(self, messages: Sequence[ChatMessage], variables: dict[str, Any], goes_on: bool) -> str:
        entries = [_as_dict(message) for message in messages]
        if goes_on:
            _append(entries[-1], _END_OF_TEXT)
        return self._template.render({**variables, "messages": entries})

    def _render_plainer(
        self, messages: Sequence[ChatMessage], variables: dict[str, Any], goes_on: bool
    ) -> str | None:
        """None if the template takes none of the plainer forms either."""
        for form in plainer(messages):
            with contextlib.suppress(Exception):
                return self._render(form, variables, goes_on)
        return None


def _refusal(error: Exception) -> RequestRefused:
    if isinstance(error, _RaisedByTemplate):
        return _rejected(f"the model's chat template says: {error}")
    return _rejected("the model's chat template cannot render these messages")


def _rejected(message: str) -> RequestRefused:
    return RequestRefused(ErrorCode.CHAT_TEMPLATE_FAILED, message, "messages")


def _cut(text: str) -> str:
    """The rendered text up to the end of the last message's content."""
    at = text.rfind(_END_OF_TEXT.rstrip())
    if at < 0:
        raise _rejected("the model's chat template does not show the last message, so it cannot go on in it")
    return text[:at] if text.startswith(_END_OF_TEXT, at) else text[:at].rstrip()


def _as_dict(message: ChatMessage) -> dict[str, Any]:
    """What Hugging Face's templates know of a message. Nothing is there that was not given."""
    entry: dict[str, Any] = {"role": message.role, "content": _content(message)}
    if message.name is not None:
        entry["name"] = message.name
    if message.tool_call_id is not None:
        entry["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        entry["tool_calls"] = [_call(call) for call in message.tool_calls]
    if message.reasoning is not None:
        for key in _REASONING_KEYS:
            entry[key] = message.reasoning
        if not message.content:  # gpt-oss takes one of the two
            entry["thinking"] = message.reasoning
    return entry


def _content(message: ChatMessage) -> str | list[dict[str, str]] | None:
    """Parts are given as parts: that is left to the caller, who knows what the template takes."""
    if not isinstance(message.content, list):
        return message.content
    return [{"type": "text", "text": part.text} for part in message.content if isinstance(part, TextPart)]


def _append(entry: dict[str, Any], text: str) -> None:
    """Append to a message's content."""
    content = entry["content"]
    if isinstance(content, list) and content:
        content[-1]["text"] += text
    else:
        entry["content"] = (content or "") + text


def _call(call: ToolCall) -> dict[str, Any]:
    """Templates write the arguments with `tojson` or one by one, and want them as an object for both."""
    try:
        arguments = json.loads(call.arguments)
    except (ValueError, RecursionError):
        arguments = None
    function = {
        "name": call.name,
        "arguments": arguments if isinstance(arguments, dict) else call.arguments,
    }
    return {"id": call.id, "type": "function", "function": function}


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols", _GenerationBlock],
        finalize=_shown,
    )
    environment.filters["tojson"] = _to_json
    helpers: dict[str, Callable[..., object]] = {
        "raise_exception": _raise_exception,
        "strftime_now": _strftime_now,
    }
    environment.globals.update(helpers)
    return environment


def _shown(value: object) -> object:
    """A content of None renders as nothing, not as the word None."""
    return "" if value is None else value


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
