"""Tools of namespaces and custom tools: what the model sees of them, and how their calls are answered."""

import itertools
import json
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.api.prompting import plan_turn
from frontend.api.responses.builder import ResponseBuilder
from frontend.api.responses.custom_input import CustomInput
from frontend.api.responses.items import items_of
from frontend.api.responses.request import offered_to, response_of, turn_of
from frontend.api.responses.stream import frames
from frontend.api.responses.tools import LeftOut, flat_name, left_out
from frontend.api.schema.responses import ResponsesRequest, ToolBody
from frontend.api.turns import Finished, TurnEvent, TurnUsage
from frontend.errors import BadRequest
from frontend.parsing import Dialect, tool_format
from frontend.parsing.events import CallArguments, CallBegun
from tests.frontend.api.openai_types import accumulated, checked_event

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FORECAST = {"type": "function", "name": "forecast", "description": "Of tomorrow.", "parameters": SCHEMA}
WEATHER = {
    "type": "namespace",
    "name": "mcp__weather",
    "description": "The weather.",
    "tools": [FORECAST, FORECAST | {"name": "now"}, {"type": "custom", "name": "note"}],
}
PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edit files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "x"+'},
}
DIGITS = {
    "type": "custom",
    "name": "dial",
    "format": {"type": "grammar", "syntax": "regex", "definition": "[0-9]+|x"},
}


def body_of(**fields: Any) -> ResponsesRequest:
    return msgspec.convert({"model": "m", "input": "hi", **fields}, ResponsesRequest)


def asked(**fields: Any) -> Any:
    body, ids = body_of(**fields), itertools.count()
    return turn_of(body, items_of(body.input, [], {}, lambda prefix: f"{prefix}_{next(ids)}"))[0]


def played(
    name: str, pieces: list[str], finish: Literal["tool_calls", "length"] = "tool_calls", **fields: Any
) -> list[Any]:
    """The events of a response whose model calls a function."""
    body, ids = body_of(**fields), itertools.count()
    new_id = lambda prefix: f"{prefix}_{next(ids)}"  # noqa: E731
    builder = ResponseBuilder(response_of(body, new_id, 0.0), new_id, lambda: 0.0, offered_to(body, []))
    said = builder.begin()
    arguments = [CallArguments(0, piece) for piece in pieces]
    turn: list[TurnEvent] = [CallBegun(0, name), *arguments, Finished(finish)]
    for event in turn:
        said += builder.apply(event, "call_{}".format)
    said += [*builder.end(TurnUsage(1, 1)), *builder.announce()]
    lines = frames(said).decode().split("\n\n")[:-1]
    return [checked_event(line.partition("\ndata: ")[2]) for line in lines]


def test_tools_of_a_namespace_get_one_name() -> None:
    use = asked(tools=[WEATHER, FORECAST]).tool_use
    names = ["mcp__weather__forecast", "mcp__weather__now", "mcp__weather__note", "forecast"]
    assert [tool.name for tool in use.tools] == names
    first, second, *_ = use.tools
    assert first.parameters == SCHEMA
    assert (first.description, second.description) == ("The weather.\n\nOf tomorrow.", "Of tomorrow.")


@pytest.mark.parametrize(
    ("namespace", "name", "flat"),
    [
        (None, "f", "f"),
        ("mcp__a", "f", "mcp__a__f"),
        ("mcp__a__", "f", "mcp__a__f"),
        ("mcp__apps__mail", "_search", "mcp__apps__mail___search"),
    ],
)
def test_the_name_of_a_function_in_a_namespace(namespace: str | None, name: str, flat: str) -> None:
    assert flat_name(namespace, name) == flat


def test_namespaces_that_join_to_one_name_stay_apart() -> None:
    one = {"type": "namespace", "name": "a", "description": "", "tools": [FORECAST | {"name": "b__c"}]}
    two = {"type": "namespace", "name": "a__b", "description": "", "tools": [FORECAST | {"name": "c"}]}
    assert [tool.name for tool in asked(tools=[one, two]).tool_use.tools] == ["a__b__c", "a__b__c_2"]
    (item,) = played("a__b__c_2", ["{}"], tools=[one, two])[-1].response.output
    assert (item.namespace, item.name) == ("a__b", "c")


