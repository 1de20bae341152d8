"""The shape of a conversation: who says what kind of thing in what order, without the words. Pure.

Whether a chat template shows everything depends on the shape, with few exceptions. So it can be found out
with a conversation of the same shape whose words occur nowhere else, and remembered.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ipc.messages import ChatMessage, ContentPart, TextPart, ToolCall

_LONGEST_CYCLE = 6  # messages that an agent repeats
_REPEATS = 2  # of a cycle, that are kept

Shape = tuple["Kind", ...]


class Kind(NamedTuple):
    """Of a message."""

    role: str
    content: int | None  # parts of a list, or -1 for a text, 0 for an empty one, None for none
    calls: int
    # Which of the latest calls; -1 for none of them; None for a message that is no result.
    answers: int | None
    reasons: bool
    named: bool


def shape_of(messages: Sequence[ChatMessage]) -> Shape:
    """The shape, where cycles occur twice however often they are repeated."""
    return tuple(_shortened(_kinds(messages)))


def _kinds(messages: Iterable[ChatMessage]) -> Iterable[Kind]:
    calls: dict[str | None, int] = {}
    for message in messages:
        if message.tool_calls:
            calls = {call.id: at for at, call in enumerate(message.tool_calls)}
        content = message.content
        yield Kind(
            message.role,
            len(content) if isinstance(content, list) else (-1 if content else 0 if content == "" else None),
            len(message.tool_calls),
            calls.get(message.tool_call_id, -1) if message.role == "tool" else None,
            message.reasoning is not None,
            message.name is not None,
        )


def _shortened(kinds: Iterable[Kind]) -> list[Kind]:
    kept: list[Kind] = []
    for kind in kinds:
        kept.append(kind)
        for length in range(1, min(_LONGEST_CYCLE, len(kept) // (_REPEATS + 1)) + 1):
            if kept[-1 - length] == kind and _is_cycle(kept, length):
                del kept[-length:]
                break
    return kept


def _is_cycle(kinds: list[Kind], length: int) -> bool:
    last = kinds[-length:]
    return last == kinds[-2 * length : -length] == kinds[-3 * length : -2 * length]


def conversation_of(shape: Shape) -> list[ChatMessage]:
    """One of this shape, in which every text and every argument is a word of its own."""
    said = _Words()
    calls: list[ToolCall] = []
    messages = []
    for kind in shape:
        made = [
            ToolCall(f"{said.word()}call"[-9:], said.word(), f'{{"{said.word()}": "{said.word()}"}}')
            for _ in range(kind.calls)
        ]
        calls = made or calls
        answered = (
            calls[kind.answers] if kind.answers is not None and 0 <= kind.answers < len(calls) else None
        )
        messages.append(
            ChatMessage(
                kind.role,
                _content(kind.content, said),
                name=said.word() if kind.named else None,
                tool_calls=made,
                tool_call_id=None if kind.role != "tool" else answered.id if answered else "stray0000",
                reasoning=said.word() if kind.reasons else None,
            )
        )
    return messages


class _Words:
    def __init__(self) -> None:
        self._count = 0

    def word(self) -> str:
        self._count += 1
        return f"Zw{self._count:04}z"


def _content(kind: int | None, said: _Words) -> str | list[ContentPart] | None:
    if kind is None or kind == 0:
        return None if kind is None else ""
    return said.word() if kind < 0 else [TextPart(said.word()) for _ in range(kind)]
