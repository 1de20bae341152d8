"""`nacelle.writer` on uvicorn: the response body straight to the transport."""

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class TransportWriter:
    """The writer of one response. Implements `asgi.Writer`; the connection sets `paused` and `gone`."""

    __slots__ = ("_callback", "_cycle", "_has_body", "gone", "paused", "written")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self.paused = cycle.flow.write_paused
        self.gone = False
        self.written = 0
        self._cycle = cycle
        self._has_body = cycle.scope["method"] != "HEAD"
        self._callback: Callable[[], None] | None = None

    def write(self, data: bytes) -> None:
        if self.gone or not data:
            return
        if self.paused:
            raise RuntimeError("written although the client reads too slowly")
        cycle = self._cycle
        if cycle.chunked_encoding and self._has_body and not cycle.response_complete:
            cycle.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            _complete(cycle.send({"type": "http.response.body", "body": data, "more_body": True}))
        self.written += len(data)

    def cut_off(self) -> None:
        cycle = self._cycle
        cycle.disconnected = True
        self.gone = True
        if cycle.chunked_encoding:
            cycle.transport.close()  # without the last chunk
        else:
            _reset(cycle.transport)

    def notify(self, callback: Callable[[], None] | None) -> None:
        self._callback = callback

    def pause(self) -> None:
        """For the connection: the transport holds enough."""
        self.paused = True

    def resume(self, gone: bool = False) -> None:
        """For the connection: the transport takes more, or the client has gone."""
        self.paused = False
        self.gone = gone
        if self._callback is not None:
            self._callback()


def _reset(transport: asyncio.Transport) -> None:
    """Close with a TCP reset: the end of the connection is the end of a response to HTTP/1.0."""
    with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _complete(sending: Coroutine[Any, Any, None]) -> None:
    """Run `send` to its end: it waits only while writing is paused."""
    try:
        sending.send(None)
    except StopIteration:
        return
    sending.close()
    raise RuntimeError("written although the client reads too slowly")
