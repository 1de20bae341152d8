"""Properties of every parser for any text."""

import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from frontend.parsing import TOOL_FORMAT_NAMES, parser_for
from frontend.parsing.events import CallArguments, CallBegun, Content, Event, Reasoning
from tests.frontend.parsing.parsed import FUNCTIONS, call, calls_of, formats, read, text_of, together
from tests.frontend.parsing.test_tool_formats import CALLS, MALFORMED, SEVERAL

_ALIKE = {  # these differ from others in their marks alone
    *("granite", "minimax", "apriel", "glm47", "deepseek_v31", "deepseek_v3", "deepseek_v4", "seed_oss"),
}
FORMS = [name for name in TOOL_FORMAT_NAMES if name != "none" and name not in _ALIKE]
_FIRST = ("hermes", "qwen3_coder", "llama3_json", "pythonic", "mistral", "harmony")

_FRAGMENTS = [
    *("<tool_call>", "</tool_call>", "<function=f>", "<parameter=a>", "</parameter>", "</function>"),
    *("\n<parameter=b>\n", "\n</function>\n", "['x', True]"),
    *("<|python_tag|>", "<|python_start|>", "<|python_end|>", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "</s>"),
    *("<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|end|>", "<|call|>", "<|return|>"),
    *("assistant", "analysis", "final", "commentary", " to=functions.f", "<|eot_id|>", "<think>", "</think>"),
    *('{"name": "f", ', '"arguments": {', '"parameters": {"a": ', "[f(", "a=1)]", "}", "]", '"', ";", "\\"),
    *("```json\n", "\n```", "\n[", '\n{"name": "f", "arguments": {}}', "function", "f", "True"),
    *("<|tool_call_start|>[f(", "<|tool_call_end|>", "<TOOLCALL>[", "]</TOOLCALL>", "</tool_call>\n"),
    *("<tool_call>f\n", "<arg_key>a</arg_key>", "<arg_value>", "</arg_value>", "</minimax:tool_call>"),
    *("<minimax:tool_call>", '<invoke name="f">', '<parameter name="a">', "</invoke>", "<|tool_call_end|>"),
    *("<|tool_call_begin|>functions.f:0", "<|tool_call_argument_begin|>{}", "<|tool_calls_section_end|>"),
    *("\n", "\n\n", " ", "1", "-", "0.5e", "true", "null", ", ", "é", "𝄞", "<", "[", "'"),
]
_WELL_FORMED = [text for form in FORMS for text in (*CALLS[form], SEVERAL[form], *MALFORMED.get(form, ()))]
texts = st.lists(
    st.one_of(
        st.sampled_from(_FRAGMENTS),
        st.sampled_from(_FRAGMENTS).flatmap(lambda text: st.integers(0, len(text)).map(lambda n: text[:n])),
        st.sampled_from([text for text in _WELL_FORMED if len(text) < 300]),
        st.text(max_size=5),
    ),
    max_size=12,
).map("".join)
how = st.fixed_dictionaries(
    {"eager": st.booleans(), "prompt_tail": st.sampled_from(["", "<think>\n", "</think>\n\n"])}
)


@pytest.mark.parametrize(
    ("form", "reasoning"),
    [(form, kind) for form in _FIRST for kind in ("none", "think", "harmony")]
    + [(form, "think") for form in FORMS if form not in _FIRST],
)
@given(text=texts, how=how, data=st.data())
@settings(max_examples=40)
def test_events_do_not_depend_on_how_the_text_is_split(form, reasoning, text, how, data):
    dialect = formats(form, reasoning)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole = read([text], dialect, **how)
    assert read(pieces, dialect, **how) == whole
    assert read(text, dialect, **how) == whole


@pytest.mark.parametrize("form", FORMS)
@given(text=texts, eager=st.booleans())
@settings(max_examples=60)
def test_events_come_in_order(form, text, eager):
    """Calls are numbered from 0, and the arguments of one end before the next begins."""
    current = -1
    for event in read(text, formats(form, "think"), eager=eager):
        if isinstance(event, CallBegun):
            assert event.index == current + 1
            current = event.index
        elif isinstance(event, CallArguments):
            assert event.index == current
        assert not isinstance(event, Content | Reasoning | CallArguments) or event.text


@pytest.mark.parametrize("form", FORMS)
@given(text=texts)
@settings(max_examples=60)
def test_calls_are_complete_unless_a_grammar_guarantees_them(form, text):
    for name, arguments in calls_of(read(text, formats(form))):
        assert name
        assert isinstance(arguments, dict)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "harmony"])
@given(text=texts)
@example(text="\n" * 20 + "<tool_call>" + "\n" * 20)
@settings(max_examples=60)
def test_without_a_call_every_character_is_content(form, text):
    """Except for the marks that end a turn and the newlines around them."""
    dialect = formats(form)
    for mark in dialect.turn_ends:
        text = text.replace(mark, "")
    if any(mark in text for mark in dialect.turn_ends):
        return
    events = read([text], dialect)
    if not any(isinstance(event, CallBegun) for event in events):
        assert text_of(events) == text


