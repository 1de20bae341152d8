"""The `openai` client's Responses API against a real server with a real model."""

import json
import re
from pathlib import Path

import openai
import pytest
from pydantic import BaseModel

from tests.e2e.serving import MODEL, Serving, wait_for
from tests.frontend.api.openai_types import checked_response

PARIS = "What is the capital of France?"
GREEDY = {"model": MODEL, "temperature": 0}
SHORT = GREEDY | {"max_output_tokens": 24}  # the model may find no end by itself
TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


class City(BaseModel):
    name: str
    is_capital: bool


def test_a_response_is_answered_with_usage(client):
    answer = client.responses.create(**GREEDY, input=PARIS, max_output_tokens=30)
    assert "Paris" in answer.output_text
    assert (answer.status, answer.object) == ("completed", "response")
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    assert answer.usage.input_tokens > 20


def test_the_clients_accumulator_follows_a_stream(client):
    whole = client.responses.create(**GREEDY, input=PARIS, max_output_tokens=30)
    with client.responses.stream(**GREEDY, input=PARIS, max_output_tokens=30) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == final.output_text
    assert final.output_text == whole.output_text
    assert final.usage.output_tokens == whole.usage.output_tokens


def test_the_token_limit_makes_a_response_incomplete(client):
    answer = client.responses.create(**GREEDY, max_output_tokens=4, input="Tell a long story.")
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert answer.usage.output_tokens == 4
    events = list(
        client.responses.create(**GREEDY, max_output_tokens=4, input="Tell a long story.", stream=True)
    )
    assert events[-1].type == "response.incomplete"


def test_a_conversation_is_continued_by_the_previous_responses_id(client):
    first = client.responses.create(**SHORT, input="My name is Ada.", instructions="Be kind.")
    second = client.responses.create(**SHORT, input="What is my name?", previous_response_id=first.id)
    items = client.responses.input_items.list(second.id, order="asc").data
    assert [item.role for item in items] == ["user", "assistant", "user"]
    assert items[1].content[0].text == first.output_text
    same = client.responses.create(
        **SHORT,
        input=[
            {"role": "user", "content": "My name is Ada."},
            *[item.model_dump(exclude_none=True) for item in first.output],
            {"role": "user", "content": "What is my name?"},
        ],
    )
    assert same.output_text == second.output_text
    assert same.usage.input_tokens == second.usage.input_tokens


def test_a_format_is_kept_to(client):
    answer = client.responses.parse(**GREEDY, input=PARIS, text_format=City, max_output_tokens=60)
    assert isinstance(answer.output_parsed, City)


def test_a_function_is_called_and_its_output_understood(client):
    question = {"role": "user", "content": "How is the weather in Paris?"}
    fields = GREEDY | {"tools": [TOOL], "max_output_tokens": 60}
    answer = client.responses.create(
        **fields, input=[question], tool_choice={"type": "function", "name": "get_weather"}
    )
    (call,) = [item for item in answer.output if item.type == "function_call"]
    assert call.name == "get_weather"
    assert json.loads(call.arguments)["city"] in ("Paris", "Rome")
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny, 20 °C"}
    end = client.responses.create(
        **fields, input=[output], previous_response_id=answer.id, tool_choice="none"
    )
    assert end.output_text
    with client.responses.stream(**fields, input=[question], tool_choice="required") as stream:
        events = list(stream)
    (done,) = [event for event in events if event.type == "response.function_call_arguments.done"]
    assert json.loads(done.arguments)["city"] in ("Paris", "Rome")


def test_a_stored_response_can_be_had_until_it_is_deleted(client):
    answer = client.responses.create(**GREEDY, input=PARIS)
    assert client.responses.retrieve(answer.id) == answer
    client.responses.delete(answer.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(answer.id)


def test_a_background_response_is_polled(client):
    answer = client.responses.create(**GREEDY, input=PARIS, background=True)
    assert answer.status == "queued"
    done = wait_for(
        lambda: (a := client.responses.retrieve(answer.id)).status == "completed" and a, "completed"
    )
    assert "Paris" in done.output_text


def test_a_cancelled_background_response_leaves_the_engine(client, server: Serving):
    answer = client.responses.create(
        **GREEDY,
        input="Count.",
        background=True,
        max_output_tokens=4000,
        extra_body={"ignore_eos": True},
    )
    wait_for(server.running, "running")
    assert client.responses.cancel(answer.id).status == "cancelled"
    wait_for(lambda: not server.running(), "gone from the engine")
    assert client.responses.retrieve(answer.id).status == "cancelled"


def test_a_refusal_is_a_400_also_for_a_stream(client):
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as caught:
            client.responses.create(model=MODEL, input="word " * 9000, stream=stream)
        assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.NotFoundError) as missing:
        client.responses.create(model="nobody", input=PARIS)
    assert missing.value.code == "model_not_found"


