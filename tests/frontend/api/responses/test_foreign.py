"""Histories that were begun on other servers: no item makes them a 400, and none is lost."""

import itertools
import json
from typing import Any

import msgspec
import pytest

from frontend.api.responses.compaction import sealed
from frontend.api.responses.items import ItemImages, items_of, messages_of
from frontend.api.responses.records import Record
from frontend.api.responses.resource import page
from frontend.errors import BadRequest
from ipc.messages import ChatMessage, ToolCall

HI: dict[str, Any] = {"role": "user", "content": "hi"}
ACTION = {"type": "exec", "command": ["ls", "-l"], "env": {}}
PIXELS = "iVBORw0KGgo" * 200

# An item, or a call and its output, and what of it a model must be able to read.
FOREIGN: list[tuple[list[dict[str, Any]], list[str]]] = [
    (
        [
            {"type": "local_shell_call", "call_id": "c", "status": "completed", "action": ACTION},
            {"type": "local_shell_call_output", "call_id": "c", "output": "total 0"},
        ],
        ['"ls","-l"', "total 0"],
    ),
    (
        [
            {"type": "local_shell_call", "id": "lsh_1", "status": "completed", "action": ACTION},
            {"type": "local_shell_call_output", "id": "lsh_1", "output": "total 0"},
        ],
        ['"ls","-l"', "total 0"],
    ),
    (
        [
            {"type": "local_shell_call", "call_id": "c", "status": "completed", "action": ACTION},
            {"type": "function_call_output", "call_id": "c", "output": "total 0"},
        ],
        ['"ls","-l"', "total 0"],
    ),
    (
        [
            {"type": "shell_call", "call_id": "c", "action": {"commands": ["pwd"]}},
            {
                "type": "shell_call_output",
                "call_id": "c",
                "output": [{"stdout": "/root", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}],
            },
        ],
        ["pwd", "/root", "exit_code"],
    ),
    (
        [
            {
                "type": "apply_patch_call",
                "call_id": "c",
                "operation": {"type": "delete_file", "path": "a.py"},
            },
            {"type": "apply_patch_call_output", "call_id": "c", "status": "completed", "output": "deleted"},
        ],
        ["delete_file", "a.py", "deleted"],
    ),
    ([{"type": "web_search_call", "status": "completed", "action": {"query": "sun"}}], ["web_search", "sun"]),
    (
        [{"type": "file_search_call", "id": "fs", "queries": ["q"], "results": [{"text": "found it"}]}],
        ["file_search", '"q"', "found it"],
    ),
    (
        [{"type": "code_interpreter_call", "id": "ci", "code": "1+1", "outputs": [{"logs": "2"}]}],
        ["1+1", '"2"'],
    ),
    (
        [
            {
                "type": "mcp_call",
                "id": "m",
                "server_label": "gh",
                "name": "f",
                "arguments": '{"a":1}',
                "output": "42",
            }
        ],
        ["gh__f", '{"a":1}', "42"],
    ),
    ([{"type": "mcp_call", "id": "m", "server_label": "gh", "name": "f", "error": "no"}], ["gh__f", "no"]),
    ([{"type": "mcp_list_tools", "id": "l", "server_label": "gh", "tools": [{"name": "f"}]}], ["gh", '"f"']),
    (
        [
            {"type": "mcp_approval_request", "id": "r", "name": "f", "arguments": "{}"},
            {"type": "mcp_approval_response", "approval_request_id": "r", "approve": True},
        ],
        ["mcp_approval_request", '"approve":true'],
    ),
    ([{"type": "image_generation_call", "id": "i", "result": PIXELS}], ["image_generation"]),
    (
        [
            {"type": "tool_search_call", "call_id": "t", "arguments": {"query": "mail"}},
            {"type": "tool_search_output", "call_id": "t", "tools": [{"type": "function", "name": "send"}]},
        ],
        ["mail", "send"],
    ),
    ([{"type": "compaction", "encrypted_content": sealed("Ada asked.")}], ["Ada asked."]),
    ([{"type": "compaction", "encrypted_content": "Written by hand."}], ["Written by hand."]),
    ([{"type": "compaction", "encrypted_content": "gAAAAAB"}], ["compacted by another server"]),
    ([{"type": "thing_of_the_future", "id": 7, "says": ["a", {"b": None}]}], ["thing_of_the_future", '"a"']),
    ([{"type": "future_call_output", "call_id": "nobody's", "output": "orphan"}], ["orphan"]),
]


