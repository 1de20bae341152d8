"""A host dies in the middle of an answer that has a shape: it still comes whole, or ends in a typed error."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import jsonschema
import openai
import psutil
import pytest

from tests.e2e.serving import EXACT, Serving, wait_for

STORY = {
    "type": "object",
    "properties": {
        "title": {"enum": ["A", "B"]},
        "story": {"type": "string", "minLength": 60, "maxLength": 160},
    },
    "required": ["title", "story"],
    "additionalProperties": False,
}
TOOL: Any = {"type": "function", "function": {"name": "tell", "parameters": STORY}}
ASKED: Any = [{"role": "user", "content": "Tell a story."}]
EVENTS_BEFORE = 12

DEATHS = pytest.mark.parametrize(
    ("number", "sampling"),
    [
        (signal.SIGSEGV, {"temperature": 0}),
        (signal.SIGKILL, {"temperature": 1, "seed": 5}),
        (signal.SIGSEGV, {"temperature": 1}),
        (signal.SIGKILL, {"temperature": 1}),
    ],
    ids=["greedy", "seeded", "by chance", "by chance, killed from outside"],
)


@pytest.fixture(scope="module")
def tool_server(smollm2_ir: Path, qwen3_ir: Path, qwen35_ir: Path) -> Iterator[Serving]:
    """Here also "smollm2", a real model: it writes so slowly that its host can be killed in time."""
    models = ["smollm2", str(qwen3_ir), str(qwen35_ir)]
    with Serving(models, ["--kv-cache-gib", "0.25", *EXACT], {}) as serving:
        for name in ("smollm2", "qwen3", "qwen3.5"):
            serving.wait_until_ready(name)
        yield serving


def kill(server: Serving, model: str, number: signal.Signals) -> None:
    (replica,) = server.readiness(model)["replicas"]
    psutil.Process(replica["pid"]).send_signal(number)


def killed_after(
    events: Iterator[Any], server: Serving, model: str, number: signal.Signals, goes_on: bool = True
) -> list[Any]:
    """All events of a stream whose host is killed after the first dozen."""
    restarts = server.metric("nacelle_host_restarts_total", model=model)
    resumed = server.metric("nacelle_resumed_total", model=model)
    seen = [next(events) for _ in range(EVENTS_BEFORE)]
    kill(server, model, number)
    seen += events
    wait_for(
        lambda: server.metric("nacelle_host_restarts_total", model=model) > restarts, "the death is counted"
    )
    assert (server.metric("nacelle_resumed_total", model=model) > resumed) is goes_on
    return seen


@DEATHS
def test_a_forced_call(tool_server: Serving, tool_client: openai.OpenAI, number, sampling):
    stream = tool_client.chat.completions.create(
        model="smollm2", messages=ASKED, tools=[TOOL], tool_choice="required", max_tokens=300, stream=True,
        **sampling,
    )  # fmt: skip
    chunks = killed_after(iter(stream), tool_server, "smollm2", number)
    deltas = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert deltas[0].function.name == "tell"
    assert [delta.id for delta in deltas if delta.id] == [deltas[0].id]
    arguments = "".join(delta.function.arguments or "" for delta in deltas)
    jsonschema.validate(json.loads(arguments), STORY)
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


@DEATHS
def test_a_stream_bound_to_a_schema(tool_server: Serving, tool_client: openai.OpenAI, number, sampling):
    form: Any = {"type": "json_schema", "json_schema": {"name": "story", "schema": STORY, "strict": True}}
    stream = tool_client.chat.completions.create(
        model="smollm2", messages=ASKED, response_format=form, max_tokens=300, stream=True, **sampling
    )
    chunks = killed_after(iter(stream), tool_server, "smollm2", number)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    jsonschema.validate(json.loads(text), STORY)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_text_in_anthropics_form(tool_server: Serving, anthropic_client: anthropic.Anthropic):
    fields: Any = {
        "model": "qwen3",
        "messages": ASKED,
        "max_tokens": 600,
        "extra_body": {"temperature": 0, "ignore_eos": True},
    }
    undisturbed = anthropic_client.messages.create(**fields)
    stream = anthropic_client.messages.create(**fields, stream=True)
    events = killed_after(iter(stream), tool_server, "qwen3", signal.SIGKILL)
    assert [event.type for event in events[:2]] == ["message_start", "content_block_start"]
    pieces = [event.delta.text for event in events if event.type == "content_block_delta"]
    assert "".join(pieces) == undisturbed.content[0].text
    assert [event.type for event in events[-3:]] == ["content_block_stop", "message_delta", "message_stop"]
    assert events[-2].usage.output_tokens == undisturbed.usage.output_tokens


def test_a_stream_of_reasoning(tool_server: Serving, tool_client: openai.OpenAI):
    fields: Any = {
        "model": "qwen3.5",
        "input": "Think.",
        "temperature": 0,
        "max_output_tokens": 600,
        "extra_body": {"ignore_eos": True},
    }
    undisturbed = tool_client.responses.create(**fields)
    stream = tool_client.responses.create(**fields, stream=True)
    events = killed_after(iter(stream), tool_server, "qwen3.5", signal.SIGSEGV)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert any(event.type == "response.reasoning_text.delta" for event in events)
    last = events[-1]
    assert last.type == "response.incomplete"
    assert last.response.usage.output_tokens == 600
    assert [item.type for item in last.response.output] == [item.type for item in undisturbed.output]
    reasoning, undisturbed_reasoning = last.response.output[0], undisturbed.output[0]
    assert reasoning.content[0].text == undisturbed_reasoning.content[0].text
    pieces = [event.delta for event in events if event.type == "response.reasoning_text.delta"]
    assert "".join(pieces) == reasoning.content[0].text


def test_an_answer_that_cannot_be_had_again_ends_in_a_typed_error(
    tool_server: Serving, tool_client: openai.OpenAI
):
    """Penalties with chance: what was shown cannot be generated again, and must not be contradicted."""
    stream = tool_client.responses.create(
        model="smollm2",
        input="Tell a story.",
        temperature=1,
        max_output_tokens=300,
        stream=True,
        extra_body={"presence_penalty": 1, "ignore_eos": True},
    )
    events = killed_after(iter(stream), tool_server, "smollm2", signal.SIGKILL, goes_on=False)
    assert events[-1].type == "response.failed"
    assert events[-1].response.error.code
    assert events[-1].response.status == "failed"
