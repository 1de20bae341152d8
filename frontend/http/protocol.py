"""uvicorn's HTTP protocol with limits on what a client may leave unfinished, and with `nacelle.writer`.

Offers of HTTP/2 are ignored, as HTTP allows: Java's client makes one with every request. A WebSocket is
accepted if an implementation is installed (`websockets` or `wsproto`); otherwise that offer is ignored as
well.
"""

import asyncio
from collections import deque
from typing import Any

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from frontend.http.asgi import WRITER
from frontend.http.bounds import Bounds, TooLarge
from frontend.http.cycles import CloseDelimitedCycle, LingeringCycle
from frontend.http.refusal import INCOMPLETE, NOT_A_PROXY, UNKNOWN_VERSION, Refusal, Refused, refusal_of
from frontend.http.writer import TransportWriter

READ_SECONDS = 60.0  # without a byte of a request that is incomplete
LAST_READ_SECONDS = 2.0  # the same once the server shuts down or has refused the request
WRITE_SECONDS = 120.0  # in which a client reads nothing of what waits for it


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._bounds = Bounds()
        self._due_refusal: Refusal | None = None  # after the answers to the requests before it
        self._is_refused = False  # the last answer has been written, and what still comes is ignored
        self._incomplete = True  # a request is expected or arriving
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._answering: RequestResponseCycle | None = None
        self._writer: TransportWriter | None = None  # of the response to that request

    # --- the connection ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_more(self.timeout_keep_alive)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timers()
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)
        if self._writer is not None:
            self._writer.resume(gone=True)

    def data_received(self, data: bytes) -> None:
        if self._is_refused or self._due_refusal is not None:
            return
        self._unset_keepalive_if_required()
        rest = memoryview(data)
        while rest:
            part = self._bounds.next_part(rest)
            rest = rest[len(part) :]
            if not self._parse(part, rest):
                return
        self._await_more(READ_SECONDS)

    def _parse(self, part: memoryview, rest: memoryview) -> bool:
        """Whether to go on with the rest."""
        was_in_head = self._bounds.in_head
        try:
            self.parser.feed_data(part)
            self._bounds.parsed(len(part), was_in_head=was_in_head)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(bytes(part[upgrade.args[0] :]) + bytes(rest))
        except (TooLarge, httptools.HttpParserError) as error:
            self._give_up(refusal_of(error))
        else:
            return True
        return False

    def _upgrade(self, rest: bytes) -> None:
        if self._ignores_upgrade:
            self._read_as_if_not_offered(rest)
        else:
            self._cancel_timers()
            self.handle_websocket_upgrade()

    def shutdown(self) -> None:
        super().shutdown()
        self._await_more(LAST_READ_SECONDS)
        if self.transport.is_closing():
            self._await_reader()

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def _close(self) -> None:
        """Close once what waits has been written, if the client reads it."""
        self.transport.close()
        self._await_reader()

    def _cancel_timers(self) -> None:
        for timer in (self._reading, self._writing):
            if timer is not None:
                timer.cancel()

    # --- requests ---

    def on_message_begin(self) -> None:
        self._bounds.begin()
        self._incomplete = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._bounds.target(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._bounds.in_head:  # else a trailer
            self._bounds.header(name, value)
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._bounds.method(self.parser.get_method())
        if self.parser.get_method() == b"CONNECT":
            raise Refused(NOT_A_PROXY)
        if self.parser.get_http_version() not in ("1.0", "1.1"):
            raise Refused(UNKNOWN_VERSION)
        if not self._ignores_upgrade:
            super().on_headers_complete()
            if len(self.pipeline) == 1:  # keep reading, or nobody notices that the client leaves
                self.flow.resume_reading()
        self._bounds.end_head()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        kind = LingeringCycle if cycle.scope["http_version"] == "1.1" else CloseDelimitedCycle
        kind.become(cycle)
        self._answering = cycle  # the base's `cycle` is the latest request, which may be waiting for this one
        self._writer = TransportWriter(cycle)
        extensions: Any = cycle.scope.setdefault("extensions", {})
        extensions[WRITER] = self._writer
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        self._bounds.body(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._ignores_upgrade:
            self._bounds.end()
            self._incomplete = False
            super().on_message_complete()

    def _await_more(self, seconds: float) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        if self._incomplete:
            self._reading = self.loop.call_later(seconds, self._read_nothing)
        elif self.cycle is not None and self.cycle.response_complete and self.timeout_keep_alive_task is None:
            # The rest of a body that was refused before it had arrived.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _read_nothing(self) -> None:
        arriving = None if self._bounds.in_head else self.cycle
        answering = self._answering
        if self._is_refused:
            self._close()
        elif answering is not None and not answering.response_complete and answering is not arriving:
            self._await_more(READ_SECONDS)  # it is the next request that is incomplete
        elif self.scope is not None and not (arriving and arriving.response_started):
            self._refuse(INCOMPLETE)
        else:
            self._close()

    def _give_up(self, refusal: Refusal) -> None:
        """Refuse the request that is arriving, and close, once those before it have been answered."""
        arriving = None if self._bounds.in_head else self.cycle
        answering = self._answering
        if answering is not None and not answering.response_complete and answering is not arriving:
            self.pipeline = deque(entry for entry in self.pipeline if entry[0] is not arriving)
            self._due_refusal = refusal
        elif arriving is not None and arriving.response_started:
            self._close()
        else:
            self._refuse(refusal)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        answering = self._answering
        is_idle = answering is None or answering.response_complete
        if isinstance(answering, LingeringCycle) and answering.lingers:
            self._linger()
        elif self._due_refusal is not None and is_idle and not self.transport.is_closing():
            self._refuse(self._due_refusal)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer in place of the application, and close."""
        if not self._bounds.in_head:  # the application has it already
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        refusal.report(self.client[0] if self.client else None)
        self.transport.write(refusal.answer())
        self._linger()

    def _linger(self) -> None:
        """Close once the client has stopped sending, or in a moment.

        The kernel would reset a connection that is closed before, and the client might never see the answer.
        """
        self._unset_keepalive_if_required()
        self._is_refused = self._incomplete = True
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._await_more(LAST_READ_SECONDS)

    # --- upgrades ---

    def _should_upgrade(self) -> bool:
        """Whether to become a WebSocket: there is an implementation, and no earlier request is unanswered."""
        busy = self._answering is not None and not self._answering.response_complete
        return not busy and super()._should_upgrade()

    @property
    def _ignores_upgrade(self) -> bool:
        """Whether to answer as if none had been offered."""
        return self.parser.should_upgrade() and not self._should_upgrade()

    def _read_as_if_not_offered(self, rest: bytes) -> None:
        """The parser stops after such a head: feed it the head again without the offer, then the rest."""
        offer = (b"upgrade", b"connection", b"http2-settings")
        lines = [b"%b: %b\r\n" % header for header in self.headers if header[0] not in offer]
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (self.parser.get_method(), self.url, b"".join(lines))
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(head + rest)

    # --- a client that does not read ---

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._writer is not None:
            self._writer.pause()
        self._await_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._writing is not None and not self.transport.is_closing():
            self._writing.cancel()
            self._writing = None
        if self._writer is not None:
            self._writer.resume()

    def _await_reader(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
        self._writing = self.loop.call_later(WRITE_SECONDS, self._read_by_client, self._unread)

    @property
    def _unread(self) -> int:
        """Bytes that the client has not taken in; a transport of TLS that was closed twice forgets them."""
        try:
            return self.transport.get_write_buffer_size()
        except AttributeError:
            return 0

    def _read_by_client(self, unread: int) -> None:
        if self._unread < unread:
            self._await_reader()
        else:
            self.transport.abort()
