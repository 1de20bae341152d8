"""Tools in Anthropic's API: functions of the client, and types whose schema that API itself knows. Pure."""

from typing import Any

from frontend.api.schema.common import required
from frontend.api.schema.messages import ToolBody, ToolChoiceBody
from frontend.api.schema.tools import FunctionTool, ToolUse, tool_use
from frontend.errors import BadRequest

_CUSTOM = (None, "custom")
_CHOICES = {"auto": "auto", "any": "required", "none": "none", "tool": None}


def _object(required_names: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required_names}


def _string(description: str, *values: str) -> dict[str, Any]:
    return {"type": "string", "description": description, **({"enum": list(values)} if values else {})}


_PATH = _string("Absolute path of a file or folder.")
_LINES = {
    "type": "array",
    "items": {"type": "integer"},
    "minItems": 2,
    "maxItems": 2,
    "description": "First and last line to view, counted from 1; -1 is the end of the file.",
}
_LINE = {"type": "integer", "description": "Line after which insert_text is inserted; 0 is the beginning."}
_EDITS: dict[str, dict[str, Any]] = {
    "file_text": _string("Content of the file to create."),
    "old_str": _string("Text to replace; it must occur exactly once."),
    "new_str": _string("Text that replaces old_str."),
    "insert_line": _LINE,
    "insert_text": _string("Text to insert."),
    "view_range": _LINES,
}
# Tools that the client runs and does not describe, by the beginning of their type. Models other than Claude
# do not know them, so they are described here.
_DESCRIBED = {
    "bash_": (
        "Runs a command in a shell that stays open.",
        _object(
            [],
            command=_string("Command to run."),
            restart={"type": "boolean", "description": "Restart the shell instead."},
        ),
    ),
    "text_editor_": (
        "Views, creates and edits text files.",
        _object(
            ["command", "path"],
            command=_string("What to do.", "view", "create", "str_replace", "insert"),
            path=_PATH,
            **_EDITS,
        ),
    ),
    "memory_": (
        "Reads and writes files below /memories, which outlast the conversation.",
        _object(
            ["command"],
            command=_string("What to do.", "view", "create", "str_replace", "insert", "delete", "rename"),
            path=_PATH,
            old_path=_string("Path of the file to rename."),
            new_path=_string("Its new path."),
            **_EDITS,
        ),
    ),
}


def tool_use_of(tools: list[ToolBody] | None, choice: ToolChoiceBody | None) -> ToolUse | None:
    """None if there are no functions. Raises BadRequest.

    Tools that Anthropic's servers would run, such as web search, are left out: agents always offer them, and
    do without.
    """
    functions: list[FunctionTool] = []
    places: dict[str, str] = {}
    left_out: list[ToolBody] = []
    for index, tool in enumerate(tools or []):
        function = _function(tool, f"tools[{index}]")
        if function is None:
            left_out.append(tool)
        else:
            functions.append(function)
            places[function.name] = f"tools[{index}].input_schema"
    if choice is None:
        return tool_use(functions, None, None, None, places)
    if choice.type not in _CHOICES:
        raise BadRequest(
            f"tool_choice.type: must be {', '.join(_CHOICES)}, not {choice.type[:40]!r}", "tool_choice.type"
        )
    named = required(choice.name, "tool_choice.name") if choice.type == "tool" else None
    parallel = None if choice.disable_parallel_tool_use is None else not choice.disable_parallel_tool_use
    if left_out:
        _check_choosable(_CHOICES[choice.type], named, functions, left_out)
    return tool_use(functions, _CHOICES[choice.type], named, parallel, places)


def _check_choosable(
    mode: str | None, named: str | None, functions: list[FunctionTool], left_out: list[ToolBody]
) -> None:
    """Raises BadRequest where only tools could be called that are left out."""
    if named is not None and all(function.name != named for function in functions):
        missing = [tool for tool in left_out if tool.name == named]
    else:
        missing = left_out if mode == "required" and not functions else []
    if missing:
        raise BadRequest(
            f"tool_choice: this server does not run tools of type {(missing[0].type or '')[:60]!r} and "
            "leaves them out; offer a function with an input_schema instead",
            "tool_choice",
        )


def _function(tool: ToolBody, where: str) -> FunctionTool | None:
    if tool.type in _CUSTOM:
        description, schema = tool.description, tool.input_schema
    else:
        known = next(
            (known for mark, known in _DESCRIBED.items() if (tool.type or "").startswith(mark)), None
        )
        if known is None:
            return None
        description, schema = known
    name = required(tool.name, f"{where}.name")
    return FunctionTool(name=name, description=description, parameters=schema, strict=tool.strict)
