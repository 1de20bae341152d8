"""What models write instead of their own format, what is cut off, and the text around calls."""

import json
from random import Random

import pytest

from frontend.parsing import TOOL_FORMAT_NAMES, parser_for
from frontend.parsing.events import CallArguments, CallBegun, Content, Reasoning
from tests.frontend.parsing import written
from tests.frontend.parsing.parsed import FUNCTIONS, Function, call, calls_of, formats, parse, read, text_of
from tests.frontend.parsing.test_tool_formats import CALLS, SEVERAL

FORMS = [name for name in TOOL_FORMAT_NAMES if name != "none"]
MARKED = [form for form in FORMS if form != "harmony"]
_F = '{"name": "f", "arguments": {"a": 1}}'
_G = '{"name": "g", "parameters": {"s": "}{ \\" `é😀"}}'
_CALLED = [("f", {"a": 1})]
_BOTH = [*_CALLED, ("g", {"s": '}{ " `é😀'})]


def found(text, form="hermes", **how):
    """Calls and content, however the text is cut."""
    events = parse(text, form, **how)
    chance = Random(text)
    for _ in range(5):
        cuts = sorted(chance.randrange(len(text) + 1) for _ in range(3))
        pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        assert read(pieces, formats(form), **how) == events
    return list(calls_of(events)), text_of(events)


@pytest.mark.parametrize("form", MARKED)
@pytest.mark.parametrize(
    "text",
    [
        _F,
        f"  {_F}\n",
        f"\n{_F}\n\n",
        f"```json\n{_F}\n```",
        f"```\n{_F}\n```\n",
        f"~~~json\n{_F}\n~~~\n",
        f"````json\n{_F}\n````",
        f"```JSON\n[{_F}]\n```",
        f"```tool_call\n{_F}\n``",
        '{"name": "f", "arguments": "{\\"a\\": 1}"}',
        '{"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}',
        '{"function": "f", "parameters": {"a": 1}}',
        "{'name': 'f', 'arguments': {'a': 1}}",
        json.dumps(json.loads(_F), indent=4),
    ],
)
def test_json_that_is_nothing_but_a_call_is_one_in_every_format(form, text):
    assert found(text, form) == (_CALLED, "")


@pytest.mark.parametrize(
    "text", [f"[{_F}, {_G}]", f"{_F}\n{_G}", f"```json\n[\n{_F},\n{_G}\n]\n```", f"```json\n{_F}\n{_G}\n```"]
)
def test_several_calls_may_lack_marks(text):
    assert found(text) == (_BOTH, "")


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "unknown", "arguments": {"a": 1}}',
        '{"name": "f", "arguments": [1]}',
        '{"name": "f", "arguments": "x"}',
        '{"name": "f"}',
        '{"name": "f", "arguments": {}, "age": 3}',
        f"{_F} is how it is called.",
        f"So: {_F}",
        f"I look:\n{_F}\nDone.",
        f"```json\n{_F}\n```\n\nThis is how it is called.",
        f"{_F}\n{_G}\n\nThese are examples.",
        "word " * 210 + f"\n{_F}",
        f"```json\n{_F}\nmore\n```",
        f"```python\n{_F}\n```",
        f"```json\n{_F}\n``` and more",
        f"```python\nx = 1\n{_F}\n```\n",
        f"[{_F}, 1]",
        f"[{_F}",
        _F[:-1],
        "[1] is a source.\n[2] is another.\n",
        "{\n{\n[\n```\n```json\n",
        "```json\n{}\n```",
        "Use this:\n\n```sh\nls\n```\n\n- a\n",
    ],
)
def test_other_json_is_content_unchanged(text):
    assert found(text) == ([], text)


@pytest.mark.parametrize("how", [{"tools": []}, {"bound": True}])
def test_json_without_marks_is_no_call_where_none_is_looked_for(how):
    parser = parser_for(formats("hermes"), **({"tools": FUNCTIONS, "prompt_tail": "", "eager": False} | how))
    assert parser is not None
    assert [*parser.feed(_F), *parser.finish()] == [Content(_F)]


def test_a_call_may_follow_a_block_that_is_none():
    for block in (f"```sh\n{_G}\n```", f"```json\n{_G}\n``` so", "```json\n{}\n```"):
        assert found(f"{block}\n{_F}\n") == (_CALLED, block)


def test_text_may_be_before_an_unmarked_call():
    text = f"I look:\n\n```json\n{_F}\n```\n\n{_G}\n"
    assert found(text) == (_BOTH, "I look:")


def test_a_block_with_a_longer_fence_quotes_others():
    for text in (f"````md\n```json\n{_F}\n```\n````\n", f"~~~sh\n```json\n{_F}\n```\n~~~\n"):
        assert found(text) == ([], text)


