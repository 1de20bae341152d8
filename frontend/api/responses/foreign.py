"""Items that only other servers make: a web search, a shell call, a list of tools, types yet to come. Pure.

A conversation that was begun elsewhere contains them. For the model they become calls with results where they
look like that, and text otherwise, so that nothing of their content is lost.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from frontend.api.responses.compaction import summary_text
from frontend.api.schema.response_items import (
    CallItem,
    ClientCallItem,
    CompactionItem,
    ForeignItem,
    FunctionCallItem,
    FunctionOutputItem,
    InputImage,
    InputText,
    Item,
    MessageItem,
    OutcomeItem,
    OutputText,
)
from frontend.media.data_url import is_data_url

_CALL, _OUTPUT = "_call", "_output"
_FRAME = ("type", "id", "call_id", "status", "caller", "created_by", "role")  # means nothing to the model
_RESULTS = ("output", "outputs", "results", "result", "error", "tools")  # of a call
_TOOL_LISTS = ("additional_tools", "tool_search_output")
_DATA_HEAD = r"(?:data:[^ ]{0,100},)?[A-Za-z0-9+/=_-]{1000}"  # of an image or the like in Base64
_DATA_BEGIN, _DATA = re.compile(_DATA_HEAD), re.compile(rf"{_DATA_HEAD}[A-Za-z0-9+/=_-]*")


def made_own(items: Sequence[Item]) -> Sequence[Item]:
    """The conversation with items of our own in place of foreign ones and compactions."""
    items = [_as_foreign(item) for item in items]
    if not any(isinstance(item, ForeignItem | CompactionItem) for item in items):
        return items
    calls = call_ids(items)
    answered = {_pair(item) for item in items if _is_output(item, calls)}
    answered |= {item.call_id for item in items if isinstance(item, OutcomeItem)}
    return [own for item in items for own in _made_own(item, calls, answered)]


def call_ids(items: Iterable[Item]) -> set[str]:
    """The ids of the calls among items, foreign ones included."""
    return {
        item.call_id if isinstance(item, CallItem) else _pair(item)
        for item in map(_as_foreign, items)
        if isinstance(item, CallItem) or (isinstance(item, ForeignItem) and item.kind.endswith(_CALL))
    }


def _as_foreign(item: Item) -> Item:
    """A call of a shell or the like that a client ran, as it sends that of another server."""
    return (
        ForeignItem(id=item.id, body=msgspec.to_builtins(item)) if isinstance(item, ClientCallItem) else item
    )


def tool_lists(items: Iterable[Item]) -> list[ForeignItem]:
    """The items that make tools available: a list in the `tools` of their bodies."""
    return [
        item
        for item in items
        if isinstance(item, ForeignItem)
        and item.kind in _TOOL_LISTS
        and isinstance(item.body.get("tools"), list)
    ]


def _made_own(item: Item, calls: set[str], answered: set[str]) -> Iterator[Item]:
    if isinstance(item, CompactionItem):
        yield MessageItem(id=item.id, role="user", content=[InputText(summary_text(item.encrypted_content))])
    elif not isinstance(item, ForeignItem):
        yield item
    elif item.kind.endswith(_CALL):
        yield from _call(item, answered)
    elif _is_output(item, calls):
        yield FunctionOutputItem(id=item.id, call_id=_pair(item), output=_output(item))
    elif item.kind != "additional_tools":  # whose tools are offered
        text = f"[{item.kind}] {_json(_content(item))}"
        yield MessageItem(id=item.id, role="assistant", content=[OutputText(text)])


def _call(item: ForeignItem, answered: set[str]) -> Iterator[Item]:
    """The call, and its result if it is in the same item."""
    content = _content(item)
    result = {key: content.pop(key) for key in _RESULTS if key in content}
    name = _name(item, content)
    arguments = content["arguments"] if set(content) == {"arguments"} else content
    text = arguments if isinstance(arguments, str) else _json(arguments)
    yield FunctionCallItem(id=item.id, call_id=_pair(item), name=name, arguments=text)
    if _pair(item) not in answered:
        outcome = _text(result) or str(item.body.get("status") or "completed")
        yield FunctionOutputItem(id=f"{item.id}_output", call_id=_pair(item), output=outcome)


def _is_output(item: Item, calls: set[str]) -> bool:
    return isinstance(item, ForeignItem) and item.kind.endswith(_OUTPUT) and _pair(item) in calls


def _output(item: ForeignItem) -> str | list[InputText | InputImage]:
    output = item.body.get("output")
    if isinstance(output, dict) and isinstance(url := output.get("image_url"), str):
        return [InputImage(image_url=url)]
    return _text(_content(item))


def _pair(item: Item) -> str:
    """What a call and its output have in common: the id of the item, where there is none of its own."""
    call_id = item.body.get("call_id") if isinstance(item, ForeignItem) else None
    return call_id if isinstance(call_id, str) else item.id


def _name(item: ForeignItem, content: dict[str, Any]) -> str:
    """The function of another server's MCP, or what the type names."""
    if not isinstance(content.get("name"), str):
        return item.kind.removesuffix(_CALL)
    name: str = content.pop("name")
    return f"{content.pop('server_label')}__{name}" if isinstance(content.get("server_label"), str) else name


def _content(item: ForeignItem) -> dict[str, Any]:
    return {
        key: _readable(value) for key, value in item.body.items() if key not in _FRAME and value is not None
    }


def _readable(value: Any) -> Any:
    """Without the bytes of images and the like, which no model can read."""
    if isinstance(value, str) and _DATA.fullmatch(value):
        return f"({len(value)} characters of data)"
    if isinstance(value, list):
        return [_readable(each) for each in value]
    if isinstance(value, dict):
        return {key: _readable(each) for key, each in value.items()}
    return value


def data_characters(value: Any) -> int:
    """How much of a body is images and the like, in Base64 or data URLs."""
    if isinstance(value, str):
        return len(value) if is_data_url(value) or _DATA_BEGIN.match(value) else 0
    if isinstance(value, list):
        return sum(map(data_characters, value))
    return sum(map(data_characters, value.values())) if isinstance(value, dict) else 0


def _text(content: dict[str, Any]) -> str:
    match list(content.values()):
        case []:
            return ""
        case [str(text)]:
            return text
        case [other]:
            return _json(other)
    return _json(content)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
