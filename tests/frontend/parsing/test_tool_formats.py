"""Each format of tool calls, well-formed and malformed."""

import pytest

from frontend.parsing import parser_for
from frontend.parsing.events import CallArguments, Content, Reasoning
from tests.frontend.parsing import written
from tests.frontend.parsing.parsed import FUNCTIONS, Function, call, calls_of, formats, parse

WEATHER = Function(
    "get_weather",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "precise": {"type": "boolean"},
            "share": {"type": "number"},
            "unit": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "place": {"$ref": "#/$defs/Place"},
        },
        "$defs": {"Place": {"type": "object"}},
    },
)

CALLS = {
    "hermes": [
        '<tool_call>\n{"name": "f", "arguments": {"a": "}\\"{", "b": [1, {}]}}\n</tool_call>',
        '<tool_call>{"arguments": {"a": "}\\"{", "b": [1, {}]}, "name": "f"}</tool_call>\n',
        '<tool_call>{"name":"f","arguments":"{\\"a\\": \\"}\\\\\\"{\\", \\"b\\": [1, {}]}"}</tool_call>',
        '<tool_call>\n{"name": "f", "id": [{"x": 1}], "arguments": {"a": "}\\"{", "b": [1, {}]}}\n</tool_',
    ],
    "llama3_json": [
        '{"name": "f", "parameters": {"a": "}\\"{", "b": [1, {}]}}',
        ' {"type": "function", "name": "f", "parameters": {"a": "}\\"{", "b": [1, {}]}}<|eot_id|>',
        '<|python_tag|>{"name": "f", "parameters": {"a": "}\\"{", "b": [1, {}]}}<|eom_id|>',
    ],
    "pythonic": [
        "[f(a='}\"{', b=[1, {}])]",
        '<|python_start|>[f( a = "}\\"{" , b=(1,{},), )]<|python_end|><|eot|>',
        '{"name": "f", "parameters": {"a": "}\\"{", "b": [1, {}]}}',
    ],
    "mistral": [
        '[TOOL_CALLS][{"name": "f", "arguments": {"a": "}\\"{", "b": [1, {}]}}]</s>',
        '[TOOL_CALLS] [{"name": "f", "arguments": {"a": "}\\"{", "b": [1, {}]}, "id": "123456789"} ]',
        '[TOOL_CALLS]f[ARGS]{"a": "}\\"{", "b": [1, {}]}</s>',
        '[TOOL_CALLS]f[CALL_ID]123456789[ARGS]{"a": "}\\"{", "b": [1, {}]}',
    ],
    "harmony": [
        "<|channel|>commentary to=functions.f <|constrain|>json<|message|>"
        '{"a": "}\\"{", "b": [1, {}]}<|call|>',
        ' to=functions.f<|channel|>commentary json<|message|>{"a": "}\\"{", "b": [1, {}]}',
        '<|start|>assistant<|channel|>commentary to=f<|message|> {"a": "}\\"{", "b": [1, {}]}\n<|call|>',
    ],
    "qwen3_coder": [
        '<tool_call>\n<function=f>\n<parameter=a>\n}"{\n</parameter>\n<parameter=b>\n[1, {}]\n</parameter>\n'
        "</function>\n</tool_call>",
        '<function=f><parameter=a>}"{</parameter><parameter=b>[1, {}]</parameter></function></tool_call>',
    ],
}

CALLS |= written.CALLS


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize(("form", "text"), [(form, text) for form in CALLS for text in CALLS[form]])
def test_a_call_is_read_as_its_family_writes_it(form, text, eager):
    events = parse(text, form, eager=eager)
    assert list(calls_of(events)) == [("f", {"a": '}"{', "b": [1, {}]})]
    assert len(events) == 2  # so no part of the marks is left


