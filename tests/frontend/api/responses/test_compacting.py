"""Counting and compacting conversations over ASGI, with turns that say what they are told."""

import pytest
from openai.types.responses import CompactedResponse

from frontend.api.responses import input_tokens
from frontend.api.turns import Finished, StartedOver
from frontend.errors import HostRefused
from frontend.parsing.events import Content, Reasoning
from ipc.errors import ErrorCode, RequestError
from tests.frontend.api.responses.test_resource import STOP, run

HISTORY = [
    {"role": "user", "content": "My name is Ada."},
    {"role": "assistant", "content": "Hello."},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": "42"},
    {"role": "user", "content": "Thanks."},
]


async def compact(server, **fields):
    return await server.client.simulate_post("/v1/responses/compact", json={"model": "m", **fields})


def test_a_conversation_becomes_what_the_user_said_and_a_summary_with_which_it_goes_on():
    async def story(server):
        server.scripts = [[Reasoning("hm"), Content("Ada got "), Content("42."), STOP]]
        result = await compact(server, input=HISTORY, instructions="Be brief.")
        # The client's types know no messages of users among outputs, of which the API's reference speaks.
        compaction = result.json | {"output": result.json["output"][2:]}
        assert CompactedResponse.model_validate(compaction).usage.total_tokens == 15
        assert [item["type"] for item in result.json["output"]] == ["message", "message", "compaction"]
        said = [item["content"][0]["text"] for item in result.json["output"][:2]]
        assert said == ["My name is Ada.", "Thanks."]
        roles = [message.role for message in server.specs[0].messages]
        assert roles == ["system", "user", "assistant", "tool", "user", "user"]
        assert server.turns[0].closed
        await server.post([*result.json["output"], {"role": "user", "content": "Go on."}])
        said = [message.content for message in server.specs[1].messages]
        assert said[:2] == ["My name is Ada.", "Thanks."]
        assert "Ada got 42." in said[2]
        assert said[3] == "Go on."

    run(story)


def test_a_stored_conversation_is_compacted_by_its_id():
    async def story(server):
        first = (await server.post("My name is Ada.")).json
        server.scripts = [[Content("wrong"), StartedOver(), Content("right"), STOP]]
        output = (await compact(server, previous_response_id=first["id"])).json["output"]
        assert [item["type"] for item in output] == ["message", "compaction"]
        assert output[1]["encrypted_content"].endswith(":right")

    run(story)


@pytest.mark.parametrize(
    ("script", "status", "code", "param"),
    [
        ([STOP], 500, "engine_failed", None),
        ([Reasoning("hm"), Finished("length")], 400, "invalid_value", "max_output_tokens"),
        (
            HostRefused(RequestError(ErrorCode.CONTEXT_LENGTH_EXCEEDED, "too long", "messages")),
            400,
            "context_length_exceeded",
            "input",
        ),
    ],
)
def test_what_cannot_be_summarized_is_an_error(script, status, code, param):
    async def story(server):
        server.scripts = [script]
        result = await compact(server, input=HISTORY)
        error = result.json["error"]
        assert (result.status_code, error["code"]) == (status, code)
        assert error["param"] == param

    run(story)


def test_nothing_cannot_be_compacted():
    async def story(server):
        result = await compact(server, input=None)
        assert (result.status_code, result.json["error"]["param"]) == (400, "input")

    run(story)


def test_a_summary_that_was_cut_says_so_and_the_model_does_not_reason_unless_it_is_told_to():
    async def story(server):
        server.scripts = [[Content("Ada got"), Finished("length")]]
        output = (await compact(server, input=HISTORY)).json["output"]
        assert output[-1]["encrypted_content"].endswith("Ada got [The summary was cut here.]")
        await compact(server, input=HISTORY, reasoning={"effort": "high"})
        assert [spec.reasoning_effort for spec in server.specs] == ["none", "high"]

    run(story)


def test_what_cannot_be_counted_is_named_as_it_is_named_here(monkeypatch):
    async def refused(*_):
        raise HostRefused(RequestError(ErrorCode.CONTEXT_LENGTH_EXCEEDED, "too long", "prompt"))

    async def story(server):
        monkeypatch.setattr(input_tokens, "model_of", refused)
        result = await server.client.simulate_post(
            "/v1/responses/input_tokens", json={"model": "m", "input": HISTORY}
        )
        assert result.json["error"]["param"] == "input"
        assert result.json["error"]["message"] == "input: too long"

    run(story)
