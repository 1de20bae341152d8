"""Tools for models whose chat template does not support them: described in the prompt, as text."""

import json
from collections.abc import Sequence
from functools import partial

import msgspec

from frontend.api.schema.tools import FunctionTool
from ipc.messages import ChatMessage, ContentPart, TextPart

_EXPLANATION = """You can call functions. These are their names, what they do, and the JSON schemas of their \
arguments:
{tools}
To call one, write nothing but this:
{example}"""

encoded = partial(json.dumps, ensure_ascii=False)  # with a space after each comma, as models know it


def explain_tools(
    messages: Sequence[ChatMessage], tools: Sequence[FunctionTool], example: str
) -> list[ChatMessage]:
    """Describe the tools in the system message, which becomes the first message.

    `example` is a call of NAME with OBJECT, as the model is to write it.
    """
    if not tools:
        return list(messages)
    lines = "\n".join(
        encoded({"name": tool.name, "description": tool.description, "parameters": tool.parameters})
        for tool in tools
    )
    text = _EXPLANATION.format(tools=lines, example=example)
    if messages and messages[0].role == "system":
        first, *others = messages
        return [msgspec.structs.replace(first, content=_with_text(first.content, text)), *others]
    return [ChatMessage("system", text), *messages]


def spell_out_calls(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Replace earlier calls by the text that makes such calls, and their results by user messages."""
    return [_spelled_out(message) for message in messages]


def _spelled_out(message: ChatMessage) -> ChatMessage:
    if message.role == "tool":
        return ChatMessage("user", _tagged(message.content))
    if not message.tool_calls:
        return message
    calls = [
        f'<tool_call>\n{{"name": {encoded(call.name)}, "arguments": {call.arguments or "{}"}}}\n</tool_call>'
        for call in message.tool_calls
    ]
    return ChatMessage(message.role, "\n".join([*filter(None, [message.text]), *calls]))


def _with_text(content: str | list[ContentPart] | None, text: str) -> str | list[ContentPart]:
    if isinstance(content, list):
        return [*content, TextPart(text)]
    return f"{content}\n\n{text}"


def _tagged(result: str | list[ContentPart] | None) -> str | list[ContentPart]:
    """The result of a call, between tags."""
    if isinstance(result, list):
        return [TextPart("<tool_response>"), *result, TextPart("</tool_response>")]
    return f"<tool_response>\n{result}\n</tool_response>"
