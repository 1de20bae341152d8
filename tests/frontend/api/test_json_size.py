"""What is in a body is counted exactly, however it is cut, and bounded before anything decodes it."""

import asyncio
import gc
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.api.body import decode
from frontend.api.json_size import PIECE_BYTES, JsonLimits, JsonSize, pieces
from frontend.api.realtime.wire import event_of
from frontend.api.schema.chat import ChatRequest
from frontend.api.transcription_form import fields_of
from frontend.errors import BadRequest, RequestTooLarge
from tests.frontend.api.vector_server import VectorServer, run, vector_card
from tests.frontend.routing.hosts import CARD as TEXT_CARD

CHAT = msgspec.json.Decoder(ChatRequest)
# Strings full of what counts outside of them.
STRINGS = st.text(st.sampled_from('ab,:[]{}"\\\n0.eu中'), max_size=12)
NUMBERS = st.integers() | st.integers(10**18, 10**70) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | STRINGS,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(STRINGS, children, max_size=4),
    max_leaves=20,
)


def size_of(data: bytes, part: int = PIECE_BYTES) -> JsonSize:
    size = JsonSize()
    for start in range(0, len(data), part):
        size.add(data[start : start + part])
    return size


def counts_of(size: JsonSize) -> tuple[int, ...]:
    return size.nodes, size.separators, size.decimals, size.slow_numbers, size.escapes


def counted(value: Any) -> tuple[int, int]:
    """Strings, lists and objects; commas and colons."""
    if isinstance(value, str):
        return 1, 0
    if isinstance(value, list):
        children, separators = [counted(child) for child in value], len(value) - 1
    elif isinstance(value, dict):
        children = [counted(child) for pair in value.items() for child in pair]
        separators = 2 * len(value) - 1
    else:
        return 0, 0
    return 1 + sum(nodes for nodes, _ in children), max(0, separators) + sum(more for _, more in children)


@given(JSON, st.booleans())
def test_counts_are_exact_whatever_strings_contain(value, ascii_only):
    size = size_of(json.dumps(value, ensure_ascii=ascii_only).encode())
    assert (size.nodes, size.separators) == counted(value)


@given(JSON, st.booleans())
def test_counts_are_the_same_however_the_body_is_cut(value, ascii_only):
    data = json.dumps(value, ensure_ascii=ascii_only).encode()
    whole = counts_of(size_of(data))
    for part in range(1, len(data)):
        assert counts_of(size_of(data, part)) == whole, part
    for cut in range(len(data)):
        size = JsonSize()
        size.add(data[:cut])
        size.add(data[cut:])
        assert counts_of(size) == whole, cut


@pytest.mark.parametrize(
    ("number", "slow"),
    [
        (b"1e308", 1),
        (b"1.5E-5", 1),
        (b"1" * 19, 0),
        (b"1" * 20, 1),
        (b"1" * 20 + b"e1", 2),
        (b"1" * 60 + b"e1", 4),
        (b"-1" + b".0" + b"0" * 18 + b"2", 1),
    ],
)
def test_a_slow_number_counts_wherever_it_is_cut(number, slow):
    for cut in range(1, len(number)):
        size = JsonSize()
        for part in (b"[" + number[:cut], number[cut:] + b",", number, b"]"):
            size.add(part)
        assert size.slow_numbers == 2 * slow, cut


def test_cutting_a_body_within_its_numbers_does_not_lift_the_limit():
    size = JsonSize()
    for _ in range(1_002):
        size.add(b"e308,1")
    with pytest.raises(RequestTooLarge, match="exponents"):
        size.check(JsonLimits())
    digits = JsonSize()
    for _ in range(30_000):
        digits.add(b"1")
    with pytest.raises(RequestTooLarge, match="more than 19 digits"):
        digits.check(JsonLimits())


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"[" + b"[]," * 200_000 + b"1]", "strings, lists and objects"),
        (b"[" + b"{}," * 200_000 + b"1]", "strings, lists and objects"),
        (b"[" * 200_001, "strings, lists and objects"),
        (b"[" + b'"",' * 200_000 + b"1]", "strings, lists and objects"),
        (b"[" + b"1," * 250_001 + b"1]", "JSON values"),
        (b"[" + b"1.5," * 20_001 + b"1]", "decimal numbers"),
        (b"[" + b"1e308," * 1_001 + b"1]", "exponents"),
        (b"[" + b"1E-5," * 1_001 + b"1]", "exponents"),
        (b"[" + b"1" * 30_000 + b"]", "more than 19 digits"),
        (b'"' + rb"\u4e2d" * 1_000_001 + b'"', "UTF-8"),
    ],
)
def test_what_takes_long_to_decode_is_refused_by_what_there_is_too_much_of(data, what):
    with pytest.raises(RequestTooLarge, match=what):
        size_of(data).check(JsonLimits())