def test_a_tag_may_hold_a_block():
    text = f"<tool_call>\n```json\n{_F}\n```\n</tool_call>"
    assert found(text) == (_CALLED, "")


@pytest.mark.parametrize(
    "inside",
    [
        f"[{_F}, {_G}]",
        f"[\n  {_F},\n  {_G}\n]",
        f"{_F}\n{_G}",
        f"{_F}, {_G}",
        f"{_F}</tool_call>\n<tool_call>{_G}",
        f"{_F}\n<tool_call>\n{_G}",
    ],
)
def test_a_tag_may_hold_several_calls(inside):
    text = f"<tool_call>\n{inside}\n</tool_call>"
    assert found(text) == (_BOTH, "")
    assert list(calls_of(read([text], formats("hermes"), eager=True))) == _BOTH


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ("{'a': True, 'b': None, 'c': [False, 'it\\'s']}", {"a": True, "b": None, "c": [False, "it's"]}),
        ('{"a": True, "b": "False"}', {"a": True, "b": "False"}),
        ("'{\"a\": 1}'", {"a": 1}),
        ('""', {}),
        ("None", {}),
        ('{"é": "}{<tool_call>", "n": -1.5e+3}', {"é": "}{<tool_call>", "n": -1500.0}),
    ],
)
def test_arguments_may_be_python_or_a_string(arguments, values):
    assert found(f'<tool_call>\n{{"name": "f", "arguments": {arguments}}}\n</tool_call>') == (
        [("f", values)],
        "",
    )


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("First:<>Then done.", "First:\nThen done."),
        ("First:\n\n<>\n\nThen done.", "First:\n\nThen done."),
        ("First:\n<>Then done.", "First:\nThen done."),
        ("First:<>\n\nThen done.", "First:\n\nThen done."),
        ("First: <>Then done.", "First: Then done."),
        ("First:<> Then done.", "First: Then done."),
        ("First:\n<>\n\n\n<>\nThen done.", "First:\n\n\nThen done."),
        ("First:\n\n<>\n", "First:"),
        ("\n<>\n\nDone.", "Done."),
    ],
)
def test_text_around_calls_is_not_glued(text, content):
    assert found(text.replace("<>", f"<tool_call>{_F}</tool_call>"))[1] == content


def test_messages_of_harmony_are_not_glued():
    text = (
        "<|channel|>analysis<|message|>A.<|end|><|start|>assistant<|channel|>analysis<|message|>B.<|end|>"
        "<|start|>assistant<|channel|>commentary<|message|>First:<|end|>"
        "<|start|>assistant<|channel|>final<|message|>Done."
    )
    assert parse(text, "harmony", "harmony") == [Reasoning("A.\nB."), Content("First:\nDone.")]


@pytest.mark.parametrize("form", FORMS)
def test_a_forced_call_that_is_cut_off_shows_no_markup(form):
    for text in (*CALLS[form], SEVERAL[form]):
        for end in range(1, len(text)):
            events = read([text[:end]], formats(form), eager=True)
            assert not text_of(events), text[:end]


def test_a_forced_call_that_is_cut_off_keeps_its_beginning():
    assert parse('<tool_call>\n{"name": "f", "arguments": {"a": "tr', "hermes", eager=True) == [
        CallBegun(0, "f"),
        CallArguments(0, '{"a": "tr'),
    ]


@pytest.mark.parametrize("end", ["", "<|call|>", " \n<|call|>", "<|end|>"])
def test_a_call_of_harmony_may_have_no_arguments(end):
    text = f"<|channel|>commentary to=functions.f <|constrain|>json<|message|>{end}"
    assert parse(text, "harmony", "harmony") == call("f", "{}")


_ENDS_MISSING = "<tool_call>\n<function=h>\n<parameter=a>\n1\n"


@pytest.mark.parametrize(
    ("text", "before_another"),
    [
        (f"{_ENDS_MISSING}</parameter>\n</tool_call>", ([("h", {"a": 1}), ("h", {})], "")),
        (f"{_ENDS_MISSING}</tool_call>", ([], None)),  # nothing ends the parameter: all of it is content
        (f"{_ENDS_MISSING}</parameter>\n", ([("h", {})], f"{_ENDS_MISSING}</parameter>")),
        (f"{_ENDS_MISSING}</parameter>\n</function>\n", ([("h", {"a": 1}), ("h", {})], "")),
        (
            f"{_ENDS_MISSING.removeprefix('<tool_call>').lstrip()}</parameter>\n</tool_call>",
            ([("h", {"a": 1}), ("h", {})], ""),
        ),
    ],
)
def test_ends_of_a_qwen3_coder_call_may_be_missing(text, before_another):
    required = {"properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"]}
    tools = [Function("h", required)]
    assert found(text, "qwen3_coder", tools=tools) == ([("h", {"a": 1})], "")
    more = f"{text.rstrip()}\n<tool_call>\n<function=h>\n</tool_call>"
    calls, content = before_another
    assert found(more, "qwen3_coder", tools=tools) == (calls, more if content is None else content)