SEVERAL = {
    "hermes": '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>\n'
    '<tool_call>{"name": "new"}</tool_call>',
    "llama3_json": '{"name": "f", "parameters": {}}; {"name": "g", "parameters": null}',
    "pythonic": "[f(), g()]",
    "mistral": '[TOOL_CALLS][{"name": "f", "arguments": {}}, {"name": "new", "arguments": {}}]',
    "harmony": "<|channel|>commentary to=functions.f<|message|>{}<|call|><|start|>assistant"
    "<|channel|>commentary to=functions.new<|message|>{}<|call|>",
    "qwen3_coder": "<tool_call><function=f></function></tool_call>\n"
    "<tool_call>\n<function=new>\n</function>\n</tool_call>",
}

SEVERAL |= written.SEVERAL


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("form", SEVERAL)
def test_several_calls_count_from_zero(form, eager):
    second = (
        "g" if form in ("llama3_json", "pythonic") else "new"
    )  # with a mark, the name need not be declared
    assert parse(SEVERAL[form], form, eager=eager) == call("f", "{}") + call(second, "{}", 1)


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("between", ["; ", ";", ", ", ",", " ", "\n", " ,\n"])
def test_calls_of_llama_3_are_separated_by_semicolons_commas_or_spaces(between, eager):
    text = between.join('{"name": "f", "parameters": {"a": 1}}' for _ in range(3))
    expected = [event for index in range(3) for event in call("f", '{"a": 1}', index)]
    assert parse(text, "llama3_json", eager=eager) == expected


def test_a_comma_without_a_call_after_it_is_content():
    text = '{"name": "f", "parameters": {}}, {"name": "Bob"}'
    assert parse(text, "llama3_json") == [*call("f", "{}"), Content(', {"name": "Bob"}')]


MALFORMED = {
    "hermes": [
        '<tool_call>{"name": 5}</tool_call>',
        '<tool_call>{"name": ""}</tool_call>',
        '<tool_call>{"arguments": {}}</tool_call>',
        '<tool_call>{"name": "f", "name": "g"}</tool_call>',
        '<tool_call>{"name": "f", "arguments": [1]}</tool_call>',
        '<tool_call>{"name": "f", "arguments": "no JSON"}</tool_call>',
        '<tool_call>{"name": "f", "arguments": {"a": 01}}</tool_call>',
        '<tool_call>{"name": "f", "arguments": {"a": tru}}</tool_call>',
        '<tool_call>{"name": "f", "arguments": {"a": "\n"}}</tool_call>',
        '<tool_call>{"name": "f", "arguments": {"a": "\\x"}}</tool_call>',
        '<tool_call>{"name": "f", "arguments": {"a" 1}}</tool_call>',
        '<tool_call>{"name": "f", "arguments": {"a": 1,}}</tool_call>',
        '<tool_call>{"name": "f", "arguments": {"a": [1}}}</tool_call>',
        '<tool_call>{"name": "\\ud800", "arguments": {}}</tool_call>',
        '<tool_call>{"name": "f", "arguments": {}} and more</tool_call>',
        '<tool_call>{"name": "f", "arguments": {"a": ' + "[" * 128 + "]" * 128 + "}}</tool_call>",
        '\n\n<tool_call>\n{"name": "f", "arguments": {"a',
        "</tool_call>",
        "a <tool_cal",
    ],
    "llama3_json": [
        '{"name": "Bob", "age": 3}',
        '{"name": "unknown", "parameters": {}}',
        '{"name": "f"}',
        '{"name": "f", "parameters": {}, "age": 3}',
        '{"city": "Paris", "name": "f"}',
        '{"name": "f", "parameters": {"a": 1}',
        'So: {"name": "f", "parameters": {}}',
        "<|python_tag|>print(1)",
        " \n",
    ],
    "pythonic": [
        "[1] is a source",
        "[unknown(a=1)]",
        "[f(1)]",
        "[f(a=b)]",
        "[f(a=__import__('os'))]",
        "[f(a=1, a=2)]",
        "[f(a=1e999)]",
        "[f(a='\\ud800')]",
        "[f(a='\\N{no such thing}')]",
        "[f(a='two\nlines')]",
        "[f(a={1: 2})]",
        "[f(a=" + "[" * 1000,
        "[f(a=--1)]",
        "[f(a=" + "1" * 10_000 + ")]",
        "f(a=1)",
        "[f",
    ],
    "mistral": [
        "[TOOL_CALLS] none",
        "[TOOL_CALLS][]",
        "[TOOL_CALLS]f[ARGS]no",
        "[TOOL_CALLS]f[ARGS]{",
        "[TOOL_CALLS][ARGS]{}",
        "[TOOL_CALLS][1]",
        "[TOOL_CAL",
    ],
    "qwen3_coder": [
        "<tool_call>{}</tool_call>",
        "<tool_call><function=></function></tool_call>",
        "<tool_call><function=f></function>more</tool_call>",
        "<function=f><parameter=a>1</parameter><parameter=a>2</parameter></function>",
        "<function=f><parameter=a>1</function>",
        "<function=f>\n<parameter=a>\n1\n</function>\nmore",
        "<tool_call>\n<function=f>\n<parameter=a>\n1\n</function>\n</tool_cal more",
        "<function=f>\n<parameter=a>\n1\n<parameter=b>\n2\n",
        "<function=f>",
    ],
}