COLLIDING = [
    {"type": "namespace", "name": "a", "tools": [FORECAST | {"name": "b__c"}]},
    {"type": "namespace", "name": "a__b", "tools": [FORECAST | {"name": "c"}]},
]


@pytest.mark.parametrize("offered", [COLLIDING, COLLIDING[:1]])
def test_a_call_in_the_history_has_the_name_that_its_tool_has(offered: list[Any]) -> None:
    calls = [
        {"type": "function_call", "call_id": str(index), "arguments": "{}", "namespace": where, "name": name}
        for index, (where, name) in enumerate([("a", "b__c"), ("a__b", "c")])
    ]
    (message,) = asked(input=calls, tools=offered).messages
    assert [call.name for call in message.tool_calls] == ["a__b__c", "a__b__c_2"]


def test_tools_of_several_lists_stay_apart_and_a_plain_name_stays_as_it_is() -> None:
    lists = [{"type": "additional_tools", "tools": [namespace]} for namespace in COLLIDING]
    plain = FORECAST | {"name": "a__b__c"}
    names = [tool.name for tool in asked(input=[*lists, {"role": "user", "content": "hi"}]).tool_use.tools]
    assert names == ["a__b__c", "a__b__c_2"]
    names = [tool.name for tool in asked(tools=[*COLLIDING, plain]).tool_use.tools]
    assert names == ["a__b__c_2", "a__b__c_3", "a__b__c"]


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ([{"type": "function"}], "input[1].tools[0].name"),
        ([FORECAST, FORECAST | {"name": 1}], "input[1].tools[1].name"),
        ([FORECAST, FORECAST], "input[1].tools"),
        ([FORECAST | {"parameters": []}], "input[1].tools[0].parameters"),
    ],
)
def test_a_fault_in_a_list_among_the_items_is_named_by_its_place(tools: list[Any], param: str) -> None:
    given = [{"role": "user", "content": "hi"}, {"type": "tool_search_output", "tools": tools}]
    with pytest.raises(BadRequest) as caught:
        asked(input=given)
    assert caught.value.param == param
    assert caught.value.message.startswith(param)


def test_what_is_left_out_is_reported_once_per_type() -> None:
    inner = {"type": "namespace", "name": "a", "tools": [{"type": "computer"}, {"type": "namespace"}]}
    bodies = msgspec.convert([{"type": "web_search"}, inner], list[ToolBody])
    reported: list[str] = []
    report = LeftOut(reported.append)
    for _ in range(2):
        report.add(bodies)
    assert reported == ["computer", "namespace", "web_search"]
    with pytest.raises(msgspec.ValidationError):
        body_of(tools=[{"type": "x" * 65}])


def test_a_call_is_answered_by_the_clients_names() -> None:
    events = played("mcp__weather__forecast", ['{"city":', '"Rome"}'], tools=[WEATHER])
    (item,) = events[-1].response.output
    assert (item.type, item.namespace, item.name) == ("function_call", "mcp__weather", "forecast")
    assert item.arguments == '{"city":"Rome"}'
    added = next(event for event in events if event.type == "response.output_item.added")
    assert (added.item.namespace, added.item.name) == ("mcp__weather", "forecast")
    (whole,) = accumulated(events).output
    assert (whole.namespace, whole.name, whole.arguments) == (item.namespace, item.name, item.arguments)
    (plain,) = played("forecast", ["{}"], tools=[FORECAST])[-1].response.output
    assert (plain.name, plain.namespace) == ("forecast", None)


def test_replayed_calls_have_the_models_name() -> None:
    called = {"call_id": "1", "namespace": "mcp__weather"}
    history = [
        {"role": "user", "content": "hi"},
        {"type": "function_call", "name": "forecast", "arguments": "{}", **called},
        {"type": "function_call_output", "call_id": "1", "output": "sun"},
        {"type": "custom_tool_call", "name": "note", "input": 'a "b"\n', **called | {"call_id": "2"}},
        {"type": "custom_tool_call_output", "call_id": "2", "output": "noted"},
    ]
    _, call, result, custom, noted = asked(input=history, tools=[WEATHER]).messages
    assert (call.tool_calls[0].name, result.name) == ("mcp__weather__forecast",) * 2
    assert (custom.tool_calls[0].name, noted.name) == ("mcp__weather__note",) * 2
    assert json.loads(custom.tool_calls[0].arguments) == {"input": 'a "b"\n'}
    assert (result.content, noted.content) == ("sun", "noted")


