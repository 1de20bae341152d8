"""A grammar forces calls out of any weights, and the parser of the same format reads them back."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import openvino_genai as genai
import pytest

from frontend.parsing import ToolFormat, detect
from frontend.structured import Format
from tests.frontend.parsing.parsed import Function, calls_of, formats, read

TOOLS = [
    Function(
        "get_weather",
        {
            "type": "object",
            "properties": {
                "city": {"enum": ["Paris", "Rome"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 9},
                "code": {"type": "string", "pattern": "^[a-c]{2}$"},
                "note": {"type": "string", "maxLength": 4},
            },
            "required": ["city", "days", "code"],
            "additionalProperties": False,
        },
    ),
    Function(
        "set_alarm",
        {
            "type": "object",
            "properties": {
                "at": {"$ref": "#/$defs/Time"},
                "loud": {"type": "boolean"},
                "unit": {"enum": ["€", None]},
            },
            "required": ["at", "loud", "unit"],
            "additionalProperties": False,
            "$defs": {
                "Time": {
                    "type": "object",
                    "properties": {"hour": {"enum": [7, 8]}},
                    "required": ["hour"],
                    "additionalProperties": False,
                }
            },
        },
    ),
    Function("stop", {"type": "object", "properties": {}, "additionalProperties": False}),
]
SCHEMAS = {tool.name: tool.parameters or {} for tool in TOOLS}

# The grammars of the others have the same parts. test_grammars_read_back.py has them all, without an engine.
MORE = ("nemotron_json", "kimi_k2", "glm47")
DIALECTS = {
    name: formats(name)
    for name in (*("hermes", "qwen3_coder", "llama3_json", "pythonic", "mistral", "harmony"), *MORE)
}
DIALECTS["mistral, listed"] = detect("[TOOL_CALLS] [")
FORMS = {name: dialect.tool_format for name, dialect in DIALECTS.items() if dialect.tool_format is not None}
SOME = {name: form for name, form in FORMS.items() if name not in MORE}

_PROMPT = "<|im_start|>user\nWhat is the weather in Paris?<|im_end|>\n<|im_start|>assistant\n"


def grammar_of(form: ToolFormat, tools: list[Function], *, at_least_one: bool, parallel: bool) -> Format:
    calls = {tool.name: form.arguments_format(tool.parameters) for tool in tools}
    return form.grammar(calls, at_least_one=at_least_one, parallel=parallel)


@pytest.fixture(scope="module")
def generate(qwen3_ir: Path) -> Iterator[Any]:
    tokenizer = genai.Tokenizer(str(qwen3_ir))
    scheduler = genai.SchedulerConfig()
    scheduler.num_kv_blocks = 500
    pipeline = genai.ContinuousBatchingPipeline(str(qwen3_ir), tokenizer, scheduler, "CPU")
    prompt = tokenizer.encode(_PROMPT, add_special_tokens=False).input_ids
    request_ids = iter(range(10_000))

    def run(
        grammars: Sequence[dict[str, Any] | None], max_tokens: int = 150, temperature: float = 0.0
    ) -> list[tuple[str, bool]]:
        """Of each, the text and whether the grammar came to an end."""
        handles = []
        for grammar in grammars:
            request_id = next(request_ids)
            config = genai.GenerationConfig(max_new_tokens=max_tokens)
            if temperature:
                config.do_sample, config.temperature, config.rng_seed = True, temperature, request_id
            if grammar is not None:
                config.structured_output_config = genai.StructuredOutputConfig(
                    structural_tags_config=json.dumps({"type": "structural_tag", "format": grammar})
                )
            handles.append(pipeline.add_request(request_id, prompt, config))
        ids: list[list[int]] = [[] for _ in grammars]
        ended = [False for _ in grammars]
        while pipeline.has_non_finished_requests():
            pipeline.step()
            for index, handle in enumerate(handles):
                while handle.can_read():
                    for output in handle.read().values():
                        ids[index] += output.generated_ids
                        ended[index] = output.finish_reason == genai.GenerationFinishReason.STOP
        return list(zip(map(tokenizer.decode, ids), ended, strict=True))

    yield run


def assert_valid(calls: list[tuple[str, Any]]) -> None:
    for name, arguments in calls:
        jsonschema.validate(arguments, SCHEMAS[name])


def test_a_forced_call_is_one_valid_call(generate):
    grammars = {
        (name, tool.name): grammar_of(form, [tool], at_least_one=True, parallel=False)
        for name, form in FORMS.items()
        for tool in (TOOLS if name not in MORE else TOOLS[:1])
    }
    texts = generate(list(grammars.values()), max_tokens=220)
    for (name, tool), (text, ended) in zip(grammars, texts, strict=True):
        assert ended, text
        for eager in (False, True):
            events = read(text, DIALECTS[name], tools=TOOLS, eager=eager)
            calls = list(calls_of(events))
            assert len(events) == 2, text
            assert [called for called, _ in calls] == [tool], text
            assert_valid(calls)


def test_parallel_calls_are_valid_each(generate):
    names = [*SOME, *SOME]
    grammars = [grammar_of(SOME[name], TOOLS, at_least_one=True, parallel=True) for name in names]
    several = 0
    for name, (text, ended) in zip(names, generate(grammars, temperature=1.0), strict=True):
        calls = list(calls_of(read(text, DIALECTS[name], tools=TOOLS)))
        assert calls or not ended, text
        assert_valid(calls)
        several += len(calls) > 1
    assert several


def test_a_model_that_may_call_may_also_speak(generate):
    grammars = [
        grammar_of(form, TOOLS, at_least_one=False, parallel=parallel)
        for form in SOME.values()
        for parallel in (False, True)
    ]
    (free, _), *texts = generate([None, *grammars], max_tokens=8)
    assert free and [text for text, _ in texts] == [free] * len(texts)


def test_forced_calls_stand_beside_another_format(generate):
    """As where the client asks for JSON and offers tools."""
    other = {"type": "json_schema", "json_schema": {"enum": ["other"]}}
    grammars = [
        {
            "type": "or",
            "elements": [grammar_of(form, TOOLS, at_least_one=True, parallel=parallel), other],
        }
        for form in SOME.values()
        for parallel in (False, True)
    ]
    assert all(text for text, _ in generate(grammars, max_tokens=4))


def test_text_without_quotes_may_hold_any_letters(generate):
    names = ["°C", "naïveté d", "Köder", "(a|b)*."]
    properties = {"Öde": {"enum": names[:3]}, "x": {"const": names[3]}}
    tool = Function("f", {"properties": properties, "required": list(properties)})
    ((text, ended),) = generate([grammar_of(FORMS["qwen3_coder"], [tool], at_least_one=True, parallel=False)])
    assert ended
    arguments = dict(calls_of(read(text, DIALECTS["qwen3_coder"], tools=[tool])))["f"]
    assert arguments["Öde"] in names
    assert arguments["x"] == names[3]
