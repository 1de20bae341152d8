"""Chat templates: messages in, prompt text out, as Hugging Face's `apply_chat_template` would write it.

If a template refuses a conversation or does not show all of it, it gets it in a plainer form.
"""

import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

from jinja2 import Template, meta

from host.engines.base import RequestRefused
from host.templates.environment import Given, RaisedByTemplate, environment
from host.templates.manner import Manner, find_manner
from host.templates.plainer import merge_leading_system, name_results, plainer
from host.templates.shape import conversation_of, shape_of
from host.templates.shown import count_missing, count_said
from host.templates.spelled_out import tools_as_text
from ipc.errors import ErrorCode
from ipc.messages import ChatMessage, ChatPrompt, TextPart, ToolCall

_REASONING_KEYS = ("reasoning_content", "reasoning")  # templates differ in what they call it
# Where a text is to go on. The blank shows whether the template trims what it is given.
_END_OF_TEXT = "\ue000end of text\ue000 "
_MANY = 1000  # messages, with which each form takes so long that few are tried
_REMEMBERED = 256  # shapes of conversations


class _Setting(NamedTuple):
    """What a prompt says beside its messages."""

    tools: str
    arguments: str
    generation: bool
    goes_on: bool


class ChatTemplate:
    """A compiled template with the model's special tokens."""

    def __init__(self, source: str, special_tokens: Mapping[str, str]) -> None:
        """Raises jinja2.TemplateError if the source is not valid."""
        self.source = source
        jinja = environment()
        self._template: Template = jinja.from_string(source)
        self._special_tokens = dict(special_tokens)
        self._wanted = meta.find_undeclared_variables(jinja.parse(source))
        self._known: dict[object, float] = {}  # shape and setting → share that is lost
        self._manner = find_manner(self._render_small)

    def render(self, prompt: ChatPrompt) -> str:
        """The prompt up to where the assistant speaks. Raises RequestRefused naming `messages`."""
        setting = _setting(prompt)
        text, lost = self._render_best(merge_leading_system(prompt.messages), setting)
        if lost and setting.tools:
            explained = merge_leading_system(tools_as_text(prompt.messages, setting.tools))
            try:
                other, still_lost = self._render_best(explained, setting._replace(tools=""))
            except RequestRefused:
                still_lost = lost
            text = other if still_lost < lost else text
        return _cut(text) if setting.goes_on else text

    def render_unchanged(self, prompt: ChatPrompt) -> str:
        """The same, without a plainer form if the template refuses the messages or leaves some out."""
        setting = _setting(prompt)
        try:
            text = self._render(prompt.messages, setting)
        except Exception as error:  # a template is a program: it may raise anything
            raise _refusal(error) from error
        return _cut(text) if setting.goes_on else text

    def _render_best(self, messages: list[ChatMessage], setting: _Setting) -> tuple[str, float]:
        """The text of the first form that loses nothing, else of the one that loses least, and how much."""
        lossy: list[tuple[float, int, list[ChatMessage]]] = []
        error: Exception | None = None
        for number, form in enumerate(_forms(messages)):
            lost = self._lost(form, setting)
            if not lost:
                try:
                    text = self._render(form, setting)
                except Exception as raised:
                    error = error or raised
                    continue
                lost = count_missing(messages, text) / max(1, count_said(messages))
                if not lost:
                    return text, 0
            lossy.append((lost, number, form))
        for lost, _, form in sorted(lossy, key=lambda tried: tried[:2]):
            try:
                return self._render(form, setting), lost
            except Exception as raised:
                error = error or raised
        raise _refusal(error) from error

    def _lost(self, messages: Sequence[ChatMessage], setting: _Setting) -> float:
        """The share of a conversation of this shape that the template does not show; 0 if it raises."""
        shape = shape_of(messages)
        key = (shape, hash(setting))
        known = self._known.get(key)
        if known is None:
            known = self._find_lost(conversation_of(shape), setting)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = known
        return known

    def _find_lost(self, messages: list[ChatMessage], setting: _Setting) -> float:
        try:
            text = self._render(messages, setting._replace(goes_on=False))
        except Exception:
            return 0
        names = [tool["function"]["name"] for tool in _list(setting.tools)]
        missing = count_missing(messages, text) + sum(name not in text for name in names)
        return missing / max(1, count_said(messages) + len(names))

    def _render(self, messages: Sequence[ChatMessage], setting: _Setting) -> str:
        entries = [_as_dict(message, self._manner) for message in name_results(messages)]
        if setting.goes_on:
            _append(entries[-1], _END_OF_TEXT)
        arguments = json.loads(setting.arguments) if setting.arguments else {}
        return self._render_entries(
            entries, self._manner, _list(setting.tools), arguments, setting.generation
        )

    def _render_small(self, manner: Manner, messages: list[ChatMessage], tools: list[dict[str, Any]]) -> str:
        return self._render_entries(
            [_as_dict(message, manner) for message in messages], manner, tools, {}, True
        )

    def _render_entries(
        self,
        entries: list[dict[str, Any]],
        manner: Manner,
        tools: list[dict[str, Any]],
        arguments: dict[str, Any],
        generation: bool,
    ) -> str:
        given = manner.tools(tools)
        variables = {
            "documents": None,
            **self._extra(tools),
            **arguments,
            "tools": given,
            "add_generation_prompt": generation,
            **self._special_tokens,
            "messages": Given(entries),
        }
        return self._template.render(variables)

    def _extra(self, tools: list[dict[str, Any]]) -> dict[str, Any]:
        """What Firefunction takes beside `tools`, or instead."""
        extra: dict[str, Any] = {}
        if "functions" in self._wanted:
            extra["functions"] = json.dumps(tools, indent=4, ensure_ascii=False)
        if "datetime" in self._wanted:
            extra["datetime"] = datetime.now().strftime("%Y-%m-%d")
        return extra


