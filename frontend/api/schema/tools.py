"""Function tools in chat completions: definitions, tool_choice, and calls in the history."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from frontend.api.schema.patterns import TOOL_NAME
from frontend.errors import BadRequest
from frontend.shortened import quoted

ToolName = Annotated[str, Meta(pattern=TOOL_NAME)]
MAX_TOOLS = 1000  # agents with several MCP servers have hundreds


class FunctionTool(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the model may call."""

    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None  # a JSON schema; None for any object
    strict: bool | None = None  # arguments must validate against the schema


class ToolBody(msgspec.Struct):
    type: str
    function: FunctionTool | None = None


class FunctionName(msgspec.Struct):
    name: str


class NamedTool(msgspec.Struct):
    type: str
    function: FunctionName | None = None


class AllowedTools(msgspec.Struct):
    mode: Literal["auto", "required"]
    tools: list[NamedTool]


class ToolChoiceBody(NamedTool):
    allowed_tools: AllowedTools | None = None


class CalledFunction(msgspec.Struct):
    name: str
    arguments: str


class ToolCallBody(msgspec.Struct):
    id: str
    function: CalledFunction
    type: str = "function"


class ToolUse(msgspec.Struct, frozen=True, kw_only=True):
    """How a request lets the model use tools."""

    tools: list[FunctionTool]
    choice: Literal["none", "auto", "required"] = "auto"
    named: str | None = None  # the function that must be called; then `choice` is "required"
    parallel: bool | None = None  # whether a turn may have several calls; None for our default
    places: dict[str, str] = {}  # the request's parameters that contain the schemas, by the tools' names
    made: frozenset[str] = frozenset()  # tools whose schema was made of what the client wrote at their place

    def place(self, name: str) -> str:
        """The request's parameter that contains a tool's schema."""
        return self.places.get(name, "tools")


def parse_tool_choice(
    tools: list[ToolBody] | None, choice: str | ToolChoiceBody | None, parallel: bool | None
) -> ToolUse | None:
    """None if there are no tools. Raises BadRequest."""
    functions = [_function(tool, f"tools[{index}]") for index, tool in enumerate(tools or [])]
    places = {tool.name: f"tools[{index}].function.parameters" for index, tool in enumerate(functions)}
    if isinstance(choice, ToolChoiceBody) and choice.allowed_tools is not None:
        names = [_name(tool, "tool_choice.allowed_tools.tools") for tool in choice.allowed_tools.tools]
        functions = only(functions, names)
        choice = choice.allowed_tools.mode
    named = _name(choice, "tool_choice") if isinstance(choice, ToolChoiceBody) else None
    return tool_use(functions, choice if isinstance(choice, str) else None, named, parallel, places)


def tool_use(
    functions: list[FunctionTool],
    choice: str | None,
    named: str | None,
    parallel: bool | None,
    places: Mapping[str, str] | None = None,
) -> ToolUse | None:
    """None if there are no functions. `places` are those of a ToolUse. Raises BadRequest."""
    if choice not in (None, "none", "auto", "required"):
        raise BadRequest(
            f"tool_choice: must be none, auto, required or a function, not {quoted(choice)}", "tool_choice"
        )
    if not functions:
        if named is not None or choice == "required":
            raise BadRequest("tool_choice requires tools", "tool_choice")
        return None
    if named is not None:
        only(functions, [named])
    if len({function.name for function in functions}) < len(functions):
        raise BadRequest("tools: two functions have the same name", "tools")
    return ToolUse(
        tools=functions,
        choice="required" if named else choice or "auto",  # type: ignore[arg-type] # checked above
        named=named,
        parallel=parallel,
        places=dict(places or {}),
    )


def only(functions: list[FunctionTool], names: list[str]) -> list[FunctionTool]:
    """The functions with these names. Raises BadRequest if one does not exist."""
    by_name = {function.name: function for function in reversed(functions)}  # the first of a name counts
    for name in names:
        if name not in by_name:
            raise BadRequest(f"tool_choice: the tool {name!r} does not exist", "tool_choice")
    return [by_name[name] for name in names]


def _function(tool: ToolBody, where: str) -> FunctionTool:
    if tool.type != "function":
        raise BadRequest(f"{where}.type: {tool.type!r} is not supported", f"{where}.type")
    if tool.function is None:
        raise BadRequest(f"{where}.function is missing", f"{where}.function")
    return tool.function


def _name(choice: NamedTool, where: str) -> str:
    if choice.type != "function" or choice.function is None:
        raise BadRequest(f"{where}: must name functions", where)
    return choice.function.name
