"""Stored responses: every version that was ever written can be read; what cannot be decoded is absent."""

import asyncio
import logging
import random

import msgspec
import pytest

from frontend.api.responses import records as module
from frontend.api.responses.item_bodies import item_of
from frontend.api.responses.records import Record, Records, image_bytes
from frontend.api.responses.request import response_of
from frontend.api.responses.resource import new_id
from frontend.api.schema.response_items import (
    FunctionCallItem,
    FunctionOutputItem,
    MessageItem,
    ReasoningItem,
)
from frontend.api.schema.responses import ResponsesRequest
from frontend.errors import NotFound
from tests.frontend.api.responses.test_resource import run
from tests.frontend.sessions.conftest import opened

# A record of every version of the layout. Never edited: users' stores hold such records.
STORED = {
    1: b"\xc1\x00\x01\xf6_AO"
    b'{"response":{"id":"resp_1","object":"response","created_at":1700000000,"completed_at":1700000001,'
    b'"status":"completed","background":false,"error":null,"incomplete_details":null,"instructions":null,'
    b'"max_output_tokens":null,"max_tool_calls":null,"model":"m","output":[{"type":"reasoning","id":"rs_1",'
    b'"summary":[],"content":[{"type":"reasoning_text","text":"hm"}],"encrypted_content":null,"status":'
    b'"completed"},{"type":"function_call","id":"fc_1","call_id":"call_1","name":"f","arguments":'
    b'"{\\"n\\":1}","status":"completed"},{"type":"message","id":"msg_2","role":"assistant","status":'
    b'"completed","content":[{"type":"output_text","text":"Hello","annotations":[],"logprobs":[]}]}],'
    b'"parallel_tool_calls":true,"previous_response_id":null,"prompt_cache_key":null,"reasoning":{"effort":'
    b'null,"summary":null},"safety_identifier":null,"service_tier":"default","store":true,"temperature":null,'
    b'"text":{"format":{"type":"text"},"verbosity":"medium"},"tool_choice":"auto","tools":[{"type":'
    b'"function","name":"f","description":null,"parameters":{"type":"object","properties":{"n":{"type":'
    b'"integer","maximum":18446744073709551616}}},"strict":null}],"top_logprobs":0,"top_p":null,'
    b'"truncation":"disabled","usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":1,'
    b'"cache_write_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":1},'
    b'"total_tokens":5},"user":null,"metadata":{"a":"b"}},"input":[{"type":"message","id":"msg_0","role":'
    b'"user","status":"completed","content":[{"type":"input_text","text":"hi"}]},{"type":'
    b'"function_call_output","id":"fco_0","call_id":"call_1","output":"1","status":"completed"}],'
    b'"deadline":1.5}'
}


def unreadable() -> list[bytes]:
    """Random bytes, truncated and altered records, and records of an older and a newer layout."""
    chance = random.Random(9)
    record = STORED[module.VERSION]
    altered = [bytearray(record) for _ in range(100)]
    for data in altered:
        data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
    older = msgspec.json.decode(record[7:])
    older["response"]["tools"] = []
    return [
        msgspec.msgpack.encode(older),  # as they were before they carried a version
        record[:2] + bytes([module.VERSION + 1]) + record[3:],
        *(chance.randbytes(chance.randrange(100)) for _ in range(300)),
        *(record[: chance.randrange(len(record))] for _ in range(100)),
        *map(bytes, altered),
    ]


@pytest.mark.parametrize("version", range(1, module.VERSION + 1))
def test_stored_responses_of_every_version_can_be_read(version):
    async def story():
        async with opened("memory:") as store:
            await store.put("response:resp_1", STORED[version])
            record = await Records(store).find("resp_1")
            assert (record.response.id, record.response.status, record.deadline) == (
                "resp_1",
                "completed",
                1.5,
            )
            assert [type(item) for item in record.conversation] == [
                MessageItem,
                FunctionOutputItem,
                ReasoningItem,
                FunctionCallItem,
                MessageItem,
            ]
            assert record.response.usage is not None and record.response.usage.total_tokens == 5

    asyncio.run(story())


