"""The tools of a Responses request, as functions that a model can call, and how each call is answered. Pure.

Functions of a namespace get one name, such as mcp__weather__forecast. A custom tool takes any text; to the
model it is a function of one string.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from typing import Any

import msgspec

from frontend.api.responses.client_tools import CLIENT_TOOLS, function_of, is_run_by_client
from frontend.api.schema.formats import constraint_at
from frontend.api.schema.responses import ToolBody, ToolChoiceBody
from frontend.api.schema.tools import MAX_TOOLS, FunctionTool, ToolUse, only, tool_use
from frontend.errors import BadRequest
from frontend.structured import whole_pattern

INPUT = "input"  # the parameter of a custom tool
_MOST_REPORTED = 100
_SEPARATOR = "__"
_CALLABLE = ("function", "custom")
_CHOOSABLE = (*_CALLABLE, "namespace")


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
    offered = list(_tools(bodies, where, None))
    own = {tool.function.name for tool in offered}
    offered += [tool for tool in _client_tools(bodies, where) if tool.function.name not in own]
    found: list[OfferedTool] = []
    plain: set[str] = set()
    for tool in offered:
        if tool.namespace is None and tool.name in plain:
            raise BadRequest(f"{where}: two functions have the same name", where)
        if tool.namespace is None:
            plain.add(tool.name)
        found.append(tool)
        if len(found) > MAX_TOOLS:
            raise BadRequest(f"{where}: there may be at most {MAX_TOOLS} functions", where)
    return found


def with_own_names(tools: Iterable[OfferedTool]) -> list[OfferedTool]:
    """The tools of all lists, of which later ones replace earlier ones, each with another name for the model:
    namespaces may join to one name, and to that of a tool without one. Raises BadRequest."""
    by_identity = {(tool.namespace, tool.name): tool for tool in tools}
    if len(by_identity) > MAX_TOOLS:
        raise BadRequest(f"tools: there may be at most {MAX_TOOLS} functions in all lists", "tools")
    taken = {tool.name for tool in by_identity.values() if tool.namespace is None}
    found: list[OfferedTool] = []
    for tool in by_identity.values():
        if tool.namespace is not None:
            tool = _named(tool, _free(tool.function.name, taken))
            taken.add(tool.function.name)
        found.append(tool)
    return found


class ToolNames:
    """What the model calls tools that are offered, and those that once were."""

    def __init__(self, offered: Sequence[OfferedTool]) -> None:
        """`offered`: with own names."""
        self._names = {(tool.namespace, tool.name): tool.function.name for tool in offered}
        self._taken = set(self._names.values())

    def of(self, namespace: str | None, name: str) -> str:
        offered = self._names.get((namespace, name))
        if offered is not None:
            return offered
        return _free(flat_name(namespace, name), self._taken) if namespace else name


def _free(name: str, taken: Set[str]) -> str:
    """The name, or one like it that is not taken."""
    candidates = itertools.chain((name,), (f"{name}_{n}" for n in itertools.count(2)))
    return next(candidate for candidate in candidates if candidate not in taken)


def left_out(bodies: Iterable[ToolBody]) -> list[str]:
    """The types of the tools that are not offered to the model, those in namespaces included."""
    return sorted(set(_left_out(bodies, _CHOOSABLE)))


def _left_out(bodies: Iterable[ToolBody], known: Sequence[str]) -> Iterator[str]:
    for body in bodies:
        if body.type not in known and not is_run_by_client(body):
            yield body.type
        elif body.type == "namespace":
            yield from _left_out(body.tools or [], _CALLABLE)


class LeftOut:
    """Reports the types of tools that are left out, each once: agents offer such tools with every request."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._reported: set[str] = set()

    def add(self, bodies: Iterable[ToolBody]) -> None:
        for kind in left_out(bodies):
            if kind not in self._reported and len(self._reported) < _MOST_REPORTED:
                self._reported.add(kind)
                self._report(kind)


def _named(tool: OfferedTool, name: str) -> OfferedTool:
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
            with constraint_at(f"{where}.format.definition"):
                text["pattern"], strict = whole_pattern(form.definition), True
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
    return msgspec.structs.replace(
        use,
        places={tool.function.name: tool.where for tool in offered},
        made=frozenset(tool.function.name for tool in offered if tool.is_custom),
    )


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
    return [ToolNames(offered).of(choice.namespace, choice.name)]
