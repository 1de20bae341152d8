"""Heads and framing on a real socket: the bound is on the request, not on how it happens to be read."""

import asyncio
import json
import logging
from typing import Any

import pytest

from frontend.http.asgi import Receive, Scope, Send
from frontend.http.bounds import MAX_FRAMING_BYTES, MAX_HEAD_BYTES, MAX_HEADERS, Bounds, TooLarge
from tests.frontend.http.serving import Connected, echo, with_connection

LINE = b"POST / HTTP/1.1\r\nhost: localhost\r\n"


def head_of(size: int, rest: bytes = b"content-length: 0\r\n\r\n") -> bytes:
    """A head of exactly that many bytes."""
    filler = size - len(LINE + b"x: \r\n" + rest)
    return LINE + b"x: " + b"y" * filler + b"\r\n" + rest


def answers(data: bytes, part: int, count: int) -> list[int]:
    """The statuses of the answers to data that is sent in parts."""
    statuses: list[int] = []

    async def scenario(connection: Connected) -> None:
        for start in range(0, len(data), part):
            if connection.reader.at_eof() or connection.writer.transport.is_closing():
                break
            await connection.say(data[start : start + part])
        for _ in range(count):
            statuses.append((await connection.heard())[0])

    with_connection(scenario)
    return statuses


@pytest.mark.parametrize("part", [4_000, 60_000, 1_000_000])
@pytest.mark.parametrize(
    "before", [b"", head_of(100), LINE + b"content-length: 50000\r\n\r\n" + b"x" * 50_000]
)
def test_a_head_may_have_so_many_bytes_and_not_one_more(part, before):
    earlier = [200] if before else []
    assert answers(before + head_of(MAX_HEAD_BYTES), part, 1 + len(earlier)) == [*earlier, 200]
    assert answers(before + head_of(MAX_HEAD_BYTES + 1), part, 1 + len(earlier)) == [*earlier, 431]


def test_a_head_of_200_kb_in_one_read_is_refused():
    assert answers(head_of(200_000), 1_000_000, 1) == [431]


def test_a_long_address_counts_as_much_as_headers():
    for size, status in ((MAX_HEAD_BYTES - 100, 200), (MAX_HEAD_BYTES, 431)):
        address = b"GET /%b HTTP/1.1\r\nhost: localhost\r\n\r\n" % (b"x" * size)
        assert answers(address, 60_000, 1) == [status]


def test_many_small_headers_are_refused():
    def with_headers(count: int) -> bytes:
        return LINE + b"a:\r\n" * (count - 2) + b"content-length: 0\r\n\r\n"

    assert answers(with_headers(MAX_HEADERS), 100_000, 1) == [200]
    assert answers(with_headers(MAX_HEADERS + 1), 100_000, 1) == [431]


def test_a_body_is_not_part_of_the_head():
    body = LINE + b"content-length: 300000\r\n\r\n" + b"x" * 300_000
    assert answers(body * 2, 60_000, 2) == [200, 200]


@pytest.mark.parametrize("part", [len(LINE) + 25, 1_000_000])
@pytest.mark.parametrize("following", [[40_000] * 4, [100] * 1500, [MAX_HEAD_BYTES]])
def test_requests_that_arrive_with_the_end_of_a_body_are_not_part_of_it(part, following):
    body = LINE + b"content-length: 9\r\n\r\n" + b"x" * 9
    data = body[:part], body[part:] + b"".join(map(head_of, following))

    async def scenario(connection: Connected) -> None:
        for piece in data:
            await connection.say(piece)
        for _ in (body, *following):
            assert (await connection.heard())[0] == 200

    with_connection(scenario)


def test_framing_after_pipelined_requests_is_still_bounded():
    bounds = Bounds()
    bounds.end_head()
    bounds.end()
    bounds.begin()
    bounds.end_head()
    bounds.parsed(10 * MAX_FRAMING_BYTES, was_in_head=False)
    bounds.parsed(MAX_FRAMING_BYTES, was_in_head=False)
    with pytest.raises(TooLarge, match="chunk extensions"):
        bounds.parsed(1, was_in_head=False)


