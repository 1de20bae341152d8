"""In which form a chat template takes messages and tools: found out with a small conversation when it is
compiled."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from host.templates.shown import count_missing
from ipc.messages import ChatMessage, ToolCall

_NAME = "zfunction1"


class Manner(NamedTuple):
    """Templates of most families take the first of each."""

    arguments_as_text: bool = False  # of calls, instead of an object
    content_of_calls: str | None = None  # where there is no text beside a call
    no_tools: tuple[()] | None = None  # what `tools` is for a turn without tools
    described: bool = False  # tools and their parameters must all have a description

    def tools(self, given: list[dict[str, Any]] | None) -> Any:
        """`given`, as the template wants it."""
        if not given:
            return None if self.no_tools is None else []
        return [_described(tool) for tool in given] if self.described else given


_CONVERSATION = [
    ChatMessage("user", "Zuser1"),
    ChatMessage("assistant", None, tool_calls=[ToolCall("call00001", _NAME, '{"zkey1": "zvalue1"}')]),
    ChatMessage("tool", "Zresult1", _NAME, tool_call_id="call00001"),
]
_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": _NAME,
            "parameters": {"type": "object", "properties": {"zkey1": {"type": "string"}}},
        },
    }
]
Render = Callable[[Manner, list[ChatMessage], list[dict[str, Any]]], str]


def find_manner(render: Render) -> Manner:
    """`render` gets a manner, messages and tools, and may raise anything."""
    manner = Manner()
    if _shown(render, manner, _CONVERSATION[:1], []) is None and _shown(
        render, Manner(no_tools=()), _CONVERSATION[:1], []
    ):
        manner = Manner(no_tools=())
    if _shown(render, manner, _CONVERSATION[:1], _TOOLS) is None and _shown(
        render, manner._replace(described=True), _CONVERSATION[:1], _TOOLS
    ):
        manner = manner._replace(described=True)
    tried = (_missing(render, other) for other in _of_calls(manner))
    best = min(enumerate(tried), key=lambda numbered: (numbered[1], numbered[0]))
    return list(_of_calls(manner))[best[0]]


def _of_calls(manner: Manner) -> Iterator[Manner]:
    for content in (None, ""):
        for as_text in (False, True):
            yield manner._replace(content_of_calls=content, arguments_as_text=as_text)


def _missing(render: Render, manner: Manner) -> int:
    text = _shown(render, manner, _CONVERSATION, _TOOLS)
    return len(_CONVERSATION) + 1 if text is None else count_missing(_CONVERSATION, text)


def _shown(
    render: Render, manner: Manner, messages: list[ChatMessage], tools: list[dict[str, Any]]
) -> str | None:
    try:
        return render(manner, messages, tools)
    except Exception:  # a template is a program: it may raise anything
        return None


def _described(tool: dict[str, Any]) -> dict[str, Any]:
    function = {"description": "", **tool["function"]}
    parameters = function.get("parameters")
    if isinstance(parameters, dict) and isinstance(parameters.get("properties"), dict):
        properties = {
            name: {"description": "", **schema} if isinstance(schema, dict) else schema
            for name, schema in parameters["properties"].items()
        }
        function["parameters"] = {"required": [], **parameters, "properties": properties}
    return {**tool, "function": function}
