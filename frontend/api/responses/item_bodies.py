"""From one item as a client sent it to the item that is stored. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import UNSET

from frontend.api.body import converted
from frontend.api.responses.outputs import NewId
from frontend.api.schema.common import required
from frontend.api.schema.response_items import (
    CompactionItem,
    CustomCallItem,
    CustomOutputItem,
    ForeignItem,
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

REFERENCE = "item_reference"


def item_of(raw: Any, where: str, stored: Mapping[str, Item], new_id: NewId) -> Item:
    """The item, or the stored one to which it refers. Raises BadRequest."""
    if isinstance(raw, dict) and isinstance(kind := raw.get("type"), str) and not _is_own(kind):
        item_id = raw.get("id")
        return ForeignItem(id=item_id if isinstance(item_id, str) else new_id("item"), body=raw)
    body = converted(raw, ItemBody, where)
    if body.type == REFERENCE:
        return _referred(body, where, stored)
    return _READERS[body.type or "message"](body, where, new_id)


def _referred(body: ItemBody, where: str, stored: Mapping[str, Item]) -> Item:
    item = stored.get(required(body.id, f"{where}.id"))
    if item is None:
        raise BadRequest(
            f"{where}.id: there is no item {body.id!r}, or it has expired; send the item itself",
            f"{where}.id",
        )
    return item


def _function_call(body: ItemBody, where: str, new_id: NewId) -> FunctionCallItem:
    return FunctionCallItem(
        id=body.id or new_id("fc"),
        call_id=required(body.call_id, f"{where}.call_id"),
        name=required(body.name, f"{where}.name"),
        arguments=required(body.arguments, f"{where}.arguments"),
        namespace=body.namespace or UNSET,
    )


def _function_output(body: ItemBody, where: str, new_id: NewId) -> FunctionOutputItem:
    return FunctionOutputItem(
        id=body.id or new_id("fco"),
        call_id=required(body.call_id, f"{where}.call_id"),
        output=_output(body.output, f"{where}.output"),
    )


def _custom_call(body: ItemBody, where: str, new_id: NewId) -> CustomCallItem:
    return CustomCallItem(
        id=body.id or new_id("ctc"),
        call_id=required(body.call_id, f"{where}.call_id"),
        name=required(body.name, f"{where}.name"),
        input=required(body.input, f"{where}.input"),
        namespace=body.namespace or UNSET,
    )


def _custom_output(body: ItemBody, where: str, new_id: NewId) -> CustomOutputItem:
    return CustomOutputItem(
        id=body.id or new_id("ctco"),
        call_id=required(body.call_id, f"{where}.call_id"),
        output=_output(body.output, f"{where}.output"),
    )


def _compaction(body: ItemBody, where: str, new_id: NewId) -> CompactionItem:
    content = required(body.encrypted_content, f"{where}.encrypted_content")
    return CompactionItem(id=body.id or new_id("cmp"), encrypted_content=content)


def _reasoning(body: ItemBody, where: str, new_id: NewId) -> ReasoningItem:
    summary = _texts(body.summary, f"{where}.summary", ("summary_text",))
    content = [_text(body.content, f"{where}.content", ("reasoning_text",))] if body.content else []
    return ReasoningItem(
        id=body.id or new_id("rs"),
        summary=[SummaryText(text) for text in summary],
        content=[ReasoningText(text) for text in content],
    )


def _message(body: ItemBody, where: str, new_id: NewId) -> MessageItem:
    role: Role = required(body.role, f"{where}.role")
    content: list[InputText | InputImage | OutputText]
    if role == "assistant":
        types = ("output_text", "input_text", "refusal")
        content = [OutputText(_text(body.content, f"{where}.content", types))]
    else:
        content = [*_input(body.content, f"{where}.content")]
    return MessageItem(id=body.id or new_id("msg"), role=role, content=content)


_READERS: dict[str, Callable[[ItemBody, str, NewId], Item]] = {
    "message": _message,
    "function_call": _function_call,
    "function_call_output": _function_output,
    "custom_tool_call": _custom_call,
    "custom_tool_call_output": _custom_output,
    "reasoning": _reasoning,
    "compaction": _compaction,
    "compaction_summary": _compaction,
}


def _is_own(kind: str) -> bool:
    return kind == REFERENCE or kind in _READERS


def _output(content: str | list[PartBody] | None, where: str) -> str | list[InputText | InputImage]:
    """The result of a call: text, or parts if there are images among them."""
    match _input(content, where):
        case [InputText(text)]:
            return text
        case parts:
            return parts


def _input(content: str | list[PartBody] | None, where: str) -> list[InputText | InputImage]:
    """Text parts alone are joined; with images among them, all keep their order. Raises BadRequest."""
    if isinstance(content, str) or all(part.type != "input_image" for part in required(content, where)):
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
    return InputImage(image_url=required(part.image_url, f"{where}.image_url"), detail=part.detail or "auto")


def _text(content: str | list[PartBody] | None, where: str, types: tuple[str, ...]) -> str:
    """Text, or the text of all parts together. Raises BadRequest for other parts."""
    if isinstance(content, str):
        return content
    return "\n".join(_texts(required(content, where), where, types))


def _texts(parts: list[PartBody] | None, where: str, types: tuple[str, ...]) -> list[str]:
    return [_text_of_part(part, f"{where}[{index}]", types) for index, part in enumerate(parts or [])]


def _text_of_part(part: PartBody, where: str, types: tuple[str, ...]) -> str:
    if part.type not in types:
        raise BadRequest(f"{where}.type: {part.type!r} is not supported here", f"{where}.type")
    field = "refusal" if part.type == "refusal" else "text"
    text: str | None = getattr(part, field)
    return required(text, f"{where}.{field}")
