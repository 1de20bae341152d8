"""The tools of a Responses request, as functions that a model can call, and how each call is answered. Pure.

Functions of a namespace get one name, such as mcp__weather__forecast. A custom tool takes any text; to the
model it is a function of one string.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from frontend.api.responses.client_tools import CLIENT_TOOLS, function_of, is_run_by_client
from frontend.api.schema.responses import ToolBody, ToolChoiceBody
from frontend.api.schema.tools import FunctionTool, ToolUse, only, tool_use
from frontend.errors import BadRequest

INPUT = "input"  # the parameter of a custom tool
MAX_OFFERED = 512  # functions of all namespaces together
_SEPARATOR = "__"
_CHOOSABLE = ("function", "custom", "namespace")


class OfferedTool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that the model may call."""

    function: FunctionTool  # what the model sees
    name: str  # what the client calls it
    namespace: str | None = None
    is_custom: bool = False
    is_run_by_client: bool = False  # a shell or the like, whose calls are items of their own type
    where: str  # the request's parameter with the schema


def flat_name(namespace: str | None, name: str) -> str:
    """What the model calls a tool of a namespace."""
    if not namespace:
        return name
    joined = namespace.endswith(_SEPARATOR) or name.startswith(_SEPARATOR)
    return f"{namespace}{'' if joined else _SEPARATOR}{name}"


def offered_tools(bodies: Sequence[ToolBody], where: str = "tools") -> list[OfferedTool]:
    """The tools that can be called, without those that only OpenAI's servers can run. Raises BadRequest."""
    found: dict[str, OfferedTool] = {}
    offered = list(_tools(bodies, where, None))
    own = {tool.function.name for tool in offered}
    offered += [tool for tool in _client_tools(bodies, where) if tool.function.name not in own]
    for tool in offered:
        if tool.function.name in found and tool.name != tool.function.name:  # two namespaces join to one name
            tool = _renamed(tool, found)
        if tool.function.name in found:
            raise BadRequest(f"{where}: two functions have the same name", where)
        found[tool.function.name] = tool
        if len(found) > MAX_OFFERED:
            raise BadRequest(f"{where}: there may be at most {MAX_OFFERED} functions", where)
    return list(found.values())


def left_out(bodies: Iterable[ToolBody]) -> list[str]:
    """The types of the tools that are not offered to the model."""
    return sorted(
        {body.type for body in bodies if body.type not in _CHOOSABLE and not is_run_by_client(body)}
    )


def _renamed(tool: OfferedTool, taken: Mapping[str, OfferedTool]) -> OfferedTool:
    name = next(name for n in range(2, len(taken) + 3) if (name := f"{tool.function.name}_{n}") not in taken)
    return msgspec.structs.replace(tool, function=msgspec.structs.replace(tool.function, name=name))


def _tools(bodies: Sequence[ToolBody], where: str, namespace: ToolBody | None) -> Iterator[OfferedTool]:
    for index, body in enumerate(bodies):
        place = f"{where}[{index}]"
        if body.type in _CHOOSABLE and body.name is None:
            raise BadRequest(f"{place}.name is missing", f"{place}.name")
        match body.type:
            case "function":
                yield _function(body, place, namespace, _about(namespace, index))
            case "custom":
                yield _custom(body, place, namespace, _about(namespace, index))
            case "namespace" if namespace is None:
                yield from _tools(body.tools or [], f"{place}.tools", body)


def _client_tools(bodies: Sequence[ToolBody], where: str) -> Iterator[OfferedTool]:
    kinds: set[str] = set()
    for index, body in enumerate(bodies):
        if is_run_by_client(body) and body.type not in kinds:
            kinds.add(body.type)
            function = function_of(body.type)
            yield OfferedTool(
                function=function, name=body.type, is_run_by_client=True, where=f"{where}[{index}]"
            )


def _about(namespace: ToolBody | None, index: int) -> str | None:
    """What the description of a namespace's first tool begins with: all of them have it in common."""
    return namespace.description if namespace is not None and not index else None