MALFORMED |= written.MALFORMED


@pytest.mark.parametrize(("form", "text"), [(form, text) for form in MALFORMED for text in MALFORMED[form]])
def test_a_malformed_call_is_content_unchanged(form, text):
    assert parse(text, form) == [Content(text)]


def test_a_call_may_be_between_texts():
    text = 'One moment.\n\n<tool_call>{"name": "f", "arguments": {}}</tool_call>\n\n Done <b> \n'
    assert parse(text, "hermes") == [
        Content("One moment."),
        *call("f", "{}"),
        Content("\n\n Done <b> \n"),
    ]


def test_eight_newlines_before_a_mark_belong_to_it():
    text = "\n" * 20 + '<tool_call>{"name": "f"}</tool_call>' + "\n" * 20
    assert parse(text, "hermes") == [Content("\n" * 12), *call("f", "{}")]


def test_arguments_may_be_nested_deeply():
    deep = '{"a": ' + "[" * 127 + "]" * 127 + "}"
    text = f'<tool_call>{{"name": "f", "arguments": {deep}}}</tool_call>'
    assert parse(text, "hermes") == call("f", deep)


def test_a_valid_call_may_follow_a_malformed_one():
    text = '<tool_call>{"name": <tool_call>{"name": "f", "arguments": {}}</tool_call>'
    assert parse(text, "hermes") == [Content('<tool_call>{"name": '), *call("f", "{}")]


def test_a_malformed_list_keeps_the_calls_before_the_fault():
    text = '[TOOL_CALLS][{"name": "f", "arguments": {}}, oops'
    assert parse(text, "mistral") == [*call("f", "{}"), Content(", oops")]
    assert parse("[f(), oops", "pythonic") == [*call("f", "{}"), Content(", oops")]


def test_visible_marks_of_turn_ends_are_dropped():
    assert parse("Hello\n<|eot_id|>\n\nBye", "llama3_json") == [Content("HelloBye")]
    assert parse("Hello</s>", "mistral") == [Content("Hello")]


def test_text_streams_immediately_unless_it_may_become_a_mark():
    parser = parser_for(formats("hermes"), tools=FUNCTIONS, prompt_tail="", eager=False)
    assert parser is not None
    assert parser.feed("Hello") == [Content("Hello")]
    assert parser.feed(" <to") == [Content(" ")]
    assert parser.feed("ast>") == [Content("<toast>")]


@pytest.mark.parametrize(
    ("form", "begin"),
    [
        ("hermes", '<tool_call>\n{"name": "f"'),
        ("llama3_json", '{"name": "f"'),
        ("mistral", '[TOOL_CALLS][{"name": "f"'),
    ],
)
def test_an_eager_call_streams_its_name_and_then_its_arguments(form, begin):
    parser = parser_for(formats(form), tools=FUNCTIONS, prompt_tail="", eager=True)
    assert parser is not None
    begun, arguments = call("f", '{"a": "x')
    assert parser.feed(begin) == [begun]
    assert parser.feed(', "arguments": ') == []
    assert parser.feed('{"a": "x') == [arguments]
    assert parser.feed("y") == [CallArguments(0, "y")]