CHUNKED = LINE + b"transfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "more",
    [b"1;" + b"e" * 1000, b"1\r\nx\r\n0\r\n" + b"t: " + b"v" * 1000, b"1\r\nx\r\n0\r\n" + b"t:v\r\n" * 200],
    ids=["extension", "trailer", "trailers"],
)
def test_framing_without_an_end_is_refused(more):
    async def never(scope: Any, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def scenario(connection: Connected) -> None:
        await connection.say(CHUNKED + more)
        answer = asyncio.create_task(connection.heard())
        line = more[-1000:]
        for _ in range(2 * MAX_FRAMING_BYTES // len(line)):
            if not answer.done():
                await connection.say(line)
        assert answer.done()
        assert answer.result()[0] == 431

    with_connection(scenario, never)


def test_small_chunks_with_an_extension_and_a_trailer_are_a_body_like_any_other():
    body = CHUNKED + b"1;a=b\r\nx\r\n" * 20_000 + b"0\r\nauthorization: Bearer other\r\n\r\n"

    async def with_headers(scope: Scope, receive: Receive, send: Send) -> None:
        await echo(scope, receive, send)
        assert b"authorization" not in dict(scope["headers"])  # a trailer is no header

    async def scenario(connection: Connected) -> None:
        for start in range(0, len(body), 60_000):
            await connection.say(body[start : start + 60_000])
        assert await connection.heard() == (200, b"x" * 20_000)

    with_connection(scenario, with_headers)


@pytest.mark.parametrize("bad", [b"nonsense\r\n\r\n", head_of(MAX_HEAD_BYTES + 1)])
def test_what_cannot_be_read_waits_for_the_answers_before_it(bad):
    may_answer = asyncio.Event()

    async def patient(scope: Any, receive: Receive, send: Send) -> None:
        await may_answer.wait()
        await echo(scope, receive, send)

    async def scenario(connection: Connected) -> None:
        await connection.say(head_of(100) + head_of(100) + bad)
        may_answer.set()
        assert [await connection.heard() for _ in range(2)] == [(200, b"")] * 2
        assert (await connection.heard())[0] in (400, 431)
        assert await connection.reader.read() == b""

    with_connection(scenario, patient)


def test_what_is_refused_before_it_is_a_request_is_logged_with_its_client_and_reason(caplog):
    with caplog.at_level(logging.INFO, "nacelle.access"):
        assert answers(head_of(200_000), 1_000_000, 1) == [431]
    (record,) = caplog.records
    assert record.getMessage() == "- - 431"
    assert record.brief == f"the request's headers exceed {MAX_HEAD_BYTES} bytes 127.0.0.1"
    assert (record.client, record.reason) == (
        "127.0.0.1",
        f"the request's headers exceed {MAX_HEAD_BYTES} bytes",
    )


async def streaming(scope: Scope, receive: Receive, send: Send) -> None:
    """In parts, by the writer where there is one, without a length."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    writer = scope["extensions"]["nacelle.writer"]
    await send({"type": "http.response.body", "body": b"one ", "more_body": True})
    writer.write(b"two ")
    await send({"type": "http.response.body", "body": b"three"})


@pytest.mark.parametrize("keep_alive", [b"", b"connection: keep-alive\r\n"])
def test_http_1_0_gets_no_chunks_but_the_end_of_the_connection(keep_alive):
    async def scenario(connection: Connected) -> None:
        await connection.say(b"GET / HTTP/1.0\r\nhost: localhost\r\n" + keep_alive + b"\r\n")
        head, _, body = (await connection.heard_all()).partition(b"\r\n\r\n")
        assert b"chunked" not in head.lower()
        assert b"connection: close" in head.lower()
        assert body == b"one two three"

    with_connection(scenario, streaming)


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_http_1_0_keeps_a_length_where_there_is_one(method):
    async def sized(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"Content-Length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hi"})

    async def scenario(connection: Connected) -> None:
        await connection.say(method + b" / HTTP/1.0\r\nhost: localhost\r\n\r\n")
        answer = await connection.heard_all()
        assert b"content-length: 2\r\n" in answer
        assert answer.endswith(b"\r\n\r\nhi" if method == b"GET" else b"\r\n\r\n")

    with_connection(scenario, sized)


def test_an_old_client_is_not_told_to_go_on():
    async def scenario(connection: Connected) -> None:
        head = b"POST / HTTP/1.0\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
        await connection.say(head)
        await connection.say(b"hi")
        answer = await connection.heard_all()
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"hi")

    with_connection(scenario)


def test_an_error_to_http_1_0_is_one_answer():
    async def scenario(connection: Connected) -> None:
        await connection.say(head_of(200_000).replace(b"HTTP/1.1", b"HTTP/1.0"))
        status, body = await connection.heard()
        assert (status, json.loads(body)["error"]["type"]) == (431, "invalid_request_error")

    with_connection(scenario)