def test_the_end_of_a_call_may_be_missing_before_the_next():
    assert found(SEVERAL["nemotron_json"].replace("</TOOLCALL>", "") * 2, "nemotron_json")[0] == [
        ("f", {}),
        ("new", {}),
        ("f", {}),
        ("new", {}),
    ]


@pytest.mark.parametrize("form", sorted(written.CALLS))
def test_text_around_calls_of_every_format_is_content(form):
    text = written.CALLS[form][0].strip()
    assert found(f"I look:\n{text}\n\nDone.", form)[1] == "I look:\n\nDone."


_NOTE = [Function("note", {"properties": {"a": {"type": "string"}, "b": {"type": "string"}}})]


def test_a_value_of_qwen3_coder_may_hold_the_end_of_a_call_where_its_own_end_tag_follows():
    value = "a\n</function>\n</tool_call>\nb <c>"
    text = (
        f"<tool_call>\n<function=note>\n<parameter=a>\n{value}\n</parameter>\n</function>\n</tool_call>\nDone"
    )
    assert found(text, "qwen3_coder", tools=_NOTE) == ([("note", {"a": value})], "Done")


def test_text_and_calls_may_follow_a_call_of_qwen3_coder_without_its_end_tag():
    missing = "<tool_call>\n<function=note>\n<parameter=a>\nx\n</function>\n</tool_call>"
    more = missing.replace("\n</function>", "\n</parameter>\n</function>")
    called = ("note", {"a": "x"})
    assert found(f"{missing}\nThen <b>:\n{more}\nDone", "qwen3_coder", tools=_NOTE) == (
        [called, called],
        "Then <b>:\nDone",
    )


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>\n<function= note >\n<parameter= a >\nx\n</parameter>\n</function>\n</tool_call>",
        "<tool_call>\n<function=\"note\">\n<parameter='a'>\nx\n</parameter>\n</function>\n</tool_call>",
        "<tool_call>\r\n<function=note>\r\n<parameter=a>\r\nx\r\n</parameter>\r\n</function>\r\n</tool_call>",
    ],
)
def test_names_of_qwen3_coder_may_have_quotes_or_spaces_and_lines_may_end_otherwise(text):
    assert found(text, "qwen3_coder", tools=_NOTE) == ([("note", {"a": "x"})], "")


@pytest.mark.parametrize("ends_at", ["", "\n\n"])
def test_places_of_content_do_not_depend_on_how_the_text_is_cut(ends_at):
    missing = "<tool_call>\n<function=note>\n<parameter=a>\nx\n</function>\n</tool_call>"
    text = f"So\n\n<tool_call>\n\n no <b>\n{missing}\nThen\n\n<tool_call> {ends_at}```json\n{{}}\n```\nEnd"
    found_spans = []
    for size in (1, 2, 3, 7, len(text)):
        parser = parser_for(formats("qwen3_coder"), tools=_NOTE, prompt_tail="", eager=False)
        assert parser is not None
        spans = parser.trace_content()
        events = [e for at in range(0, len(text), size) for e in parser.feed(text[at : at + size])]
        events += parser.finish()
        content = text_of(events)
        assert sum(span.shown for span in spans) == len(content)
        at = 0
        for span in spans:
            at += span.glue
            assert text[span.start : span.end] == content[at : at + span.end - span.start]
            at += span.end - span.start
        found_spans.append([(span.start, span.end, span.glue) for span in spans])
    assert all(spans == found_spans[0] for spans in found_spans)


def test_a_mark_that_begins_like_a_list_may_arrive_in_pieces_after_a_newline():
    called = call("f", '{"a": 1}')
    assert parse('So:\n[TOOL_CALLS]f[ARGS]{"a": 1}', "mistral") == [Content("So:"), *called]
    assert parse('So:\n[TOOL_CALLS][{"name": "f", "arguments": {"a": 1}}]', "mistral") == [
        Content("So:"),
        *called,
    ]
    assert parse("So:\n[TOOL", "mistral") == [Content("So:\n[TOOL")]
    assert parse(f"So:\n[{_F}]", "mistral") == [Content("So:"), *called]
