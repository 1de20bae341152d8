"""Detecting a model's formats from its chat template, and choosing a parser."""

import pytest

from frontend.parsing import REASONING_FORMAT_NAMES, TOOL_FORMAT_NAMES, detect, parser_for, tool_format
from tests.frontend.parsing.parsed import FUNCTIONS
from tests.models.templates import FAMILIES, chat_template

DIALECTS = {
    "qwen3": ("hermes", "think"),
    "qwen2.5": ("hermes", None),
    "hermes3": ("hermes", None),
    "qwq": ("hermes", "think"),
    "granite4": ("hermes", None),
    "smollm3": (None, "think"),
    "qwen3-coder": ("qwen3_coder", None),
    "qwen3.5": ("qwen3_coder", "think"),
    "nemotron3": ("qwen3_coder", "think"),
    "llama3.1": ("llama3_json", None),
    "llama3.2": ("llama3_json", None),
    "llama3.3": ("llama3_json", None),
    "lfm2.5": ("pythonic", "think"),
    "mistral-nemo": ("mistral", None),
    "mistral-small3.2": ("mistral", None),
    "ministral3": ("mistral", "mistral"),
    "gpt-oss": ("harmony", "harmony"),
    "deepseek-r1": (None, "think"),
    "deepseek-r1-distill": (None, "think"),
    "deepseek-v3.1": (None, "think"),
    "granite3.3": (None, "think"),
    "glm4.6": (None, "think"),
    "kimi-k2": (None, None),
    "minimax-m2": (None, "think"),
    "gemma2": (None, None),
    "phi3.5": (None, None),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_formats_of_a_family_are_detected_from_its_template(family):
    dialect = detect(chat_template(family))
    found = (dialect.tool_format, dialect.reasoning)
    assert tuple(form and form.name for form in found) == DIALECTS[family]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("{{ '<|python_start|>' }}", "pythonic"),
        ("format [func_name1(params_name1=params_value1), func_name2(params)]", "pythonic"),
        (r'{{ "{\"name\": function name, \"parameters\": dictionary" }}', "llama3_json"),
        ("{{ messages }}", None),
        ("", None),
    ],
)
def test_other_signs_of_a_tool_format(source, name):
    form = detect(source).tool_format
    assert (form and form.name) == name


def test_named_formats_override_detected_ones():
    source = chat_template("qwen3")
    named = detect(source, "mistral", "kimi")
    assert named.tool_format is tool_format("mistral")
    assert named.reasoning_markers == ["◁think▷", "◁/think▷"]
    off = detect(source, "none", "none")
    assert (off.tool_format, off.reasoning, off.reasoning_markers) == (None, None, [])


@pytest.mark.parametrize("names", [("hermess", None), (None, "thinks")])
def test_an_unknown_name_is_an_error(names):
    with pytest.raises(KeyError):
        detect("", *names)


def test_every_listed_name_is_known():
    for name in TOOL_FORMAT_NAMES:
        detect("", name)
    for name in REASONING_FORMAT_NAMES:
        detect("", None, name)


def test_there_is_no_parser_if_all_text_is_content():
    assert parser_for(detect(""), tools=FUNCTIONS, prompt_tail="", eager=False) is None
    assert parser_for(detect("", "hermes", "none"), tools=None, prompt_tail="", eager=False) is None
    assert parser_for(detect("", "none", "harmony"), tools=None, prompt_tail="", eager=False) is not None


def test_special_tokens_are_needed_if_marks_are_special_tokens():
    needing = {family for family in FAMILIES if detect(chat_template(family)).needs_special_tokens}
    assert needing == {
        family
        for family, (form, _) in DIALECTS.items()
        if form in ("llama3_json", "pythonic", "mistral", "harmony")
    }
