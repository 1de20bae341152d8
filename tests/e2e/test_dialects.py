"""Tool loops with models that write what each dialect's models write: the client sees the same of all."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from tests.e2e.dialects import ANSWER, ARGUMENTS, DIALECTS, REASONING, SPLITS, USUAL, Dialect
from tests.e2e.serving import Serving

Body = dict[str, Any]

PARAMETERS: Body = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: list[Body] = [{"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}]
STOPS = ["END", "think", "tool", '"city"']  # which reasoning and calls contain


class Seen(msgspec.Struct):
    """What a client has of an answer."""

    reasoning: str = ""
    content: str = ""
    calls: list[tuple[str, str]] = []
    ids: list[str] = []
    finish: tuple[str, str | None] = ("", None)
    usage: Body = {}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Serving]:
    """One server of a model per dialect, each loaded when it is asked for."""
    ours: list[Any] = [item for item in request.session.items if item.path == request.path]
    wanted = {item.callspec.params["family"] for item in ours}
    settings = tmp_path_factory.mktemp("dialects") / "nacelle.toml"
    entries = "".join(_entry(family, DIALECTS[family].model()) for family in sorted(wanted))
    settings.write_text(entries)
    with Serving([], ["--config", str(settings)], {}) as serving:
        serving.wait_for("/health", 30.0)
        yield serving


def _entry(name: str, folder: Path) -> str:
    return f'\n[[models]]\nname = "{name}"\nsource = "{folder}"\nkv_cache_gib = 0.1\npreload = false\n'


def answer(server: Serving, family: str, messages: list[Body], **fields: Any) -> Seen:
    """Ask for a stream, and put it together."""
    body = {"model": family, "messages": messages, "tools": TOOLS, "stream": True}
    body |= {"stream_options": {"include_usage": True}, "max_tokens": 300, "temperature": 0} | fields
    response = server.http.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    seen = Seen()
    for line in response.text.split("\n\n"):
        if line.startswith("data: {"):
            _add(seen, json.loads(line.removeprefix("data: ")))
    return seen


def _add(seen: Seen, chunk: Body) -> None:
    if chunk["usage"]:
        seen.usage = chunk["usage"]
    for choice in chunk["choices"]:
        delta = choice["delta"]
        seen.reasoning += delta.get("reasoning_content") or ""
        seen.content += delta.get("content") or ""
        for call in delta.get("tool_calls") or []:
            if "id" in call:
                seen.calls.append((call["function"]["name"], ""))
                seen.ids.append(call["id"])
            name, arguments = seen.calls[call["index"]]
            seen.calls[call["index"]] = name, arguments + call["function"]["arguments"]
        if choice["finish_reason"]:
            seen.finish = choice["finish_reason"], choice.get("stop_reason")


def user(text: str) -> Body:
    return {"role": "user", "content": text}


def check_call(seen: Seen, row: Dialect) -> None:
    assert [(name, json.loads(arguments)) for name, arguments in seen.calls] == [("get_weather", ARGUMENTS)]
    assert (seen.reasoning, seen.finish) == (row.reasoning, ("tool_calls", None))


FAMILIES = [
    pytest.param(family, marks=() if family in USUAL else pytest.mark.all_dialects) for family in DIALECTS
]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tool_loop(server: Serving, family: str) -> None:
    row = DIALECTS[family]
    for split in range(SPLITS):
        messages = [user(f"How is the weather in paris{split}?")]
        called = answer(server, family, messages, stop=STOPS)
        check_call(called, row)
        assert called.content == row.look
        function = {"name": "get_weather", "arguments": called.calls[0][1]}
        call = {"id": called.ids[0], "type": "function", "function": function}
        said = {"role": "assistant", "content": called.content or None, "tool_calls": [call]}
        result = {"role": "tool", "tool_call_id": call["id"], "content": f"sunny{split}"}
        ended = answer(server, family, [*messages, said, result], stop=STOPS)
        assert (ended.reasoning, ended.content, ended.calls) == (row.reasoning, ANSWER, [])
        assert ended.finish == ("stop", "END")
        whole = answer(server, family, [*messages, said, result])
        assert (whole.reasoning, whole.content) == (row.reasoning, f"{ANSWER}END. More.")
        assert whole.finish == ("stop", None)
        assert ended.usage["completion_tokens"] < whole.usage["completion_tokens"]


UNCLOSED = pytest.mark.parametrize("family", [family for family in USUAL if DIALECTS[family].unclosed])
SCHEMA = {"type": "json_schema", "json_schema": {"name": "place", "schema": PARAMETERS, "strict": True}}


@UNCLOSED
@pytest.mark.parametrize(
    ("city", "fields"),
    [("lyon0", {"response_format": SCHEMA, "tools": None}), ("nice0", {"tool_choice": "required"})],
)
def test_where_the_prompt_begins_the_reasoning_a_grammar_allows_no_other(
    server: Serving, family: str, city: str, fields: Body
) -> None:
    seen = answer(server, family, [user(f"And {city}?")], reasoning_effort="high", **fields)
    assert seen.reasoning == REASONING
    (text,) = [arguments for _, arguments in seen.calls] or [seen.content]
    jsonschema.validate(json.loads(text), PARAMETERS)


@UNCLOSED
def test_a_call_in_reasoning_that_never_ends(server: Serving, family: str) -> None:
    seen = answer(server, family, [user("How is the weather in rome0?")], stop=STOPS)
    check_call(seen, DIALECTS[family])
    assert seen.content == ""
