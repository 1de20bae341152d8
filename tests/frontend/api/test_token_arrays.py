"""Long arrays of token ids: decoded in parts, with the result and the refusals of short ones."""

import asyncio
import json
from typing import Any

import pytest

from frontend.api.completions import _long_prompts
from frontend.api.json_size import JsonSize
from frontend.api.token_arrays import LONG_BYTES, MAX_TOKENS, PLACEHOLDER, cut_out, token_ids_of
from frontend.errors import BadRequest, RequestTooLarge
from ipc.messages.vectors import decode_embed_inputs
from tests.frontend.api.test_embeddings import CARD, PATH
from tests.frontend.api.vector_server import VectorServer, run

LONG = [list(range(30_000, 30_000 + 900 + index % 7)) for index in range(100)]


def cut(data: bytes, field: str = "input") -> tuple[bytes, bytes]:
    size = JsonSize()
    size.add(data)
    return cut_out(data, size, field)


def ids_of(array: bytes) -> list[list[int]]:
    async def read() -> list[list[int]]:
        return [ids async for ids in token_ids_of(array, "input")]

    return asyncio.run(read())


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("given", [LONG, LONG[0] * 100])
def test_a_long_array_is_decoded_to_what_it_is(given: list[Any], indent):
    data = json.dumps({"model": "m", "input": given, "user": "u"}, indent=indent).encode()
    rest, array = cut(data)
    assert json.loads(rest) == {"model": "m", "input": PLACEHOLDER, "user": "u"}
    assert ids_of(array) == (given if isinstance(given[0], list) else [given])


@pytest.mark.parametrize("given", ["text", ["a", "b"], [1, 2], ["long" * LONG_BYTES]])
def test_everything_else_stays_in_the_body(given):
    data = json.dumps({"input": given}).encode()
    assert cut(data) == (data, b"")


LONG_JSON = json.dumps(LONG)


@pytest.mark.parametrize(
    "body",
    [
        '{"input": [LONG, "hi"]}',
        '{"input": [LONG, {}], "user": "u"}',
        '{"x": [{"input": LONG}], "input": "hi"}',
        '{"x": [{"input": LONG}, [1], "y"], "input": "hi"}',
        '{"x": [[{"input": LONG}], [[1]]]}',
    ],
)
def test_an_array_that_does_not_end_where_it_seems_to_stays_in_the_body(body):
    data = body.replace("LONG", LONG_JSON).encode()
    assert cut(data) == (data, b"")


def test_a_long_array_is_found_behind_one_that_belongs_to_another_object():
    data = '{"x": [{"input": LONG}], "input": LONG}'.replace("LONG", LONG_JSON).encode()
    rest, array = cut(data)
    assert json.loads(rest)["input"] == PLACEHOLDER
    assert ids_of(array) == LONG


@pytest.mark.parametrize("after", [b"", b"]", b" x", b':"a"}'])
def test_a_long_array_in_a_body_that_is_not_json_stays_in_it(after):
    data = b'{"input":' + LONG_JSON.encode() + after
    assert cut(data) == (data, b"")


def test_a_text_that_looks_like_a_long_array_stays_text():
    text = '"input": [' + "1," * LONG_BYTES + "1]"
    for given in ({"input": text}, {"other": text, "input": [1]}):
        data = json.dumps(given).encode()
        rest, _ = cut(data)
        assert json.loads(rest) == given


@pytest.mark.parametrize(
    ("array", "param"),
    [
        (b"[[1,2],[3,[4]]]", "input"),
        (b"[[1],2]", "input"),
        (b"[[1] [2]]", "input"),
        (b"[[1],]", "input"),
        (b"[[1,]]", "input[0]"),
        (b"[[1],[1.5]]", "input[1]"),
        (b"[[1],[]]", "input[1]"),
        (b"[1,2,]", "input[0]"),
        (b"[[1],[99999999999999999999]]", "input[1]"),
        (b"[" + b"1," * 70_000 + b"]", "input[0]"),
        (b"[" + b"1," * MAX_TOKENS + b"1]", "input[0]"),
    ],
)
def test_a_long_array_of_anything_else_is_refused_by_its_place(array, param):
    with pytest.raises(BadRequest) as caught:
        ids_of(array)
    assert caught.value.param == param


def test_others_have_their_turn_however_short_the_inputs_are():
    async def most_between_turns() -> int:
        counts = [0]

        async def read() -> None:
            async for _ in token_ids_of(b"[" + b"[1]," * 20_000 + b"[1]]", "input"):
                counts[-1] += 1

        reading = asyncio.create_task(read())
        while not reading.done():
            await asyncio.sleep(0)
            counts.append(0)
        assert sum(counts) == 20_001
        return max(counts)

    assert asyncio.run(most_between_turns()) <= 1000


def test_completions_refuse_the_first_prompt_too_many_without_reading_on():
    reading = _long_prompts(b"[" + b"[1]," * 128 + b"[1],[no token]]", 1)
    with pytest.raises(BadRequest, match="prompts × n must be at most 128"):
        asyncio.run(reading)
    with pytest.raises(BadRequest, match="prompts × n"):
        asyncio.run(_long_prompts(b"[" + b"[1]," * 64 + b"[1],[no token]]", 2))


def test_the_rest_of_the_body_has_the_limits_of_any_other():
    numbers = b"[" + b"1," * 260_000 + b"1]"
    with pytest.raises(RequestTooLarge):
        cut(b'{"input":' + numbers + b',"normalize":' + numbers + b"}")
    with pytest.raises(RequestTooLarge):  # of another field alone
        cut(b'{"normalize":' + numbers + b',"input":"a"}')


def test_embeddings_take_2048_inputs_of_a_full_window_as_token_ids():
    async def scenario(server: VectorServer) -> None:
        leased: list[bytes] = []
        server.host.lease = leased.append  # type: ignore[assignment] # the arena is full
        body = b'{"model":"m","input":[%b]}' % b",".join([b"[" + b",".join([b"31999"] * 512) + b"]"] * 2048)
        asking = asyncio.create_task(server.http.post(PATH, content=body))
        while not leased:
            await asyncio.sleep(0)
        asking.cancel()
        assert decode_embed_inputs(leased[0]).token_ids == [[31999] * 512] * 2048

    run(scenario, CARD)


def test_valid_json_is_never_refused_as_invalid():
    async def scenario(server: VectorServer) -> None:
        answer = await server.post(PATH, input=[*LONG, "hi"])
        assert answer.status_code == 400
        assert answer.json()["error"]["param"].startswith("input")
        answer = await server.post(PATH, x=[{"input": LONG}], input="hi", dimensions=0)
        assert answer.json()["error"]["param"] == "dimensions"

    run(scenario, CARD)


def test_a_long_array_of_too_many_or_of_empty_inputs_is_refused():
    async def scenario(server: VectorServer) -> None:
        assert (await server.refusal(PATH, input=[[31999] * 100] * 2049))[0] == "input"
        assert (await server.refusal(PATH, input=[[31999] * 100] * 2000 + [[]]))[0] == "input[2000]"
        assert (await server.refusal(PATH, input=PLACEHOLDER, dimensions=0))[0] == "dimensions"
        assert server.host.sent == []

    run(scenario, CARD)
