"""Ollama's messages as those of a turn. Pure."""

from collections.abc import Sequence

from frontend.api.ollama.requests import CallBody, MessageBody
from frontend.api.prompting import encoded
from frontend.errors import BadRequest
from frontend.media.data_url import as_data_url
from frontend.media.given import GivenImages
from ipc.messages import ChatMessage, ContentPart, TextPart, ToolCall

_SUBJECT = "the string"


def chat_messages(messages: Sequence[MessageBody], given: GivenImages) -> list[ChatMessage]:
    """With parts for images, which are added to `given`, and with ids for calls, which Ollama's may lack.

    Raises BadRequest naming the field.
    """
    calls = _Calls()
    return [_message(message, f"messages[{index}]", given, calls) for index, message in enumerate(messages)]


def content_of(
    text: str, images: Sequence[str] | None, where: str, given: GivenImages
) -> str | list[ContentPart]:
    """Images precede the text, as Ollama places them. `where` is the field of the images."""
    if not images:
        return text
    parts: list[ContentPart] = []
    for index, image in enumerate(images):
        place = f"{where}[{index}]"
        parts.append(given.part(as_data_url(image), None, place, place, _SUBJECT))
    return [*parts, TextPart(text)] if text else parts


def image_characters(images: Sequence[str] | None) -> int:
    return sum(map(len, images or ()))


def _message(message: MessageBody, where: str, given: GivenImages, calls: "_Calls") -> ChatMessage:
    if message.images and message.role == "assistant":
        raise BadRequest(f"{where}.images: an assistant's message cannot have images", f"{where}.images")
    if message.tool_calls and message.role != "assistant":
        raise BadRequest(f"{where}.tool_calls: only an assistant calls tools", f"{where}.tool_calls")
    content = content_of(message.content or "", message.images, f"{where}.images", given)
    return ChatMessage(
        message.role,
        None if message.tool_calls and not content else content,
        message.tool_name,
        [calls.made(call) for call in message.tool_calls or ()],
        calls.answered(message) if message.role == "tool" else None,
        message.thinking,
    )


class _Calls:
    """The ids of a conversation's calls: those it states, and numbers for others.

    A result that names no id answers the first open call of its tool, or else the first open one.
    """

    def __init__(self) -> None:
        self._count = 0
        self._open: list[ToolCall] = []

    def made(self, body: CallBody) -> ToolCall:
        call = ToolCall(body.id or self._next_id(), body.function.name, encoded(body.function.arguments))
        self._open.append(call)
        return call

    def answered(self, message: MessageBody) -> str:
        named, tool = message.tool_call_id, message.tool_name
        found = [call for call in self._open if call.id == named or (named is None and call.name == tool)]
        if not found and named is None:
            found = self._open
        if not found:
            return named or self._next_id()
        call = found[0]
        self._open.remove(call)
        return call.id

    def _next_id(self) -> str:
        self._count += 1
        return f"call_{self._count:09d}"
