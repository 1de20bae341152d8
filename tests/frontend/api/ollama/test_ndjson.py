"""Streams of lines on a real socket, pushed and not: how they begin, and how they end."""

import falcon.asgi
import pytest

from frontend.api import sse
from frontend.api.ollama.ndjson import NDJSON
from frontend.errors import EngineCrashed, QueueFull
from tests.frontend.api.test_pushed_streams import ASK, EVERY_WAY, Streaming, stream
from tests.frontend.http.serving import Connected


class Lines(Streaming):
    """POST /stream, in lines."""

    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        await request.stream.read()
        await sse.respond_streaming(request, response, self._begin(), NDJSON)


@EVERY_WAY
@pytest.mark.parametrize("error", [None, EngineCrashed('the engine died: "SIGSEGV"')])
def test_a_stream_ends_with_its_ending_or_with_a_line_that_is_the_error(way, error):
    streaming = Lines()

    async def scenario(connected: Connected) -> None:
        streaming.gate.set()
        await connected.say(ASK)
        streaming.items.put(b'{"a":1}\n')
        if error is None:
            streaming.items.end()
        else:
            streaming.items.fail(error)
        answer = await connected.heard_all()
        assert b"content-type: application/x-ndjson" in answer
        assert b'{"a":1}\n' in answer
        assert (b'{"error":"the engine died: \\"SIGSEGV\\""}\n' in answer) is (error is not None)
        assert (b"data: usage" in answer) is (error is None)
        assert b"[DONE]" not in answer

    stream(streaming, way, scenario)
    assert streaming.closes == 1


@EVERY_WAY
def test_an_error_after_the_patience_is_a_line_too(way):
    streaming = Lines()
    streaming.refusal = QueueFull("too many")

    async def scenario(connected: Connected) -> None:
        await connected.say(ASK)
        head = await connected.reader.readuntil(b"\r\n\r\n")
        assert b"200 OK" in head
        streaming.gate.set()
        assert b'{"error":"too many"}\n' in await connected.heard_all()

    stream(streaming, way, scenario, patience=0.0)
    assert streaming.outcome("queue_full") == 1
