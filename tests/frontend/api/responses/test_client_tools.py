"""Shells and patches, which clients run: functions to the model, items of their own types to the client."""

import itertools
import json
from typing import Any

import msgspec
import pytest

from frontend.api.responses.client_tools import item_of_call
from frontend.api.responses.items import ItemImages, items_of, messages_of
from frontend.api.responses.records import Record
from frontend.api.responses.tools import left_out, offered_tools
from frontend.api.schema.responses import ToolBody
from tests.frontend.api.openai_types import accumulated
from tests.frontend.api.responses.test_tools import FORECAST, asked, played

EXEC = {"type": "exec", "command": ["ls", "-l"]}
UPDATE = {"type": "update_file", "path": "a.py", "diff": "@@\n-a\n+b"}
CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("local_shell", "action", EXEC),
    ("shell", "action", {"commands": ["pwd", "ls"]}),
    ("apply_patch", "operation", UPDATE),
    ("apply_patch", "operation", {"type": "delete_file", "path": "a.py"}),
]


def bodies(*tools: dict[str, Any]) -> list[ToolBody]:
    return msgspec.convert(list(tools), list[ToolBody])


@pytest.mark.parametrize(("kind", "field", "value"), CALLS)
def test_a_call_is_an_item_of_its_own_type_which_the_model_can_read_later(kind, field, value) -> None:
    text = json.dumps({field: value})
    events = played(kind, [text[:9], text[9:]], tools=[{"type": kind}])
    (item,) = events[-1].response.output
    assert (item.type, item.call_id, item.status) == (f"{kind}_call", "call_0", "completed")
    assert (
        getattr(item, field).to_dict(exclude_none=True)
        == ({"env": {}} if kind == "local_shell" else {}) | value
    )
    assert accumulated(events).output == [item]

    ids = itertools.count()
    sent = item.to_dict() | {"type": item.type}
    answer = {"type": "function_call_output", "call_id": "call_0", "output": "done"}
    items = items_of([sent, answer], [], {}, lambda prefix: f"{prefix}_{next(ids)}")
    call, result = messages_of(items, None, ItemImages(None))
    (made,) = call.tool_calls
    assert value.items() <= json.loads(made.arguments)[field].items()
    assert (made.name, result.content, result.name) == (kind, "done", kind)


@pytest.mark.parametrize(("kind", "field", "value"), CALLS)
def test_a_stored_call_is_read_like_one_that_was_sent(kind, field, value) -> None:
    stored = item_of_call(kind, "x_1", "call_0", json.dumps({field: value}))
    assert stored is not None
    decoded = msgspec.json.decode(msgspec.json.encode([stored]), type=Record.__annotations__["input"])
    answer = {"type": "function_call_output", "call_id": "call_0", "output": "done"}
    items = [*decoded, *items_of([answer], decoded, {}, lambda prefix: f"{prefix}_1")]
    call, result = messages_of(items, None, ItemImages(None))
    assert (call.tool_calls[0].name, result.content) == (kind, "done")


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ('{"command": ["ls"]}', ["ls"]),
        ('{"action": {"command": "ls -l | wc"}}', ["bash", "-lc", "ls -l | wc"]),
    ],
)
def test_a_command_in_another_form_is_understood(arguments: str, command: list[str]) -> None:
    (item,) = played("local_shell", [arguments], tools=[{"type": "local_shell"}])[-1].response.output
    assert item.action.command == command


@pytest.mark.parametrize(
    ("kind", "arguments", "finish"),
    [
        ("local_shell", "{}", "tool_calls"),
        ("local_shell", '{"action": {"command": []}}', "tool_calls"),
        ("shell", "[1]", "tool_calls"),
        ("apply_patch", '{"operation": {"type": "create_file", "path": "a"}}', "tool_calls"),
        ("local_shell", '{"action": {"type": "exec", "com', "length"),
    ],
)
def test_arguments_that_do_not_fit_are_those_of_a_function(kind, arguments, finish) -> None:
    (item,) = played(kind, [arguments], finish, tools=[{"type": kind}])[-1].response.output
    assert (item.type, item.name, item.arguments) == ("function_call", kind, arguments)


def test_what_a_client_runs_is_offered_and_a_container_is_not() -> None:
    local = {"type": "shell", "environment": {"type": "local"}}
    remote = {"type": "shell", "environment": {"type": "container_auto"}}
    names = [tool.name for tool in offered_tools(bodies(FORECAST, {"type": "local_shell"}, local))]
    assert names == ["forecast", "local_shell", "shell"]
    assert offered_tools(bodies(remote)) == []
    assert left_out(bodies(remote, {"type": "local_shell"})) == ["shell"]


def test_a_function_of_the_same_name_comes_first() -> None:
    own = FORECAST | {"name": "shell"}
    (tool,) = offered_tools(bodies({"type": "shell"}, own))
    assert not tool.is_run_by_client


def test_one_can_be_chosen_by_its_type() -> None:
    use = asked(tools=[FORECAST, {"type": "shell"}], tool_choice={"type": "shell"}).tool_use
    assert use.named == "shell"