@pytest.mark.parametrize(
    ("form", "begin"),
    [
        ("mistral", "[TOOL_CALLS]f[ARGS]{"),
        ("harmony", "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"),
    ],
)
def test_an_eager_call_with_its_name_before_the_arguments_streams_too(form, begin):
    parser = parser_for(formats(form), tools=FUNCTIONS, prompt_tail="", eager=True)
    assert parser is not None
    assert parser.feed(begin) == call("f", "{")
    assert parser.feed('"a": "x') == [CallArguments(0, '"a": "x')]


def test_an_eager_call_that_ends_early_keeps_its_beginning():
    text = '<tool_call>{"name": "f", "arguments": {"a": "x'
    assert parse(text, "hermes", eager=True) == call("f", '{"a": "x')


def test_the_schema_determines_the_types_of_unquoted_values():
    values = {
        "city": ("12", "12"),
        "days": ("3", 3),
        "precise": ("True", True),
        "share": ("1", 1),
        "unit": ("null", None),
        "place": ('{"x": [1]}', {"x": [1]}),
        "other": ("[1]", [1]),
    }
    text = "".join(f"<parameter={key}>\n{text}\n</parameter>\n" for key, (text, _) in values.items())
    events = parse(f"<function=get_weather>\n{text}</function>", "qwen3_coder", tools=[WEATHER])
    assert list(calls_of(events)) == [("get_weather", {key: value for key, (_, value) in values.items()})]


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("days", "three", "three"),  # left to the client to reject
        ("days", "1.5", "1.5"),
        ("unit", "5", "5"),
        ("unit", '"a"', '"a"'),  # strings have no quotes in this format
        ("city", '"a"', '"a"'),
        ("other", '"a"', '"a"'),
        ("city", "\nParis\n", "\nParis\n"),
        ("city", "a</b> <c\n\nd", "a</b> <c\n\nd"),
        ("city", "", ""),
        ("other", "NaN", "NaN"),
        ("other", "[" * 2000, "[" * 2000),
    ],
)
def test_a_value_of_another_type_is_a_string(key, text, value):
    text = f"<function=get_weather>\n<parameter={key}>\n{text}\n</parameter>\n</function>"
    assert list(calls_of(parse(text, "qwen3_coder", tools=[WEATHER]))) == [("get_weather", {key: value})]


LOOSE = Function(
    "f",
    {
        "type": "object",
        "properties": {
            "array": {"type": "array"},
            "object": {"anyOf": [{"type": "object"}, {"type": "null"}]},
            "boolean": {"type": "boolean"},
            "integer": {"type": "integer"},
            "number": {"type": "number"},
            "either": {"type": ["array", "string"]},
            "string": {"type": "string"},
        },
    },
)


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("array", "['x', 'y']", ["x", "y"]),
        ("array", "('x', True, None)", ["x", True, None]),
        ("array", "[\n  {'it\\'s': 1.5},\n]", [{"it's": 1.5}]),
        ("array", '["a", true, False,]', ["a", True, False]),
        ("array", r"['\d']", ["\\d"]),
        ("object", "{'k': True}", {"k": True}),
        ("object", "None", None),
        ("boolean", "FALSE", False),
        ("boolean", "tRUE", True),
        ("boolean", " False ", False),
        ("integer", "+7", 7),
        ("number", "1.", 1.0),
    ],
)
def test_a_value_that_cannot_be_a_string_may_be_a_python_literal(key, text, value, eager):
    text = f"<function=f>\n<parameter={key}>\n{text}\n</parameter>\n</function>"
    assert list(calls_of(parse(text, "qwen3_coder", tools=[LOOSE], eager=eager))) == [("f", {key: value})]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("string", "['x']"),
        ("string", "FALSE"),
        ("either", "['x']"),  # it may be meant as a string
        ("undeclared", "['x']"),
        ("object", "['x']"),
        ("array", "'x'"),
        ("array", "['x'], ['y']"),
        ("array", "['x']) and more"),
        ("array", "['x'],"),
        ("array", "[__import__('os')]"),
        ("array", "['x' 'y']"),
        ("array", "[1e999]"),
        ("array", "[" * 1000 + "]" * 1000),
        ("array", f"['{'x' * 100_000}']"),
        ("object", "{1: 2}"),
        ("object", "{'a': 1, 'a': 2}"),
        ("integer", "1, a=2"),
        ("integer", "1,"),
        ("integer", "'1'"),
        ("integer", "1" * 10_000 + "."),
        ("integer", "TRUE"),
        ("boolean", "yes"),
    ],
)
def test_a_python_literal_of_another_type_or_a_malformed_one_stays_a_string(key, text):
    written = f"<function=f>\n<parameter={key}>\n{text}\n</parameter>\n</function>"
    assert list(calls_of(parse(written, "qwen3_coder", tools=[LOOSE]))) == [("f", {key: text})]