def test_a_response_that_cannot_be_decoded_is_absent_and_never_overwritten_by_a_change(caplog):
    def never(record: Record) -> Record | None:
        raise AssertionError("there is nothing to change")

    async def story():
        async with opened("memory:") as store:
            records = Records(store)
            for data in unreadable():
                await store.put("response:resp_1", data)
                assert await records.load("resp_1") is None
                with pytest.raises(NotFound):
                    await records.find("resp_1")
                assert await records.update("resp_1", never) is None
                assert await store.get("response:resp_1") == data
            await records.delete("resp_1")
            assert await store.get("response:resp_1") is None

    asyncio.run(story())
    [warning] = [entry for entry in caplog.records if entry.levelno >= logging.WARNING]
    assert "resp_1" in warning.getMessage()


@pytest.mark.parametrize(
    "data", [b"", b"\x93what", STORED[1][:-1], STORED[1][7:]], ids=["", "?", "cut", "old"]
)
def test_no_request_for_a_response_that_cannot_be_decoded_is_a_500(data):
    response_id = f"resp_{'0' * 32}"

    async def story(server):
        await server.store.put(f"response:{response_id}", data)
        for result in (
            await server.get(response_id),
            await server.get(response_id, "/input_items"),
            await server.client.simulate_post(f"/v1/responses/{response_id}/cancel"),
        ):
            assert (result.status_code, result.json["error"]["code"]) == (404, "not_found")
        result = await server.post(previous_response_id=response_id)
        assert (result.status_code, result.json["error"]["code"]) == (400, "previous_response_not_found")
        reference = {"type": "item_reference", "id": f"msg_{'0' * 32}-0"}
        result = await server.post([reference])
        assert (result.status_code, result.json["error"]["param"]) == (400, "input[0].id")

    run(story)


def test_a_background_response_whose_record_is_damaged_meanwhile_ends_like_a_deleted_one():
    async def story(server):
        gate = asyncio.Event()
        server.scripts = [[gate]]
        body = (await server.post(background=True)).json
        await server.until(body["id"], "in_progress")
        await server.store.put(f"response:{body['id']}", b"\xff damaged")
        gate.set()
        await server.background.close(10)
        assert (await server.get(body["id"])).status_code == 404
        assert await server.store.get(f"response:{body['id']}") == b"\xff damaged"

    run(story)


def test_a_tool_with_numbers_beyond_64_bits_can_be_stored():
    parameters = {"type": "object", "properties": {"n": {"type": "integer", "exclusiveMaximum": 2**64}}}

    async def story(server):
        body = (await server.post(tools=[{"type": "function", "name": "f", "parameters": parameters}])).json
        stored = (await server.get(body["id"])).json
        assert stored["tools"][0]["parameters"] == parameters

    run(story)


URL = "data:image/png;base64," + "x" * 100
PART = {"type": "input_image", "image_url": URL}


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({"role": "user", "content": [PART, PART]}, 2),
        ({"type": "function_call_output", "call_id": "c", "output": [PART]}, 1),
        ({"type": "custom_tool_call_output", "call_id": "c", "output": [PART]}, 1),
        ({"type": "computer_call_output", "call_id": "c", "output": PART}, 1),
        ({"type": "image_generation_call", "id": "i", "result": [URL, "short"]}, 1),
        ({"type": "reasoning", "summary": []}, 0),
        ({"type": "compaction", "encrypted_content": URL}, 0),
        ({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}, 0),
        ({"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "x"}, 0),
    ],
)
def test_the_images_of_every_item_count(given, count):
    body = msgspec.convert({"model": "m"}, ResponsesRequest)
    item = item_of(given, "input[0]", {}, new_id)
    record = Record(response=response_of(body, new_id, 0), input=[item])
    assert image_bytes(record) == count * len(URL)