def test_a_custom_tool_is_a_function_of_one_string_that_shows_its_grammar() -> None:
    (patch,) = asked(tools=[PATCH]).tool_use.tools
    assert (patch.name, patch.description, patch.strict) == ("apply_patch", "Edit files.", False)
    assert 'start: "x"+' in patch.parameters["properties"]["input"]["description"]
    (dial,) = asked(tools=[DIGITS]).tool_use.tools
    assert dial.strict
    assert dial.parameters["properties"]["input"]["pattern"] == "^(?:[0-9]+|x)$"


def test_an_expression_that_cannot_be_enforced_is_refused_by_its_name() -> None:
    hermes = Dialect(tool_format("hermes"), None)
    form = {"type": "grammar", "syntax": "regex", "definition": r"(?P<a>x)(?P=a)"}
    with pytest.raises(BadRequest) as caught:
        plan_turn(asked(tools=[FORECAST, DIGITS | {"format": form}]), hermes)
    assert caught.value.param is not None
    assert caught.value.param.startswith("tools[1].format.definition")


def test_a_plain_name_stays_wherever_a_namespace_joins_to_it() -> None:
    plain = FORECAST | {"name": "mcp__weather__forecast"}
    spaced = WEATHER | {"tools": [FORECAST]}
    for tools in ([spaced, plain], [plain, spaced]):
        names = {tool.name for tool in asked(tools=tools).tool_use.tools}
        assert names == {"mcp__weather__forecast", "mcp__weather__forecast_2"}


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ("(?=a)b", ""),
        (r"ab\1", "at character 3"),
        ("a)|(?:b", "at character 1"),
        ("a(b", "at character 3"),
        (r"ab\b", "at character"),
        ("[a-z]{500}x{500}[a-z]*y{900}", ""),
    ],
)
def test_a_fault_in_an_expression_has_its_place_in_the_clients_text(definition: str, words: str) -> None:
    form = {"type": "grammar", "syntax": "regex", "definition": definition}
    with pytest.raises(BadRequest) as caught:
        plan_turn(asked(tools=[DIGITS | {"format": form}]), Dialect(tool_format("hermes"), None))
    assert caught.value.param == "tools[0].format.definition"
    assert caught.value.message.startswith("tools[0].format.definition: ")
    assert words in caught.value.message, caught.value.message


@pytest.mark.parametrize("definition", ["^a+$", "^a|b$", "a|", r"^a\$", r"\^a\\$"])
def test_what_is_enforced_is_taken(definition: str) -> None:
    form = {"type": "grammar", "syntax": "regex", "definition": definition}
    plan_turn(asked(tools=[DIGITS | {"format": form}]), Dialect(tool_format("hermes"), None))


def test_a_schema_in_a_namespace_is_refused_by_its_place() -> None:
    bad = FORECAST | {"name": "bad", "strict": True, "parameters": {"type": "object", "not": {}}}
    tools = [{"type": "web_search"}, WEATHER | {"tools": [FORECAST, bad]}]
    with pytest.raises(BadRequest) as caught:
        plan_turn(asked(tools=tools), Dialect(tool_format("hermes"), None))
    assert caught.value.param is not None
    assert caught.value.param.startswith("tools[1].tools[1].parameters")


def test_the_input_of_a_custom_tool_is_streamed_as_text() -> None:
    events = played(
        "apply_patch", ['{"input": "*** Begin', "\\n\\u00e9\\ud83d", '\\ude00"', "}"], tools=[PATCH]
    )
    text = "*** Begin\né😀"
    (item,) = events[-1].response.output
    assert (item.type, item.name, item.call_id, item.input) == (
        "custom_tool_call",
        "apply_patch",
        "call_0",
        text,
    )
    deltas = [event.delta for event in events if event.type == "response.custom_tool_call_input.delta"]
    assert deltas == ["*** Begin", "\né", "😀"]
    (done,) = [event for event in events if event.type == "response.custom_tool_call_input.done"]
    assert done.input == text
    assert accumulated(events).output == [item]


