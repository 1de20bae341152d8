"""The input of a response: from what a client sent to items, and from items to chat messages. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from frontend.api.responses.foreign import call_ids, made_own
from frontend.api.responses.item_bodies import REFERENCE, item_of
from frontend.api.responses.outputs import NewId
from frontend.api.responses.tools import INPUT, OfferedTool, ToolNames
from frontend.api.schema.common import MOST_MESSAGES
from frontend.api.schema.response_items import (
    CallItem,
    CustomCallItem,
    CustomOutputItem,
    FunctionCallItem,
    FunctionOutputItem,
    InputImage,
    InputText,
    Item,
    MessageItem,
    OutcomeItem,
    OutputText,
    ReasoningItem,
)
from frontend.errors import BadRequest
from frontend.media.data_url import data_characters
from frontend.media.given import GivenImages, joined_text
from ipc.messages import ChatMessage, ContentPart, MediaPart, TextPart, ToolCall


def references_of(given: str | list[Any] | None) -> list[str]:
    """The ids of stored items that stand for themselves in the input."""
    return [
        body["id"]
        for body in (given if isinstance(given, list) else [])
        if isinstance(body, dict) and body.get("type") == REFERENCE and isinstance(body.get("id"), str)
    ]


def whole_input(
    given: str | list[Any] | None, history: Sequence[Item], stored: Mapping[str, Item], new_id: NewId
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
    given: str | list[Any] | None, history: Sequence[Item], stored: Mapping[str, Item], new_id: NewId
) -> list[Item]:
    """The items that a request adds to `history`, each with an id. Raises BadRequest.

    `stored` holds the items that it may refer to, by their ids.
    """
    if given is None:
        return []
    if isinstance(given, str):
        return [MessageItem(id=new_id("msg"), role="user", content=[InputText(given)])]
    items: list[Item] = []
    known = {item.id for item in history}
    for index, raw in enumerate(given):
        item = item_of(raw, f"input[{index}]", stored, new_id)
        if not (raw.get("type") == REFERENCE and item.id in known):
            items.append(item)
            known.add(item.id)
    calls = call_ids((*history, *items))
    for item in items:
        if isinstance(item, OutcomeItem) and item.call_id not in calls:
            raise BadRequest(f"input: there is no function call {item.call_id!r} for this output", "input")
    return items


class _AssistantTurn:
    """Reasoning, text and calls that follow one another: one message of the assistant."""

    def __init__(self, names: ToolNames) -> None:
        self._names = names
        self._thoughts: list[str] = []
        self._content: str | None = None
        self._calls: list[ToolCall] = []

    def accepts(self, item: Item) -> bool:
        """Whether an item can belong to this turn: first comes reasoning, then text, then calls."""
        return isinstance(item, CallItem) or (self._content is None and not self._calls)

    def add(self, item: Item) -> None:
        match item:
            case ReasoningItem():
                text = "\n".join(part.text for part in (item.content or item.summary))
                if text or self._thoughts:
                    self._thoughts.append(text)
            case MessageItem():
                self._content = _text_of(item)
            case FunctionCallItem():
                self._calls.append(ToolCall(item.call_id, self._called(item), item.arguments))
            case CustomCallItem():
                arguments = msgspec.json.encode({INPUT: item.input}).decode()
                self._calls.append(ToolCall(item.call_id, self._called(item), arguments))

    def _called(self, item: CallItem) -> str:
        return self._names.of(item.namespace or None, item.name)

    def message(self) -> ChatMessage:
        return ChatMessage(
            "assistant",
            self._content,
            tool_calls=self._calls,
            reasoning="\n".join(self._thoughts) if self._thoughts else None,
        )


def messages_of(
    items: Sequence[Item],
    instructions: str | None,
    images: "ItemImages",
    offered: Sequence[OfferedTool] = (),
) -> list[ChatMessage]:
    """A conversation for the chat template, for any items: they may come from a store that others write.

    Its images are added to `images`. Calls have the names by which tools are `offered`.
    """
    tool_names = ToolNames(offered)
    messages: list[ChatMessage | _AssistantTurn] = []
    if instructions:
        messages.append(ChatMessage("system", instructions))
    items = made_own(items)
    names = {
        item.call_id: tool_names.of(item.namespace or None, item.name)
        for item in items
        if isinstance(item, CallItem)
    }
    turn: _AssistantTurn | None = None  # as long as it goes on
    for item in items:
        match item:
            case FunctionOutputItem() | CustomOutputItem():
                turn = None
                name = names.get(item.call_id)
                messages.append(
                    ChatMessage("tool", images.content(item.output), name, tool_call_id=item.call_id)
                )
            case MessageItem() if item.role != "assistant":
                turn = None
                # Templates know "system"; "developer" is OpenAI's newer name for it.
                role = "system" if item.role == "developer" else item.role
                messages.append(ChatMessage(role, images.content(item.content)))
            case _:
                if turn is None or not turn.accepts(item):
                    turn = _AssistantTurn(tool_names)
                    messages.append(turn)
                turn.add(item)
    whole = [message if isinstance(message, ChatMessage) else message.message() for message in messages]
    return [message for message in whole if message.content is not None or message.tool_calls]


def _text_of(item: MessageItem) -> str:
    return "\n".join(part.text for part in item.content if not isinstance(part, InputImage))


class ItemImages:
    """Collects the images of items, named by their places in a request's input."""

    def __init__(self, given: str | list[Any] | None) -> None:
        self.given = GivenImages()
        self._places = dict(_places_of(given))

    def content(
        self, parts: "str | Sequence[InputText | InputImage | OutputText]"
    ) -> str | list[ContentPart]:
        """Parts of an item as a message's content."""
        if isinstance(parts, str):
            return parts
        return joined_text(
            [self._image(part) if isinstance(part, InputImage) else TextPart(part.text) for part in parts]
        )

    def _image(self, part: InputImage) -> MediaPart:
        place = self._places.get(part.image_url)
        if place is None:  # it came with an earlier request
            return self.given.part(part.image_url, part.detail, "input", "input")
        return self.given.part(part.image_url, part.detail, place, f"{place}.image_url")


def _places_of(given: str | list[Any] | None) -> Iterator[tuple[str, str]]:
    """(URL, where) of each image, the first of equal ones last."""
    bodies = given if isinstance(given, list) else []
    for index, body in reversed(list(enumerate(bodies))):
        for name in ("output", "content") if isinstance(body, dict) else ():
            content = body.get(name)
            if isinstance(content, dict):  # a screenshot
                content = [content]
            for position, part in reversed(list(enumerate(content))) if isinstance(content, list) else []:
                if isinstance(part, dict) and isinstance(url := part.get("image_url"), str):
                    yield url, f"input[{index}].{name}[{position}]"


def image_characters(given: str | list[Any] | None) -> int:
    """How much of an input is images in data URLs."""
    return sum(data_characters(url) for url, _ in _places_of(given))
