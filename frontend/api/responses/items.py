"""The input of a response: from what a client sent to items, and from items to chat messages. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from frontend.api.responses.outputs import NewId
from frontend.api.schema.common import MOST_MESSAGES
from frontend.api.schema.response_items import (
    FunctionCallItem,
    FunctionOutputItem,
    InputImage,
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
from frontend.media.data_url import data_characters
from frontend.media.given import GivenImages, joined_text
from ipc.messages import ChatMessage, ContentPart, MediaPart, TextPart, ToolCall

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
                output=_output(body.output, f"{where}.output"),
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
    content: list[InputText | InputImage | OutputText]
    if role == "assistant":
        types = ("output_text", "input_text", "refusal")
        content = [OutputText(_text(body.content, f"{where}.content", types))]
    else:
        content = [*_input(body.content, f"{where}.content")]
    return MessageItem(id=body.id or new_id("msg"), role=role, content=content)


def _output(content: str | list[PartBody] | None, where: str) -> str | list[InputText | InputImage]:
    """The result of a call: text, or parts if there are images among them."""
    match _input(content, where):
        case [InputText(text)]:
            return text
        case parts:
            return parts


def _input(content: str | list[PartBody] | None, where: str) -> list[InputText | InputImage]:
    """Text parts alone are joined; with images among them, all keep their order. Raises BadRequest."""
    if isinstance(content, str) or all(part.type != "input_image" for part in _required(content, where)):
        return [InputText(_text(content, where, ("input_text",)))]
    parts: list[InputText | InputImage] = []
    for index, part in enumerate(content or []):
        place = f"{where}[{index}]"
        if part.type == "input_image":
            parts.append(_image(part, place))
        else:
            parts.append(InputText(_text_of_part(part, place, ("input_text",))))
    return parts


def _image(part: PartBody, where: str) -> InputImage:
    if part.file_id is not None and part.image_url is None:
        raise BadRequest(
            f"{where}.file_id: this server stores no files; use image_url with a data URL", f"{where}.file_id"
        )
    return InputImage(image_url=_required(part.image_url, f"{where}.image_url"), detail=part.detail or "auto")


def _text(content: str | list[PartBody] | None, where: str, types: tuple[str, ...]) -> str:
    """Text, or the text of all parts together. Raises BadRequest for other parts."""
    if isinstance(content, str):
        return content
    return "\n".join(_texts(_required(content, where), where, types))


def _texts(parts: list[PartBody] | None, where: str, types: tuple[str, ...]) -> list[str]:
    return [_text_of_part(part, f"{where}[{index}]", types) for index, part in enumerate(parts or [])]


def _text_of_part(part: PartBody, where: str, types: tuple[str, ...]) -> str:
    if part.type not in types:
        raise BadRequest(f"{where}.type: {part.type!r} is not supported here", f"{where}.type")
    field = "refusal" if part.type == "refusal" else "text"
    text: str | None = getattr(part, field)
    return _required(text, f"{where}.{field}")


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


def messages_of(items: Sequence[Item], instructions: str | None, images: "ItemImages") -> list[ChatMessage]:
    """A conversation for the chat template, for any items: they may come from a store that others write.

    Its images are added to `images`.
    """
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
                    turn = _AssistantTurn()
                    messages.append(turn)
                turn.add(item)
    whole = [message if isinstance(message, ChatMessage) else message.message() for message in messages]
    return [message for message in whole if message.content is not None or message.tool_calls]


def _text_of(item: MessageItem) -> str:
    return "\n".join(part.text for part in item.content if not isinstance(part, InputImage))


class ItemImages:
    """Collects the images of items, named by their places in a request's input."""

    def __init__(self, given: str | list[ItemBody]) -> None:
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


def _places_of(given: str | list[ItemBody]) -> Iterator[tuple[str, str]]:
    """(URL, where) of each image, the first of equal ones last."""
    bodies = [] if isinstance(given, str) else given
    for index, body in reversed(list(enumerate(bodies))):
        for name, content in (("output", body.output), ("content", body.content)):
            for position, part in reversed(list(enumerate(content))) if isinstance(content, list) else []:
                if part.image_url is not None:
                    yield part.image_url, f"input[{index}].{name}[{position}]"


def image_characters(given: str | list[ItemBody]) -> int:
    """How much of an input is images in data URLs."""
    return sum(data_characters(url) for url, _ in _places_of(given))
