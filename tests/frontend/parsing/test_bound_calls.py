"""With a grammar, only what it watches for begins a call, whatever else the parser of the format reads."""

import pytest

from frontend.parsing import TOOL_FORMAT_NAMES, parser_for
from frontend.parsing.events import CallBegun, Content, Reasoning
from tests.frontend.parsing.parsed import Function, call, calls_of, formats, parse, read, text_of
from tests.frontend.parsing.test_tool_formats import CALLS, SEVERAL

FORMS = [name for name in TOOL_FORMAT_NAMES if name != "none"]
F = Function("f", {"type": "object", "properties": {"z": {"type": "integer"}}, "required": ["z"]})
_JSON = '{"name": "f", "arguments": {"a": 1}}'
_UNMARKED = (_JSON, f" {_JSON}", f"[{_JSON}]", f"```json\n{_JSON}\n```", f"{_JSON}\n{_JSON}")
_AT_START = ("llama3_json", "pythonic")  # whose grammars watch for calls at the beginning alone


def watched(form):
    """The triggers of a format's grammar, and whether they count only at the beginning."""
    found = formats(form).tool_format
    assert found is not None
    grammar = found.grammar({"f": {}}, at_least_one=False, parallel=False)
    if grammar["type"] == "or":
        grammar = grammar["elements"][0]
    assert grammar["type"] == "triggered_tags"
    assert grammar["stop_after_first"]
    for tag in grammar["tags"]:
        assert sum(tag["begin"].startswith(trigger) for trigger in grammar["triggers"]) == 1
    return grammar["triggers"], grammar["at_least_one"]


def count(events):
    return sum(isinstance(event, CallBegun) for event in events)


@pytest.mark.parametrize("form", FORMS)
def test_every_spelling_of_a_call_is_watched_for_or_not_read(form):
    triggers, at_start = watched(form)
    assert at_start == (form in _AT_START)
    read_ones = 0
    for spelling in (*CALLS[form], SEVERAL[form], *_UNMARKED, *(one for of in CALLS.values() for one in of)):
        for text in (spelling, f" {spelling}", f"So:\n{spelling}"):
            events = read([text], formats(form), tools=[F], bound=True)
            is_watched = (
                text.startswith(tuple(triggers)) if at_start else any(one in text for one in triggers)
            )
            assert is_watched or not count(events), text
            assert count(events) or text_of(events).strip()
            read_ones += count(events)
    assert read_ones


@pytest.mark.parametrize("form", FORMS)
def test_what_is_watched_for_is_read(form):
    triggers, _ = watched(form)
    own = [text for text in CALLS[form] if text.startswith(tuple(triggers))]
    assert own
    assert all(count(parse(text, form, bound=True)) == 1 for text in own)


@pytest.mark.parametrize("form", FORMS)
def test_calls_in_reasoning_that_the_prompt_began_are_not_watched_for(form):
    if form == "harmony":
        return
    for spelling in CALLS[form]:
        events = parse(f"I must.\n{spelling}", form, "think", prompt_tail="<think>\n", bound=True)
        assert [type(event) for event in events] == [Reasoning]


def test_a_grammar_watches_reasoning_that_the_model_began():
    text = f"<think>I must.\n<tool_call>{_JSON}</tool_call>"
    assert parse(text, "hermes", "think", bound=True) == [Reasoning("I must."), *call("f", '{"a": 1}')]


@pytest.mark.parametrize("form", _AT_START)
def test_a_call_after_reasoning_counts_where_the_grammar_begins_with_it(form):
    text = '{"name": "f", "parameters": {}}'
    how = {"tool_format": form, "reasoning": "think", "bound": True}
    after = parse(f"Hm.</think>{text}", prompt_tail="<think>\n", **how)
    assert after == [Reasoning("Hm."), *call("f", "{}")]
    for free, tail in ((f"Hm.</think>\n{text}", "<think>"), (f"<think>Hm.</think>{text}", "")):
        assert parse(free, prompt_tail=tail, **how) == [Reasoning("Hm."), Content(text)]
    forced = parse(f"Hm.</think>\n {text}", prompt_tail="<think>", whole=True, **how)
    assert forced == [Reasoning("Hm."), *call("f", "{}")]


