"""The input of a response: from what a client sent to items, and from items to chat messages. Pure."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from frontend.api.responses.outputs import NewId
from frontend.api.schema.common import MOST_MESSAGES
from frontend.api.schema.response_items import (
    FunctionCallItem,
    FunctionOutputItem,
    InputText,
    Item,
    ItemBody,
    MessageItem,
    OutputText,
    PartBody,
    ReasoningItem,
    ReasoningText,
    Role,
    SummaryText,
)
from frontend.errors import BadRequest
from ipc.messages import ChatMessage, ToolCall

Value = TypeVar("Value")


def references_of(given: str | list[ItemBody]) -> list[str]:
    """The ids of stored items that stand for themselves in the input."""
    bodies = [] if isinstance(given, str) else given
    return [body.id for body in bodies if body.type == "item_reference" and body.id is not None]


def whole_input(
    given: str | list[ItemBody], history: Sequence[Item], stored: Mapping[str, Item], new_id: NewId
) -> list[Item]:
    """The history, and what a request adds to it, as `items_of` has it. Raises BadRequest."""
    items = [*history, *items_of(given, history, stored, new_id)]
    if len(items) > MOST_MESSAGES:
        raise BadRequest(
            f"input: with the previous response, the conversation has more than {MOST_MESSAGES} items; "
            "start a new one",
            "input",
        )
    return items


def items_of(
    given: str | list[ItemBody], history: Sequence[Item], stored: Mapping[str, Item], new_id: NewId
) -> list[Item]:
    """The items that a request adds to `history`, each with an id. Raises BadRequest.

    `stored` holds the items that it may refer to, by their ids.
    """
    if isinstance(given, str):
        return [MessageItem(id=new_id("msg"), role="user", content=[InputText(given)])]
    items: list[Item] = []
    known = {item.id for item in history}
    for index, body in enumerate(given):
        where = f"input[{index}]"
        refers = body.type == "item_reference"
        item = _referred(body, where, stored) if refers else _item(body, where, new_id)
        if not (refers and item.id in known):
            items.append(item)
            known.add(item.id)
    calls = {item.call_id for item in (*history, *items) if isinstance(item, FunctionCallItem)}
    for item in items:
        if isinstance(item, FunctionOutputItem) and item.call_id not in calls:
            raise BadRequest(f"input: there is no function call {item.call_id!r} for this output", "input")
    return items


def _referred(body: ItemBody, where: str, stored: Mapping[str, Item]) -> Item:
    item = stored.get(_required(body.id, f"{where}.id"))
    if item is None:
        raise BadRequest(
            f"{where}.id: there is no item {body.id!r}, or it has expired; send the item itself",
            f"{where}.id",
        )
    return item


def _item(body: ItemBody, where: str, new_id: NewId) -> Item:
    match body.type:
        case None | "message":
            return _message(body, where, new_id)
        case "function_call":
            return FunctionCallItem(
                id=body.id or new_id("fc"),
                call_id=_required(body.call_id, f"{where}.call_id"),
                name=_required(body.name, f"{where}.name"),
                arguments=_required(body.arguments, f"{where}.arguments"),
            )
        case "function_call_output":
            return FunctionOutputItem(
                id=body.id or new_id("fco"),
                call_id=_required(body.call_id, f"{where}.call_id"),
                output=_text(body.output, f"{where}.output", ("input_text",)),
            )
        case "reasoning":
            return ReasoningItem(
                id=body.id or new_id("rs"),
                summary=[
                    SummaryText(text) for text in _texts(body.summary, f"{where}.summary", ("summary_text",))
                ],
                content=[ReasoningText(_text(body.content, f"{where}.content", ("reasoning_text",)))]
                if body.content
                else [],
            )
    raise BadRequest(f"{where}.type: {body.type!r} is not supported", f"{where}.type")


def _message(body: ItemBody, where: str, new_id: NewId) -> MessageItem:
    role: Role = _required(body.role, f"{where}.role")
    types = ("output_text", "input_text", "refusal") if role == "assistant" else ("input_text",)
    text = _text(body.content, f"{where}.content", types)
    part = OutputText(text) if role == "assistant" else InputText(text)
    return MessageItem(id=body.id or new_id("msg"), role=role, content=[part])


def _text(content: str | list[PartBody] | None, where: str, types: tuple[str, ...]) -> str:
    """Text, or the text of all parts together. Raises BadRequest for other parts."""
    if isinstance(content, str):
        return content
    return "\n".join(_texts(_required(content, where), where, types))


def _texts(parts: list[PartBody] | None, where: str, types: tuple[str, ...]) -> list[str]:
    texts: list[str] = []
    for index, part in enumerate(parts or []):
        if part.type not in types:
            raise BadRequest(
                f"{where}[{index}].type: {part.type!r} is not supported here", f"{where}[{index}].type"
            )
        field = "refusal" if part.type == "refusal" else "text"
        texts.append(_required(getattr(part, field), f"{where}[{index}].{field}"))
    return texts


def _required(value: Value | None, where: str) -> Value:
    if value is None:
        raise BadRequest(f"{where} is missing", where)
    return value


class _AssistantTurn:
    """What the assistant thought, said and called in one go: one message of a conversation."""

    def __init__(self) -> None:
        self._thoughts: list[str] = []
        self._content: str | None = None
        self._calls: list[ToolCall] = []

    def accepts(self, item: Item) -> bool:
        """Whether an item can belong to this turn: first comes reasoning, then text, then calls."""
        return isinstance(item, FunctionCallItem) or (self._content is None and not self._calls)

    def add(self, item: Item) -> None:
        match item:
            case ReasoningItem():
                text = "\n".join(part.text for part in (item.content or item.summary))
                if text or self._thoughts:
                    self._thoughts.append(text)
            case MessageItem():
                self._content = _text_of(item)
            case FunctionCallItem():
                self._calls.append(ToolCall(item.call_id, item.name, item.arguments))

    def message(self) -> ChatMessage:
        return ChatMessage(
            "assistant",
            self._content,
            tool_calls=self._calls,
            reasoning="\n".join(self._thoughts) if self._thoughts else None,
        )


def messages_of(items: Sequence[Item], instructions: str | None) -> list[ChatMessage]:
    """A conversation for the chat template, for any items: they may come from a store that others write."""
    messages: list[ChatMessage | _AssistantTurn] = []
    if instructions:
        messages.append(ChatMessage("system", instructions))
    names = {item.call_id: item.name for item in items if isinstance(item, FunctionCallItem)}
    turn: _AssistantTurn | None = None  # as long as it goes on
    for item in items:
        match item:
            case FunctionOutputItem():
                turn = None
                name = names.get(item.call_id)
                messages.append(ChatMessage("tool", item.output, name, tool_call_id=item.call_id))
            case MessageItem() if item.role != "assistant":
                turn = None
                # Templates know "system"; "developer" is OpenAI's newer name for it.
                role = "system" if item.role == "developer" else item.role
                messages.append(ChatMessage(role, _text_of(item)))
            case _:
                if turn is None or not turn.accepts(item):
                    turn = _AssistantTurn()
                    messages.append(turn)
                turn.add(item)
    whole = [message if isinstance(message, ChatMessage) else message.message() for message in messages]
    return [message for message in whole if message.content is not None or message.tool_calls]


def _text_of(item: MessageItem) -> str:
    return "\n".join(part.text for part in item.content)