@pytest.mark.parametrize(
    ("begin", "end"), [("<tool_call>\n", "\n</tool_call>"), ("", ""), ("", "</tool_call>")]
)
@pytest.mark.parametrize(
    ("parameters", "arguments"),
    [
        ("<parameter=city>\nOslo\n<parameter=days>\n5\n</parameter>", {"city": "Oslo", "days": 5}),
        ("<parameter=city>\nOslo\n</parameter>\n<parameter=days>\n5", {"city": "Oslo", "days": 5}),
        ("<parameter=city>\nOslo\n<parameter=days>\n5", {"city": "Oslo", "days": 5}),
        ("<parameter=city>Oslo\n\n<parameter=days>5", {"city": "Oslo\n", "days": 5}),
        ("<parameter=city>\n<parameter=days>\n5", {"city": "", "days": 5}),
        (
            "<parameter=city>\n<function=f>\n</function>\nis one\n<parameter=days>\n5",
            {"city": "<function=f>\n</function>\nis one", "days": 5},
        ),
    ],
)
def test_a_parameter_without_end_tag_ends_before_the_next_or_with_the_function(
    parameters, arguments, begin, end
):
    text = f"{begin}<function=get_weather>\n{parameters}\n</function>{end}"
    events = parse(text, "qwen3_coder", tools=[WEATHER])
    assert list(calls_of(events)) == [("get_weather", arguments)]
    assert len(events) == 2


def test_more_may_follow_a_call_whose_parameter_lacks_its_end_tag():
    one = "<tool_call>\n<function=f>\n<parameter=a>\nx\n</function>\n</tool_call>\n"
    first, second = call("f", '{"a": "x"}'), call("f", '{"a": "x"}', 1)
    assert parse(f"{one}{one}Done.", "qwen3_coder") == [*first, *second, Content("Done.")]


ABOUT_CALLS = [
    "a <parameter=days> in a line",
    "a </function> in a line",
    "\n<parameter=unknown>\n5",
    "\n<parameter=city>\n5",  # a parameter that already has a value
    "\n<parameter=days\n",
    "a\n<parameter=>\n5",
    "a\n</function>\nb",
    "a\n</function>\n</tool_cal b",
    "<tool_call>\n<function=f>\n<parameter=days>\n5\n</function>\n</tool_call>\nis one",
    "a\n<function=f>\n</function>\n</tool_call>\n<tool_call>\n<function=f>\n</function>\n</tool_call>",
]


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("value", ABOUT_CALLS)
def test_a_value_that_contains_calls_extends_to_its_own_end_tag(value, eager):
    text = (
        f"<tool_call>\n<function=get_weather>\n<parameter=city>\n{value}\n</parameter>\n"
        "<parameter=days>\n5\n</parameter>\n</function>\n</tool_call>"
    )
    events = parse(text, "qwen3_coder", tools=[WEATHER], eager=eager)
    assert list(calls_of(events)) == [("get_weather", {"city": value, "days": 5})]


