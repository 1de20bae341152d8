"""Calls and their results as text, for chat templates that do not show them. Pure."""

import json
import re
from collections.abc import Sequence

import msgspec

from ipc.messages import ChatMessage, TextPart, ToolCall

# Qwen3.5 counts a message that is a tool response alone as no message of the user, and wants one.
_RESULT = re.compile(r"\s*<tool_response>.*</tool_response>\s*", re.DOTALL)
_RETURNED = "A function returned:\n"


def calls_as_text(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Every call at the end of its message's text."""
    return [
        with_text(
            msgspec.structs.replace(message, tool_calls=[]),
            "\n".join([*filter(None, [message.text]), *map(_call_text, message.tool_calls)]),
        )
        if message.tool_calls
        else message
        for message in messages
    ]


def results_as_text(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Every result as a message of the user."""
    return [_as_user(message) if message.role == "tool" else message for message in messages]


def spell_out_stray_results(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Results that follow no call as messages of the user."""
    spelled_out, calls_are_open = [], False
    for message in messages:
        if message.role != "tool":
            calls_are_open = bool(message.tool_calls)
        spelled_out.append(_as_user(message) if message.role == "tool" and not calls_are_open else message)
    return spelled_out


def with_question(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Where all that users say are results of functions, the first as what a user says of one."""
    users = [message for message in messages if message.role == "user"]
    if not users or not all(_RESULT.fullmatch(message.text) for message in users):
        return list(messages)
    first = users[0]
    content = first.content
    said = [TextPart(_RETURNED), *content] if isinstance(content, list) else f"{_RETURNED}{content}"
    asked = msgspec.structs.replace(first, content=said)
    return [asked if message is first else message for message in messages]


def tools_as_text(messages: Sequence[ChatMessage], tools: str) -> list[ChatMessage]:
    """The definitions of the tools behind the first system message's text."""
    text = f"You can call these functions:\n{tools}"
    if messages and messages[0].role == "system":
        first, *others = messages
        return [with_text(first, f"{first.text}\n\n{text}"), *others]
    return [*[with_text(ChatMessage("system", first.content), text) for first in messages[:1]], *messages]


def with_text(message: ChatMessage, text: str) -> ChatMessage:
    """The message with this text, as a list of parts where it had one: some templates take nothing else."""
    content = [TextPart(text)] if isinstance(message.content, list) else text
    return msgspec.structs.replace(message, content=content)


def _call_text(call: ToolCall) -> str:
    name = json.dumps(call.name, ensure_ascii=False)
    return f'<tool_call>\n{{"name": {name}, "arguments": {call.arguments.strip() or "{}"}}}\n</tool_call>'


def _as_user(result: ChatMessage) -> ChatMessage:
    text = f"{_RETURNED}<tool_response>\n{result.text}\n</tool_response>"
    return with_text(ChatMessage("user", result.content), text)