def test_an_input_too_long_is_refused_or_truncated_as_asked(start):
    long = "word " * 1200
    with start("--context-length", "1024") as server, server.client() as client:
        with pytest.raises(openai.BadRequestError) as caught:
            client.responses.create(**GREEDY, max_output_tokens=4, input=long)
        assert caught.value.code == "context_length_exceeded"
        answer = client.responses.create(**GREEDY, max_output_tokens=4, input=long, truncation="auto")
        assert answer.usage.output_tokens == 4


def test_what_is_stored_in_a_file_outlives_the_server(start, tmp_path: Path):
    store = f"sqlite:{tmp_path / 'sessions.db'}"
    with start("--session-store", store) as first, first.client() as client:
        answer = client.responses.create(**SHORT, input="My name is Ada.")
    with start("--session-store", store) as second, second.client() as client:
        assert client.responses.retrieve(answer.id) == answer
        client.responses.create(**SHORT, input="What is my name?", previous_response_id=answer.id)


def test_the_wire_holds_nothing_that_clients_do_not_know(server: Serving):
    body = server.http.post("/v1/responses", json=GREEDY | {"input": PARIS, "max_output_tokens": 5})
    checked_response(body.content)


def test_a_background_stream_outlives_its_connection(client):
    fields = SHORT | {"input": PARIS, "background": True}
    seen = []
    with client.responses.create(**fields, stream=True) as stream:
        for event in stream:
            seen.append(event)
            if event.type == "response.output_text.delta":
                break
    response_id = seen[0].response.id
    rest = list(client.responses.retrieve(response_id, stream=True, starting_after=seen[-1].sequence_number))
    assert rest[-1].type in ("response.completed", "response.incomplete")
    whole = list(client.responses.retrieve(response_id, stream=True))
    assert whole == [*seen, *rest]
    assert [event.sequence_number for event in whole] == list(range(len(whole)))
    assert client.responses.retrieve(response_id).output_text == rest[-1].response.output_text


def test_the_clients_stream_helper_resumes(client):
    with client.responses.stream(**GREEDY, input=PARIS, max_output_tokens=12, background=True) as stream:
        final = list(stream)[-1].response
    with client.responses.stream(response_id=final.id, starting_after=4) as stream:
        events = list(stream)
    assert events[0].sequence_number == 5
    assert events[-1].response.output_text == final.output_text


def test_input_tokens_are_those_that_a_response_counts(client):
    fields = {"model": MODEL, "input": PARIS, "instructions": "Be brief.", "tools": [TOOL]}
    answer = client.responses.create(**fields, max_output_tokens=1)
    assert client.responses.input_tokens.count(**fields).input_tokens == answer.usage.input_tokens


def test_a_compacted_conversation_goes_on(client):
    first = client.responses.create(**GREEDY, input="My name is Ada.", max_output_tokens=4)
    few = {"max_output_tokens": 12}
    compacted = client.responses.compact(model=MODEL, previous_response_id=first.id, extra_body=few)
    assert [item.type for item in compacted.output] == ["message", "compaction"]
    assert compacted.usage.output_tokens > 0
    given = [item.model_dump(exclude_none=True, warnings=False) for item in compacted.output]
    given.append({"role": "user", "content": "Hi."})
    assert client.responses.create(**GREEDY, input=given, max_output_tokens=4).output_text


def test_tools_of_a_namespace_and_custom_tools_are_called_by_their_names(client):
    weather = {"type": "namespace", "name": "mcp__weather", "description": "Weather.", "tools": [TOOL]}
    grammar = {"type": "grammar", "syntax": "regex", "definition": "[0-9]{3}-[0-9]{4}"}
    dial = {"type": "custom", "name": "dial", "description": "Dials a number.", "format": grammar}
    fields = GREEDY | {"input": PARIS, "tools": [{"type": "web_search"}, weather, dial]}
    fields["max_output_tokens"] = 60
    choice = {"type": "function", "namespace": "mcp__weather", "name": "get_weather"}
    (call,) = client.responses.create(**fields, tool_choice=choice).output
    assert (call.type, call.namespace, call.name) == ("function_call", "mcp__weather", "get_weather")
    with client.responses.stream(**fields, tool_choice={"type": "custom", "name": "dial"}) as stream:
        events = list(stream)
    (done,) = [event for event in events if event.type == "response.custom_tool_call_input.done"]
    assert re.fullmatch(grammar["definition"], done.input)
    deltas = [event.delta for event in events if event.type == "response.custom_tool_call_input.delta"]
    assert "".join(deltas) == done.input
