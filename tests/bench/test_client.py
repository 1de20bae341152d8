"""The load client against real sockets: a scripted server that sends exactly the bytes a test says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.client import Client, EventSplitter, Response
from bench.errors import ConnectFailed, ConnectionLost, DeadlineExceeded, HttpError, MalformedResponse
from bench.server import free_port

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_DEADLINE = 10.0


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _plain(body: bytes, status: bytes = b"200 OK", extra: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n"
    return head % (status, extra, len(body)) + body


async def _read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:"))
    return head, await reader.readexactly(length)


@asynccontextmanager
async def _serving(script: Script) -> AsyncIterator[Client]:
    """A client of a server that runs `script` on each connection, then closes it."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    client = Client(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        yield client
    finally:
        client.close()
        server.close()
        await server.wait_closed()


def _post(script: Script, deadline: float = _DEADLINE) -> Response:
    async def main() -> Response:
        async with _serving(script) as client:
            return await client.post("/completions", b"{}", deadline)

    return asyncio.run(main())


def _answering(*packets: bytes) -> Script:
    """Answers the first request with these packets, each in its own segment, and closes."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _read_request(reader)
        for packet in packets:
            writer.write(packet)
            await writer.drain()
            await asyncio.sleep(0.001)  # the client's turn, so that packets do not merge

    return script


def test_a_request_goes_below_v1_with_its_body_and_key() -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await _read_request(reader))
        writer.write(_plain(b"{}"))

    async def main() -> None:
        async with _serving(script) as plain:
            host, port = plain._address
            client = Client(f"http://{host}:{port}/v1/", api_key="secret")
            await client.post("/completions", b'{"model":"m"}', _DEADLINE)
            client.close()

    asyncio.run(main())
    [(head, body)] = seen
    assert head.startswith(b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nAuthorization: Bearer secret\r\n" in head
    assert body == b'{"model":"m"}'


@pytest.mark.parametrize("url", ["ftp://x", "http://", "", "http://:80"])
def test_what_is_no_http_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not an http"):
        Client(url)


def test_a_plain_response_is_read_whole_however_it_is_cut() -> None:
    whole = _plain(b'{"choices": []}')
    response = _post(_answering(*[whole[index : index + 1] for index in range(len(whole))]))
    assert (response.status, response.body, response.events) == (200, b'{"choices": []}', [])


def test_a_response_has_the_time_at_which_its_body_began() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: audio/pcm\r\ntransfer-encoding: chunked\r\n\r\n"
    response = _post(_answering(head, _chunk(b"ab"), _chunk(b"cd"), b"0\r\n\r\n"))
    assert response.body == b"abcd"
    assert response.first_body is not None
    assert response.started < response.first_body < response.finished
    assert _post(_answering(_plain(b""))).first_body is None


def test_a_large_body_has_its_own_type_and_arrives_whole() -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await _read_request(reader))
        writer.write(_plain(b"{}"))

    async def main() -> None:
        async with _serving(script) as client:
            await client.post("/audio", bytes(300_000), _DEADLINE, "multipart/form-data; boundary=x")

    asyncio.run(main())
    [(head, body)] = seen
    assert b"\r\nContent-Type: multipart/form-data; boundary=x\r\n" in head
    assert body == bytes(300_000)


def test_each_event_carries_the_time_its_packet_came() -> None:
    packets = [_STREAM, _chunk(b"data: 1\n\ndata: 2\n\n"), _chunk(b"data: 3\n\n"), b"0\r\n\r\n"]
    response = _post(_answering(*packets))
    assert [event.data for event in response.events] == [b"1", b"2", b"3"]
    one, two, three = (event.time for event in response.events)
    assert response.started < one == two < three <= response.finished


def test_events_cut_across_packets_and_chunks_come_out_whole() -> None:
    body = b'data: {"text":"a"}\n\ndata: {"text":"b"}\r\n\r\n: comment\nevent: x\ndata:[DONE]\n\n'
    chunks = b"".join(_chunk(body[start : start + 7]) for start in range(0, len(body), 7)) + b"0\r\n\r\n"
    whole = _STREAM + chunks
    response = _post(_answering(*[whole[start : start + 11] for start in range(0, len(whole), 11)]))
    assert [event.data for event in response.events] == [b'{"text":"a"}', b'{"text":"b"}', b"[DONE]"]
    times = [event.time for event in response.events]
    assert all(before < after for before, after in pairwise(times))


@given(st.lists(st.integers(1, 40), max_size=30))
def test_however_the_stream_is_cut_the_events_are_the_same(cuts: list[int]) -> None:
    body = b"data: one\n\ndata: two\r\n\r\nid: 3\ndata:three\n\n"
    splitter = EventSplitter()
    found: list[bytes] = []
    for cut in cuts:
        found += splitter.feed(body[:cut])
        body = body[cut:]
    assert found + splitter.feed(body) == [b"one", b"two", b"three"]


def test_connections_are_kept_alive_and_reused() -> None:
    connections = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await _read_request(reader)
            writer.write(_plain(b"{}"))

    async def main() -> None:
        async with _serving(script) as client:
            for _ in range(5):
                await client.post("/completions", b"{}", _DEADLINE)

    asyncio.run(main())
    assert connections == 1


def test_a_connection_that_the_server_closed_between_requests_is_replaced() -> None:
    connections = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await _read_request(reader)
        writer.write(_plain(b"{}", extra=b"connection: close\r\n" if connections == 1 else b""))
        await writer.drain()

    async def main() -> None:
        async with _serving(script) as client:
            for _ in range(4):
                await client.post("/completions", b"{}", _DEADLINE)

    asyncio.run(main())
    assert connections == 4


@pytest.mark.parametrize(
    "packets",
    [[], [b"HTTP/1.1 200 OK\r\nconte"], [_STREAM, _chunk(b"data: 1\n\n")], [_plain(b"{}" * 9)[:-3]]],
    ids=["before the answer", "in the header", "in the stream", "in the body"],
)
def test_a_server_that_dies_within_a_response_is_a_lost_connection(packets: list[bytes]) -> None:
    with pytest.raises(ConnectionLost):
        _post(_answering(*packets))


def test_a_server_that_never_answers_meets_the_deadline_and_loses_the_connection() -> None:
    closed = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _read_request(reader)
        assert await reader.read() == b""
        closed.set()

    async def main() -> None:
        async with _serving(script) as client:
            with pytest.raises(DeadlineExceeded):
                await client.post("/completions", b"{}", 0.5)
            await asyncio.wait_for(closed.wait(), _DEADLINE)

    asyncio.run(main())


def test_an_error_status_carries_the_servers_words() -> None:
    with pytest.raises(HttpError, match="no such model") as caught:
        _post(_answering(_plain(b'{"error":{"message":"no such model"}}', b"404 Not Found")))
    assert (caught.value.status, caught.value.kind) == (404, "http_404")


def test_what_is_not_http_is_malformed() -> None:
    with pytest.raises(MalformedResponse):
        _post(_answering(b"SSH-2.0-OpenSSH_9\r\n\r\n"))


def test_nobody_listening_is_a_failure_to_connect() -> None:
    async def main() -> None:
        await Client(f"http://127.0.0.1:{free_port()}").post("/completions", b"{}", _DEADLINE)

    with pytest.raises(ConnectFailed):
        asyncio.run(main())