def test_with_a_grammar_only_the_end_tag_ends_a_parameter():
    value = "Oslo\n<parameter=days>\n5\n</function>\n</tool_call>"
    text = (
        f"<tool_call>\n<function=get_weather>\n<parameter=city>\n{value}\n</parameter>\n"
        "</function>\n</tool_call>"
    )
    events = parse(text, "qwen3_coder", tools=[WEATHER], eager=True)
    assert list(calls_of(events)) == [("get_weather", {"city": value})]


def test_every_parameter_has_a_name():
    text = "<function=f>\n<parameter=a>\nx\n<parameter=>\n1\n</parameter>\n</function>"
    tools = [Function("f", {"properties": {"a": {}, "": {}}})]
    assert list(calls_of(parse(text, "qwen3_coder", tools=tools))) == [("f", {"a": "x\n<parameter=>\n1"})]


def test_an_eager_call_with_unquoted_arguments_streams_each_one_at_its_end():
    parser = parser_for(formats("qwen3_coder"), tools=[WEATHER], prompt_tail="", eager=True)
    assert parser is not None
    begun, city = call("get_weather", '{"city": "Oslo"')
    assert parser.feed("<tool_call>\n<function=get_weather>\n<parameter=city>\n") == [begun]
    assert parser.feed("Oslo\n</parameter>") == [city]
    assert parser.feed("\n<parameter=days>\n5\n</parameter>") == [CallArguments(0, ', "days": 5')]


def test_a_circular_reference_determines_no_type():
    schema = {"properties": {"a": {"$ref": "#/properties/b"}, "b": {"$ref": "#/properties/a"}}}
    text = "<function=f>\n<parameter=a>\n1\n</parameter>\n</function>"
    assert list(calls_of(parse(text, "qwen3_coder", tools=[Function("f", schema)]))) == [("f", {"a": 1})]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-1", -1),
        ("1.5e3", 1500.0),
        ("None", None),
        ("true", True),
        (r"'a\n\x41\'\d'", "a\nA'\\d"),
        ('{"k": [True, ()]}', {"k": [True, []]}),
    ],
)
def test_python_literals_become_json(text, value):
    assert list(calls_of(parse(f"[f(a={text})]", "pythonic"))) == [("f", {"a": value})]


def test_harmony_channels_are_reasoning_and_content():
    text = (
        "<|channel|>analysis<|message|>Hm.\n<|end|><|start|>assistant<|channel|>commentary<|message|>First "
        "<|end|>\n<|start|>assistant<|channel|>final<|message|>a <b> <|c|>\n<|return|>"
    )
    expected = [Reasoning("Hm."), Content("First a <b> <|c|>")]
    assert parse(text, "harmony", "harmony") == expected
    assert parse(text, "harmony", "harmony", tools=None) == expected


def test_a_harmony_message_may_lack_its_end_or_its_header():
    assert parse("<|channel|>analysis<|message|>A<|channel|>final<|message|>B", "harmony", "harmony") == [
        Reasoning("A"),
        Content("B"),
    ]
    assert parse(" to the point", "harmony", "harmony") == [Content(" to the point")]
    assert parse("<|start|>user<|message|>Hi", "harmony", "harmony") == [
        Content("<|start|>user<|message|>Hi")
    ]
    assert parse("<|channel|>ana", "harmony", "harmony") == []


def test_a_prompt_may_end_within_a_harmony_message():
    tail = "<|start|>assistant<|channel|>final<|message|>The answer"
    assert parse(" is 42.<|return|>", "harmony", "harmony", prompt_tail=tail) == [Content(" is 42.")]
    tail = "…<|end|><|start|>assistant"
    assert parse("<|message|>Hi", "harmony", "harmony", prompt_tail=tail) == [Content("Hi")]


def test_without_tools_a_harmony_call_is_content():
    text = '<|channel|>commentary to=functions.f<|message|>{"a": 1}'
    assert parse(text, "harmony", "harmony", tools=None) == [Content(text)]