def _forms(messages: list[ChatMessage]) -> Iterable[list[ChatMessage]]:
    """To be tried in this order: of a very long conversation only the given form and the plainest."""
    forms: Iterable[list[ChatMessage]] = plainer(messages)
    if len(messages) > _MANY:
        forms = deque(forms, maxlen=1)
    return chain([messages], forms)


def _setting(prompt: ChatPrompt) -> _Setting:
    return _Setting(
        prompt.tools if prompt.tools != "[]" else "",
        prompt.template_arguments,
        prompt.add_generation_prompt and not prompt.continue_final_message,
        prompt.continue_final_message,
    )


def _list(tools: str) -> list[dict[str, Any]]:
    return json.loads(tools) if tools else []


def _refusal(error: Exception | None) -> RequestRefused:
    if isinstance(error, RaisedByTemplate):
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


def _as_dict(message: ChatMessage, manner: Manner) -> dict[str, Any]:
    """What Hugging Face's templates know of a message. Nothing is there that was not given."""
    entry: dict[str, Any] = {"role": message.role, "content": _content(message)}
    if message.name is not None:
        entry["name"] = message.name
    if message.tool_call_id is not None:
        entry["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        entry["content"] = entry["content"] or manner.content_of_calls
        entry["tool_calls"] = [_call(call, manner) for call in message.tool_calls]
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


def _call(call: ToolCall, manner: Manner) -> dict[str, Any]:
    """Templates write the arguments with `tojson` or one by one, and want them as an object for both."""
    text = call.arguments if call.arguments.strip() else "{}"
    try:
        arguments = json.loads(text)
    except (ValueError, RecursionError):
        arguments = None
    function = {
        "name": call.name,
        "arguments": arguments if isinstance(arguments, dict) and not manner.arguments_as_text else text,
    }
    return {"id": call.id, "type": "function", "function": function}
