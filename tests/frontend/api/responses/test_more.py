"""Counting and compacting conversations over ASGI, with turns that say what they are told."""

import pytest
from openai.types.responses import CompactedResponse

from frontend.api.responses.more import More
from frontend.api.responses.reading import RequestReader
from frontend.api.responses.resource import new_id
from frontend.api.turns import StartedOver
from frontend.errors import HostRefused
from frontend.parsing.events import Content, Reasoning
from frontend.routing.router import Router, RouterOptions
from ipc.errors import ErrorCode, RequestError
from tests.frontend.api.responses.test_resource import STOP, run

HISTORY = [
    {"role": "user", "content": "My name is Ada."},
    {"role": "assistant", "content": "Hello."},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": "42"},
    {"role": "user", "content": "Thanks."},
]


def compacting(story):
    async def told(server):
        app = server.client.app
        images = app._router.find("/v1/responses")[0]._images
        reader = RequestReader(images, server.records, server.background, new_id, 1_000_000)
        router = Router(RouterOptions(2**20, 60))
        more = More(router, server._begin, images, reader)
        app.add_route("/v1/responses/input_tokens", more, suffix="input_tokens")
        app.add_route("/v1/responses/compact", more, suffix="compact")
        await story(server)

    run(told)


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

    compacting(story)


def test_a_stored_conversation_is_compacted_by_its_id():
    async def story(server):
        first = (await server.post("My name is Ada.")).json
        server.scripts = [[Content("wrong"), StartedOver(), Content("right"), STOP]]
        output = (await compact(server, previous_response_id=first["id"])).json["output"]
        assert [item["type"] for item in output] == ["message", "compaction"]
        assert output[1]["encrypted_content"].endswith(":right")

    compacting(story)


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        ([STOP], 500, "engine_failed"),
        (
            HostRefused(RequestError(ErrorCode.CONTEXT_LENGTH_EXCEEDED, "too long", "input")),
            400,
            "context_length_exceeded",
        ),
    ],
)
def test_what_cannot_be_summarized_is_an_error(script, status, code):
    async def story(server):
        server.scripts = [script]
        result = await compact(server, input=HISTORY)
        assert (result.status_code, result.json["error"]["code"]) == (status, code)

    compacting(story)


def test_nothing_cannot_be_compacted():
    async def story(server):
        result = await compact(server, input=None)
        assert (result.status_code, result.json["error"]["param"]) == (400, "input")

    compacting(story)
