"""The messages of a request as those of a turn. Pure."""

from collections.abc import Sequence

import msgspec

from frontend.api.anthropic.blocks import (
    Placed,
    content_of,
    foreign_result_of,
    placed,
    result_of,
    system_text,
    text_of,
)
from frontend.api.anthropic.thinking import thought_of
from frontend.api.prompting import encoded
from frontend.api.schema.common import required
from frontend.api.schema.messages import BlockBody, CountTokensRequest, MessageBody
from frontend.media.given import GivenImages
from ipc.messages import ChatMessage, ContentPart, ToolCall

_CALLS = ("tool_use", "server_tool_use", "mcp_tool_use")
_RESULT = "tool_result"
_UNTIL_NEXT_USER = "next_user_message"


def chat_messages(body: CountTokensRequest, given: GivenImages) -> list[ChatMessage]:
    """With parts for images, which are added to `given`. Consecutive messages of one role become one, except
    that what the assistant says after a call begins another.

    Raises BadRequest naming the field.
    """
    conversation = _Conversation(given)
    if body.system:
        conversation.system(system_text(body.system, "system"))
    role, contents = "", list[list[Placed]]()  # of consecutive messages of one role
    for index, message in enumerate(_shown(body.messages)):
        if message is None:
            continue
        where = f"messages[{index}].content"
        if message.role != role:
            conversation.add(role, contents)
            role, contents = message.role, []
        if role == "system":
            conversation.system(system_text(message.content, where))
        else:
            contents.append(placed(message.content, where))
    conversation.add(role, contents)
    return conversation.messages


def continues(messages: Sequence[ChatMessage]) -> bool:
    """Whether the answer is to continue the last message, which the client has begun for the assistant."""
    last = messages[-1] if messages else None
    return last is not None and last.role == "assistant" and bool(last.content) and not last.tool_calls


def _shown(messages: Sequence[MessageBody]) -> list[MessageBody | None]:
    """None for system messages that were only for a user's message that is over."""
    last_user = max((index for index, message in enumerate(messages) if message.role == "user"), default=-1)
    return [
        None
        if message.role == "system" and message.clear_at == _UNTIL_NEXT_USER and index < last_user
        else message
        for index, message in enumerate(messages)
    ]


class _AssistantPart(msgspec.Struct):
    """What the assistant thought, said and called, in this order: one message of a conversation."""

    texts: list[str] = []  # by message that the client sent
    thoughts: list[str] = []
    calls: list[ToolCall] = []

    def message(self) -> ChatMessage | None:
        content = "\n".join(filter(None, self.texts)) or (None if self.calls else "")
        reasoning = "\n".join(filter(None, self.thoughts)) or None
        if not (content or self.calls or reasoning):
            return None
        return ChatMessage("assistant", content, tool_calls=self.calls, reasoning=reasoning)


def _spoken(block: BlockBody, where: str) -> tuple[str, str]:
    """The thought and the text of a block. Raises BadRequest for another block."""
    if block.type == "thinking":
        return thought_of(block.thinking or "", block.signature or ""), ""
    return "", text_of([(where, block)])


class _Conversation:
    def __init__(self, given: GivenImages) -> None:
        self.messages: list[ChatMessage] = []
        self._given = given
        self._names: dict[str, str] = {}  # of the tools that were called, by the ids of the calls

    def system(self, text: str) -> None:
        if text:
            self.messages.append(ChatMessage("system", text))

    def add(self, role: str, contents: Sequence[Sequence[Placed]]) -> None:
        if role == "user":
            self._user([block for content in contents for block in content])
        elif role == "assistant":
            self._assistant(contents)

    def _user(self, blocks: Sequence[Placed]) -> None:
        """Results first, as chat templates expect them right after their calls."""
        results = [(where, block) for where, block in blocks if block.type == _RESULT]
        for where, block in results:
            self._result(block, where, result_of(block, where, self._given))
        others = [(where, block) for where, block in blocks if block.type != _RESULT]
        if others or not results:
            self.messages.append(ChatMessage("user", content_of(others, self._given)))

    def _assistant(self, contents: Sequence[Sequence[Placed]]) -> None:
        part = _AssistantPart()
        for content in contents:
            part.texts.append("")
            for where, block in content:
                if block.type in _CALLS:
                    part.calls.append(self._call(block, where))
                elif block.type.endswith(f"_{_RESULT}"):  # of a tool that Anthropic's servers ran
                    part = self._next(part)
                    self._result(block, where, foreign_result_of(block))
                elif block.type != "redacted_thinking":  # which nobody else can read
                    thought, text = _spoken(block, where)
                    if part.calls and (thought or text):
                        part = self._next(part)
                    part.thoughts.append(thought)
                    part.texts[-1] += text
        self._next(part)

    def _next(self, part: "_AssistantPart") -> "_AssistantPart":
        if (message := part.message()) is not None:
            self.messages.append(message)
        return _AssistantPart([""])

    def _call(self, block: BlockBody, where: str) -> ToolCall:
        call_id, name = required(block.id, f"{where}.id"), required(block.name, f"{where}.name")
        self._names[call_id] = name
        given = block.input or {}
        return ToolCall(call_id, name, given if isinstance(given, str) else encoded(given))

    def _result(self, block: BlockBody, where: str, content: str | list[ContentPart]) -> None:
        call_id = required(block.tool_use_id, f"{where}.tool_use_id")
        name = self._names.get(call_id)
        self.messages.append(ChatMessage("tool", content, name, tool_call_id=call_id))