@pytest.mark.parametrize("form", [form for form in FORMS if form != "harmony"])
def test_an_answer_with_a_format_may_hold_calls_as_text(form):
    for spelling in CALLS[form]:
        if form not in _AT_START:
            text = f'{{"text": {spelling!r}}}'
            for mark in formats(form).turn_ends:
                text = text.replace(mark, "")
            assert parse(text, form, bound=True, whole=True) == [Content(text)]


def test_a_value_ends_with_its_own_tag_where_a_grammar_writes_it():
    value = "a\n<parameter=b>\nc\n</function>\n</tool_call>"
    text = (
        f"<tool_call>\n<function=h>\n<parameter=a>\n{value}\n</parameter>\n<parameter=b>\n2\n</parameter>\n"
        "</function>\n</tool_call>"
    )
    tools = [Function("h", {"properties": {"a": {"type": "string"}, "b": {"type": "integer"}}})]
    events = read([text], formats("qwen3_coder"), tools=tools, bound=True)
    assert list(calls_of(events)) == [("h", {"a": value, "b": 2})]


@pytest.mark.parametrize("cut", [1, 5, 9])
def test_an_incomplete_beginning_is_content(cut):
    parser = parser_for(formats("llama3_json"), tools=[F], prompt_tail="", eager=False, bound=True)
    assert parser is not None
    text = '{"name": "f"'[:cut]
    assert [*parser.feed(text), *parser.finish()] == [Content(text)]


_DSML_CALL = (
    '<｜DSML｜invoke name="f">\n<｜DSML｜parameter name="p"{}{}</｜DSML｜parameter>\n</｜DSML｜invoke>\n'
)
_CODER = "<function=f>\n<parameter=p>{}\n{}\n</parameter>\n</function>\n"
TAGGED = {  # format → a call whose parameter is between an attribute and the end tag, and this
    "qwen3_coder": (f"<tool_call>\n{_CODER}</tool_call>", "</parameter>"),
    "seed_oss": (f"<seed:tool_call>\n{_CODER}</seed:tool_call>", "</parameter>"),
    "glm45": (
        "<tool_call>f\n<arg_key>p</arg_key>{}\n<arg_value>{}</arg_value>\n</tool_call>",
        "</arg_value>",
    ),
    "glm47": ("<tool_call>f<arg_key>p</arg_key>{}<arg_value>{}</arg_value></tool_call>", "</arg_value>"),
    "minimax_m2": (
        '<minimax:tool_call>\n<invoke name="f">\n<parameter name="p"{}>{}</parameter>\n</invoke>\n'
        "</minimax:tool_call>",
        "</parameter>",
    ),
    "deepseek_v32": (
        f"<｜DSML｜function_calls>\n{_DSML_CALL}</｜DSML｜function_calls>",
        "</｜DSML｜parameter>",
    ),
    "deepseek_v4": (f"<｜DSML｜tool_calls>\n{_DSML_CALL}</｜DSML｜tool_calls>", "</｜DSML｜parameter>"),
}


@pytest.mark.parametrize("form", TAGGED)
@pytest.mark.parametrize("eager", [True, False])
def test_an_end_tag_in_a_string_of_json_is_text(form, eager):
    written, end = TAGGED[form]
    for value in (f'{{"a": "{end} \\" {end}\\\\", "b": ["{end}"]}}', f'["\\\\", "{end}"]'):
        schema = {"type": "object", "properties": {"p": {"type": ["object", "array"]}}}
        attribute = ' string="false">' if "deepseek" in form else ""
        text = written.format(attribute, value)
        events = parse(text, form, tools=[Function("f", schema)], bound=True, eager=eager)
        assert events == call("f", f'{{"p": {value}}}')


@pytest.mark.parametrize("form", TAGGED)
def test_an_end_tag_ends_a_string_that_looks_like_json(form):
    written, _ = TAGGED[form]
    schema = {"type": "object", "properties": {"p": {"type": "string"}}}
    attribute = ' string="true">' if "deepseek" in form else ""
    events = parse(written.format(attribute, '{"a'), form, tools=[Function("f", schema)], bound=True)
    assert events == call("f", '{"p": "{\\"a"}')