def test_an_input_that_was_cut_off_is_not_done() -> None:
    events = played("apply_patch", ['{"input": "abc'], "length", tools=[PATCH])
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.output[0].input == "abc"
    assert not [event for event in events if event.type == "response.custom_tool_call_input.done"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"input": "x"}', "x"),
        ('{"input": "x", "why": "y"}', "x"),
        ('{"why": "y", "input": "x"}', "x"),
        ('{"patch": "x"}', "x"),
        ('"x"', "x"),
        ('{"a": "x", "b": "y"}', '{"a": "x", "b": "y"}'),
        ('{"input": {"a": 1}}', '{"input": {"a": 1}}'),
        ('{"input": ""}', ""),
        ("", ""),
        ('{"input": "a\\udc00"}', "a\ufffd"),
        ('{"input": "a\\ud800"}', "a\ufffd"),
        ('{"input": "\\ud800x\\ud83d\\ude00"}', "\ufffdx\U0001f600"),
        ('{"patch": "\\udc00"}', "\ufffd"),
    ],
)
def test_arguments_of_another_form_are_not_lost(arguments: str, text: str) -> None:
    (item,) = played("apply_patch", [arguments] if arguments else [], tools=[PATCH])[-1].response.output
    assert item.input == text


@given(st.text(), st.booleans(), st.lists(st.integers(0, 300), max_size=8))
def test_an_input_is_the_same_however_it_is_cut(text: str, ascii_only: bool, cuts: list[int]) -> None:
    arguments = json.dumps({"input": text}, ensure_ascii=ascii_only)
    places = sorted({0, len(arguments), *(min(cut, len(arguments)) for cut in cuts)})
    reader = CustomInput()
    said = [reader.feed(arguments[begin:end]) for begin, end in itertools.pairwise(places)]
    assert "".join([*said, reader.rest()]) == text
    assert reader.rest() == ""


@pytest.mark.parametrize(
    ("choice", "names", "named"),
    [
        ({"type": "function", "namespace": "mcp__weather", "name": "now"}, None, "mcp__weather__now"),
        ({"type": "function", "name": "mcp__weather__now"}, None, "mcp__weather__now"),
        ({"type": "custom", "name": "apply_patch"}, None, "apply_patch"),
        ({"type": "namespace", "name": "mcp__weather"}, 3, None),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "custom", "name": "apply_patch"}],
            },
            1,
            None,
        ),
    ],
)
def test_a_choice_among_tools(choice: Any, names: int | None, named: str | None) -> None:
    use = asked(tools=[WEATHER, PATCH], tool_choice=choice).tool_use
    assert (use.choice, use.named, len(use.tools)) == ("required", named, names or 4)


def test_the_response_repeats_the_tools() -> None:
    events = played("apply_patch", ["{}"], tools=[WEATHER, PATCH])
    weather, patch = events[-1].response.tools
    assert (weather.type, [tool.name for tool in weather.tools]) == ("namespace", ["forecast", "now", "note"])
    assert (patch.type, patch.format.definition) == ("custom", 'start: "x"+')


def test_what_only_other_servers_can_run_is_left_out_and_named() -> None:
    bodies = msgspec.convert([{"type": "web_search"}, {"type": "file_search"}, PATCH], list[ToolBody])
    assert left_out(bodies) == ["file_search", "web_search"]
    assert [tool.name for tool in asked(tools=[{"type": "web_search"}, PATCH]).tool_use.tools] == [
        "apply_patch"
    ]


def test_tools_that_items_make_available_are_offered() -> None:
    lists = [{"type": "additional_tools", "role": "developer", "tools": [WEATHER]}] * 2
    spec = asked(input=[*lists, {"role": "user", "content": "hi"}], tools=[PATCH])
    assert len(spec.tool_use.tools) == 4
    assert [message.content for message in spec.messages] == ["hi"]
