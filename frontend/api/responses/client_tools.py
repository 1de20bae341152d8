"""Tools that OpenAI's API defines and that clients run themselves: shells and patches. Pure.

To the model each is a function of one object, and a call of it is an item of its own type. Arguments that are
no such object make the call a plain function call, so that the client can report what was wrong.
"""

from typing import Any

import msgspec

from frontend.api.schema.response_items import (
    ApplyPatchCallItem,
    ClientCallItem,
    ExecAction,
    LocalShellCallItem,
    PatchOperation,
    ShellAction,
    ShellCallItem,
)
from frontend.api.schema.responses import ToolBody
from frontend.api.schema.tools import FunctionTool

_SHELL = ["bash", "-lc"]
_STRINGS = {"type": "array", "items": {"type": "string"}}
_MILLISECONDS = {"type": "integer", "description": "Time limit in milliseconds."}
_PATCH = (
    "Of create_file and update_file, in the V4A format without its envelope: of a new file each line after a "
    "+; of an update sections that begin with @@, with unchanged lines after a blank, removed ones after a - "
    "and added ones after a +."
)


class _ClientTool(msgspec.Struct, frozen=True):
    prefix: str  # of ids
    field: str  # of the item, and the parameter
    description: str
    properties: dict[str, Any]
    required: list[str]
    item: Any
    value: Any


_TOOLS = {
    "local_shell": _ClientTool(
        "lsh",
        "action",
        "Run a program on the user's machine, and return its output.",
        {
            "type": {"enum": ["exec"]},
            "command": _STRINGS | {"description": 'Program and arguments, such as ["bash", "-lc", "ls -l"].'},
            "working_directory": {"type": "string"},
            "timeout_ms": _MILLISECONDS,
        },
        ["type", "command"],
        LocalShellCallItem,
        ExecAction,
    ),
    "shell": _ClientTool(
        "sh",
        "action",
        "Run commands in a shell on the user's machine, and return their outputs.",
        {"commands": _STRINGS, "timeout_ms": _MILLISECONDS},
        ["commands"],
        ShellCallItem,
        ShellAction,
    ),
    "apply_patch": _ClientTool(
        "apc",
        "operation",
        "Create, update or delete a file on the user's machine.",
        {
            "type": {"enum": ["create_file", "update_file", "delete_file"]},
            "path": {"type": "string"},
            "diff": {"type": "string", "description": _PATCH},
        },
        ["type", "path"],
        ApplyPatchCallItem,
        PatchOperation,
    ),
}
CLIENT_TOOLS = frozenset(_TOOLS)


def is_run_by_client(body: ToolBody) -> bool:
    """Whether it is one of these tools; a shell in a container of OpenAI's is not."""
    if body.type not in CLIENT_TOOLS:
        return False
    return not body.environment or body.environment.get("type") == "local"


def id_prefix(kind: str) -> str:
    return _TOOLS[kind].prefix


def function_of(kind: str) -> FunctionTool:
    """What the model sees."""
    tool = _TOOLS[kind]
    value = {
        "type": "object",
        "properties": tool.properties,
        "required": tool.required,
        "additionalProperties": False,
    }
    parameters = {
        "type": "object",
        "properties": {tool.field: value},
        "required": [tool.field],
        "additionalProperties": False,
    }
    return FunctionTool(name=kind, description=tool.description, parameters=parameters)


def item_of_call(kind: str, item_id: str, call_id: str, arguments: str) -> ClientCallItem | None:
    """The item for complete arguments, which may also be the object itself; None: they are something else."""
    tool = _TOOLS[kind]
    try:
        given = msgspec.json.decode(arguments, type=dict[str, Any])
        value = msgspec.convert(_listed(given.get(tool.field, given)), tool.value)
    except (msgspec.DecodeError, msgspec.ValidationError, ValueError):
        return None
    item: ClientCallItem = tool.item(**{"id": item_id, "call_id": call_id, tool.field: value})
    return item


def _listed(value: Any) -> Any:
    """With a line for the shell as the list that it stands for."""
    if not isinstance(value, dict):
        return value
    if isinstance(line := value.get("command"), str):
        return value | {"command": [*_SHELL, line]}
    if isinstance(line := value.get("commands"), str):
        return value | {"commands": [line]}
    return value