def items(given: list[Any]) -> list[Any]:
    ids = itertools.count()
    return items_of(given, [], {}, lambda prefix: f"{prefix}_{next(ids)}")


def messages(given: list[Any]) -> list[ChatMessage]:
    return messages_of(items(given), "Be brief.", ItemImages(given))


@pytest.mark.parametrize(("given", "words"), FOREIGN)
def test_what_other_servers_said_can_be_read(given: list[dict[str, Any]], words: list[str]) -> None:
    system, first, *between, last = messages([HI, *given, HI | {"content": "and?"}])
    assert (system.content, first.content, last.content) == ("Be brief.", "hi", "and?")
    said = " ".join(f"{m.content} {[(c.name, c.arguments) for c in m.tool_calls]}" for m in between)
    for word in words:
        assert word in said
    assert PIXELS not in said


@pytest.mark.parametrize(("given", "_words"), FOREIGN)
def test_each_call_has_an_object_of_arguments_and_one_result(given: list[Any], _words: list[str]) -> None:
    said = messages([HI, *given])
    calls = [call for message in said for call in message.tool_calls]
    results = [message for message in said if message.role == "tool"]
    assert [call.id for call in calls] == [result.tool_call_id for result in results]
    for call in calls:
        assert isinstance(json.loads(call.arguments), dict)
    assert all(result.content for result in results)


def test_a_shell_call_is_a_call_with_its_result() -> None:
    _, _, call, result = messages([HI, *FOREIGN[0][0]])
    arguments = msgspec.json.encode({"action": ACTION}).decode()
    assert call == ChatMessage("assistant", None, tool_calls=[ToolCall("c", "local_shell", arguments)])
    assert (result.role, result.content, result.tool_call_id) == ("tool", "total 0", "c")


def test_a_screenshot_is_an_image() -> None:
    output = {"type": "computer_screenshot", "image_url": "data:image/png;base64,AAAA"}
    given = [
        {"type": "computer_call", "call_id": "c", "action": {"type": "screenshot"}},
        {"type": "computer_call_output", "call_id": "c", "output": output},
    ]
    images = ItemImages(given)
    messages_of(items(given), None, images)
    (image,) = images.given.found
    assert image.where == "input[1].output[0]"


@pytest.mark.parametrize(("given", "_words"), FOREIGN)
def test_items_are_stored_and_listed_as_they_came(given: list[Any], _words: list[str]) -> None:
    stored = items(given)
    decoded = msgspec.json.decode(msgspec.json.encode(stored), type=Record.__annotations__["input"])
    assert decoded == stored
    listed = json.loads(msgspec.json.encode(page(decoded, None, 10)))["data"]
    for item, shown in zip(given, listed, strict=True):
        assert item.items() <= shown.items()


def test_an_output_without_a_call_is_still_refused() -> None:
    with pytest.raises(BadRequest):
        items([HI, {"type": "function_call_output", "call_id": "x", "output": "y"}])


def test_a_custom_tools_output_answers_a_foreign_call() -> None:
    given = [
        {"type": "apply_patch_call", "call_id": "c", "operation": {"path": "a.py"}},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "done"},
    ]
    said = messages_of(items(given), None, ItemImages(given))
    assert [(message.role, message.content) for message in said[1:]] == [("tool", "done")]