@pytest.mark.parametrize(
    "data",
    [
        json.dumps({"messages": [{"role": "user", "content": "a, [b]: {c}" * 50}] * 10_000}).encode(),
        json.dumps({"content": ['{"a": 1.5e300, "b": [true, false]}' * 50_000]}).encode(),
        b'{"url":"data:image/png;base64,' + b"Aa0/+" * 2_000_000 + b'"}',
        b'"' + rb"\n\t\"\\" * 500_000 + b'"',
        json.dumps([True, False, None] * 10_000).encode(),
    ],
    ids=["many messages", "text that looks like JSON", "an image", "escapes", "true and false"],
)
def test_what_clients_mean_to_send_is_far_from_the_limits(data):
    size = size_of(data)
    size.check(JsonLimits())
    assert 2 * size.nodes < JsonLimits().nodes


def test_a_backslash_may_be_the_last_byte_of_a_part():
    for data in (rb'["a\\","b"]', rb'["a\"","b"]', rb'["\\\"]","b"]', rb'["\\\\",["b"]]'):
        expected = counted(json.loads(data))
        for cut in range(len(data)):
            size = JsonSize()
            size.add(data[:cut])
            size.add(data[cut:])
            assert (size.nodes, size.separators) == expected, (data, cut)


def test_pieces_are_small_and_lose_nothing():
    data = bytes(range(256)) * 1000
    assert b"".join(pieces(data)) == data
    assert max(map(len, pieces(data))) == PIECE_BYTES


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", b'{"model":"m","z":[' + b"[]," * 400_000 + b"[]]}"),
        ("/v1/chat/completions", b'{"model":"m","z":[' + b"[]," * 400_000 + b"NaN]}"),
        ("/v1/chat/completions", b'{"model":"m","messages":[' + b'{"role":"user","content":""},' * 60_000),
        ("/v1/completions", b'{"model":"m","prompt":"x","logit_bias":[' + b"{}," * 400_000 + b"{}]}"),
        ("/v1/responses", b'{"model":"m","input":[' + b'{"content":"a"},' * 100_000 + b"{}]}"),
        ("/v1/embeddings", b'{"model":"m","input":[' + b"[]," * 400_000 + b"[]]}"),
        ("/v1/rerank", b'{"model":"m","query":"q","documents":[' + b"{}," * 400_000 + b"{}]}"),
        ("/score", b'{"model":"m","text_1":"a","text_2":[' + b'"",' * 400_000 + b'""]}'),
        ("/tokenize", b'{"model":"m","prompt":"a","z":[' + b"[]," * 400_000 + b"[]]}"),
        ("/detokenize", b'{"model":"m","tokens":[' + b"1," * 1_100_000 + b"1]}"),
    ],
)
def test_every_endpoint_refuses_a_body_of_too_many_values_without_decoding_it(path, body, monkeypatch):
    async def scenario(server: VectorServer) -> None:
        answer = await server.http.post(path, content=body)
        assert answer.status_code == 413, answer.text
        assert answer.json()["error"]["code"] == "request_too_large"
        assert len(answer.content) < 1000

    def undecoded(*_: object) -> None:
        raise AssertionError("the body was decoded")

    for name in ("chat", "completions", "responses.resource", "embeddings", "rerank", "tokenizing", "body"):
        monkeypatch.setattr(f"frontend.api.{name}.decode", undecoded, raising=False)
    run(scenario, vector_card(4))


def test_others_have_their_turn_while_a_body_is_counted():
    async def scenario(server: VectorServer) -> None:
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        counting = asyncio.create_task(count_turns())
        text = "x" * (20 * PIECE_BYTES)
        await server.post("/v1/embeddings", input=text, dimensions=0)
        counting.cancel()
        assert turns >= 15

    run(scenario, vector_card(4))


def refused(data: bytes) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        decode(data, CHAT)
    return caught.value


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"-Infinity"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_in_a_large_body_too_the_field_of_a_nan_is_named(value, bom):
    filler = b'"z":"' + b"x" * 100_000 + b'"'
    assert refused(bom + b"{" + filler + b',"temperature" : ' + value + b"}").param == "temperature"


def test_a_large_body_is_read_only_once(monkeypatch):
    def again(_: object) -> None:
        raise AssertionError("the body was read again")

    monkeypatch.setattr("frontend.api.body.json.loads", again)
    error = refused(b'{"z":[' + b"[]," * 100_000 + b"NaN]}")
    assert (error.status, error.param) == (400, None)


def test_the_garbage_collector_goes_on_after_a_large_body():
    refused(b'{"z":"' + b"x" * 100_000)
    assert gc.isenabled()


def test_an_error_never_repeats_a_large_value():
    async def scenario(server: VectorServer) -> None:
        role = "x" * 1_000_000
        answer = await server.post(
            "/v1/chat/completions", messages=[{"role": role, "content": ""}], tool_choice=role
        )
        assert answer.status_code == 400
        assert len(answer.content) < 5000

    run(scenario, TEXT_CARD)


@pytest.mark.parametrize(
    "decoded",
    [
        lambda value: event_of(b'{"type":"session.update","session":{"x":%b}}' % value, "session.update"),
        lambda value: fields_of({"chunking_strategy": [f'{{"x":{value.decode()}}}']}),
        lambda value: fields_of({"include": [value.decode()]}),
    ],
)
def test_messages_and_fields_of_forms_are_bounded_like_bodies(decoded):
    decoded(b"[1e3]")
    with pytest.raises(RequestTooLarge):
        decoded(b"[" + b"1e3," * 2000 + b"1]")