plain = st.text(alphabet="ab <>[]{}|/.,é\"'", min_size=1, max_size=12)
_floats = st.floats(allow_nan=False, allow_infinity=False)
json_objects = st.dictionaries(
    st.text(max_size=4),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@given(
    before=plain,
    turns=st.lists(st.tuples(st.sampled_from(["f", "ünï"]), json_objects, plain), min_size=1, max_size=3),
    ascii_only=st.booleans(),
)
@settings(max_examples=100)
def test_text_between_calls_is_complete_and_in_order(before, turns, ascii_only):
    text = before
    expected: list[Event] = [Content(before)]
    for index, (name, arguments, after) in enumerate(turns):
        written = json.dumps(arguments, ensure_ascii=ascii_only)
        opening = json.dumps({"name": name}, ensure_ascii=ascii_only)[:-1]
        text += f'\n<tool_call>\n{opening}, "arguments": {written}}}\n</tool_call>\n{after}'
        expected += [*call(name, written, index), Content(f"\n{after}")]
    assert read(text, formats("hermes")) == expected
    # With a grammar, what may be the beginning of a mark at the end of the text is a call that was cut off.
    eager = read(text, formats("hermes"), eager=True)
    if text.endswith("\n<"):
        assert eager == expected[:-1]
    else:
        assert together([*eager, *[Content("<")] * text.endswith("<")]) == expected


@given(
    values=st.lists(st.text(alphabet="ab\n <>/é'", max_size=8), min_size=1, max_size=4),
    ends=st.lists(st.booleans(), min_size=4, max_size=4),
    after=plain,
)
@settings(max_examples=100)
def test_an_unquoted_argument_may_lack_its_end_tag(values, ends, after):
    text = "<tool_call>\n<function=f>\n"
    for index, value in enumerate(values):
        end = "</parameter>\n" if ends[index] else ""
        text += f"<parameter=k{index}>\n{value}\n{end}"
    events = read([f"{text}</function>\n</tool_call>\n{after}"], formats("qwen3_coder"))
    arguments = {f"k{index}": value for index, value in enumerate(values)}
    assert events == [*call("f", json.dumps(arguments, ensure_ascii=False)), Content(after)]


@given(thought=plain, after=plain, opened=st.booleans())
def test_reasoning_and_content_are_complete(thought, after, opened):
    begin, tail = ("", "<think>\n") if opened else ("<think>\n", "")
    text = f"{begin}{thought}\n</think>\n\n{after}"
    events = read([text], formats("none", "think"), prompt_tail=tail, tools=None)
    assert events == [Reasoning(thought), Content(after)]


LONG = 200_000  # characters
_NUMBERS = "1, " * (LONG // 3) + "1"
_ARGUMENTS = '<tool_call>{"name": "f", "arguments": {"a": '
_LONG_TEXTS = {
    "text": ("hermes", "think", "some words, <b>, and\n" * (LONG // 20)),
    "newlines": ("hermes", "think", "\n" * LONG),
    "spaces": ("llama3_json", "none", " " * LONG),
    "openings": ("hermes", "none", "<tool_call>" * (LONG // 11)),
    "half openings": ("hermes", "none", "<tool_cal" * (LONG // 9)),
    "broken calls": ("hermes", "none", f'{_ARGUMENTS}"' * (LONG // 45)),
    "nesting": ("hermes", "none", _ARGUMENTS + "[" * LONG),
    "arguments": ("hermes", "none", f"{_ARGUMENTS}[{_NUMBERS}]}}}}</tool_call>"),
    "number": ("hermes", "none", _ARGUMENTS + "1" * LONG + "}}</tool_call>"),
    "escapes": ("hermes", "none", f'{_ARGUMENTS}"' + "\\n" * (LONG // 2)),
    "name": ("hermes", "none", '<tool_call>{"name": "' + "f" * LONG),
    "tags": ("qwen3_coder", "none", "<function=f><parameter=a>" + "<b" * (LONG // 2)),
    "ends of no value": (
        "qwen3_coder",
        "none",
        "<function=f><parameter=a>" + "\n</function> \n" * (LONG // 14),
    ),
    "next ones of no value": (
        "qwen3_coder",
        "none",
        "<function=f><parameter=a>" + "\n<parameter=a>" * (LONG // 14),
    ),
    "endless next one": ("qwen3_coder", "none", "<function=f><parameter=a>\n<parameter=" + "b" * LONG),
    "list": ("pythonic", "none", f"[f(a=[{_NUMBERS}])]"),
    "string": ("pythonic", "none", "[f(a='" + "x" * LONG),
    "calls": ("mistral", "none", "[TOOL_CALLS]f[ARGS]{}" * (LONG // 21)),
    "headers": ("harmony", "harmony", "<|start|>assistant<|channel|>" * (LONG // 29)),
    "channels": ("harmony", "harmony", "<|channel|>final<|message|><|end|>" * (LONG // 34) + "x"),
    "thought": ("harmony", "harmony", "<|channel|>analysis<|message|>" + "Hm <|x|> \n" * (LONG // 10)),
    "thinking": ("none", "think", "<think>" + "</thin" * (LONG // 6)),
}


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("kind", _LONG_TEXTS)
def test_the_work_is_linear_in_the_text(kind, eager):
    """Quadratic work on that many pieces would take minutes."""
    form, reasoning, text = _LONG_TEXTS[kind]
    parser = parser_for(formats(form, reasoning), tools=FUNCTIONS, prompt_tail="", eager=eager)
    assert parser is not None
    events: list[Event] = []
    began = time.process_time()
    for start in range(0, len(text), 4):
        events += parser.feed(text[start : start + 4])
    events += parser.finish()
    assert time.process_time() - began < 5
    assert events or eager  # with a grammar, what never becomes a call is one that was cut off