def _function(body: ToolBody, where: str, namespace: ToolBody | None, about: str | None) -> OfferedTool:
    function = FunctionTool(
        name=_flat(body, namespace),
        description=_joined(about, body.description),
        parameters=body.parameters or None,
        strict=body.strict or None,
    )
    return _offered(body, function, f"{where}.parameters", namespace)


def _custom(body: ToolBody, where: str, namespace: ToolBody | None, about: str | None) -> OfferedTool:
    """A regular expression binds the input; a Lark grammar is shown to the model only. Raises BadRequest."""
    text: dict[str, Any] = {"type": "string", "description": "The input of the tool: any text."}
    strict = False
    form = body.format or None
    if form is not None and form.type not in ("text", "grammar"):
        raise BadRequest(f"{where}.format.type: must be text or grammar", f"{where}.format.type")
    if form is not None and form.type == "grammar":
        if form.definition is None:
            raise BadRequest(f"{where}.format.definition is missing", f"{where}.format.definition")
        if form.syntax not in ("lark", "regex"):
            raise BadRequest(f"{where}.format.syntax: must be lark or regex", f"{where}.format.syntax")
        kind = "Lark grammar" if form.syntax == "lark" else "regular expression"
        text["description"] = f"The input of the tool. It must match the {kind}:\n{form.definition}"
        if form.syntax == "regex":
            text["pattern"], strict = f"^(?:{form.definition})$", True
    parameters = {
        "type": "object",
        "properties": {INPUT: text},
        "required": [INPUT],
        "additionalProperties": False,
    }
    function = FunctionTool(
        name=_flat(body, namespace),
        description=_joined(about, body.description),
        parameters=parameters,
        strict=strict,
    )
    return _offered(body, function, f"{where}.format.definition", namespace, is_custom=True)


def _offered(
    body: ToolBody, function: FunctionTool, where: str, namespace: ToolBody | None, is_custom: bool = False
) -> OfferedTool:
    assert body.name is not None
    return OfferedTool(
        function=function,
        name=body.name,
        namespace=namespace.name if namespace is not None else None,
        is_custom=is_custom,
        where=where,
    )


def _flat(body: ToolBody, namespace: ToolBody | None) -> str:
    assert body.name is not None
    return flat_name(namespace.name if namespace is not None else None, body.name)


def _joined(about: str | None, own: str | None) -> str | None:
    return "\n\n".join(filter(None, (about, own))) or None


def tool_use_of(
    offered: Sequence[OfferedTool], choice: str | ToolChoiceBody | None, parallel: bool | None
) -> ToolUse | None:
    """How the model may use the tools; None if there are none. Raises BadRequest."""
    functions = [tool.function for tool in offered]
    named: str | None = None
    mode = choice if isinstance(choice, str) else None
    if isinstance(choice, ToolChoiceBody) and choice.type == "allowed_tools":
        allowed = [tool for tool in choice.tools or [] if tool.type in (*_CHOOSABLE, *CLIENT_TOOLS)]
        names = dict.fromkeys(name for tool in allowed for name in _chosen(tool, offered))
        functions, mode = only(functions, list(names)), choice.mode
    elif isinstance(choice, ToolChoiceBody):
        if choice.type == "namespace":
            functions, mode = only(functions, _chosen(choice, offered)), "required"
        else:
            (named,) = _chosen(choice, offered)
    use = tool_use(functions, mode, named, parallel)
    if use is None:
        return None
    return msgspec.structs.replace(use, places={tool.function.name: tool.where for tool in offered})


def _chosen(choice: ToolChoiceBody, offered: Sequence[OfferedTool]) -> list[str]:
    """The names that the model knows the chosen tools by. Raises BadRequest."""
    if choice.type in CLIENT_TOOLS:
        return [choice.type]
    if choice.type not in _CHOOSABLE or choice.name is None:
        raise BadRequest(
            "tool_choice: only functions, custom tools and namespaces can be chosen, by name", "tool_choice"
        )
    if choice.type == "namespace":
        names = [tool.function.name for tool in offered if tool.namespace == choice.name]
        return names or [choice.name]
    for tool in offered:
        if (tool.namespace, tool.name) == (choice.namespace, choice.name):
            return [tool.function.name]
    return [flat_name(choice.namespace, choice.name)]
