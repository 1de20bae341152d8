"""An answer, finished or in progress, that each request reads from its own position."""

import asyncio
from collections.abc import AsyncIterator

from frontend.http.asgi import Message
from frontend.http.exchange import Exchange

_END_OF_EVENT = b"\n\n"
_EVENTS = b"text/event-stream"


class Recording:
    def __init__(self, exchange: Exchange, numbers_events: bool = False) -> None:
        """`exchange`: that of the request for which it is made. `numbers_events`: server-sent events get
        ids from 1 on."""
        self.exchange = exchange
        self.start: Message | None = None
        self.ended = False
        self.error: Exception | None = None
        self.size = 0  # bytes
        self.readers = 0
        self.abandoned = asyncio.Event()  # nobody will read it: it need not be made to its end
        self._numbers_events = numbers_events
        self._is_numbered = False
        self._parts: list[bytes] = []  # of a numbered stream, one event each; comments are joined to one
        self._changed: list[asyncio.Future[None]] = []

    @property
    def is_good(self) -> bool:
        """Whether it is a whole answer that another request may get."""
        is_ok = self.start is not None and self.start["status"] == 200
        return self.ended and self.error is None and is_ok and self.exchange.failure is None

    @property
    def is_unread(self) -> bool:
        """Whether it is in progress without a reader."""
        return not (self.readers or self.ended or self.abandoned.is_set())

    def may_follow(self, number: int) -> bool:
        """Whether a client can have the event of that number, so far as is known."""
        return not self._is_numbered or number <= len(self._parts)

    async def send(self, message: Message) -> None:
        """For the application that makes the answer."""
        if message["type"] == "http.response.start":
            headers = dict(message.get("headers", ()))
            self._is_numbered = self._numbers_events and headers.get(b"content-type", b"").startswith(_EVENTS)
            self.start = message
        else:
            self._add(message.get("body", b""))
            self.ended = not message.get("more_body", False)
        self._wake()

    def _add(self, data: bytes) -> None:
        if not data:
            return
        parts = self._numbered(data) if self._is_numbered else [data]
        self._parts += parts
        self.size += sum(map(len, parts))

    def _numbered(self, data: bytes) -> list[bytes]:
        """Whole events, each with its number as its id."""
        events = [event + _END_OF_EVENT for event in data.split(_END_OF_EVENT) if event]
        first = len(self._parts) + 1
        return [b"id: %d\n%b" % (first + index, event) for index, event in enumerate(events)]

    def end(self, error: Exception | None) -> None:
        """The application has returned; `error` is what it raised."""
        if not self.ended and error is None:
            error = RuntimeError("the answer is incomplete")
        self.error = error
        self.ended = True
        if self.exchange.tokens is not None:  # what reads them would keep the whole generation
            counts = self.exchange.tokens()
            self.exchange.tokens = lambda: counts
        if self.exchange.audio_seconds is not None:
            seconds = self.exchange.audio_seconds()
            self.exchange.audio_seconds = lambda: seconds
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, []
        for future in changed:
            if not future.done():
                future.set_result(None)

    async def begun(self) -> None:
        """Wait until the response starts, or ends without a start."""
        while self.start is None and not self.ended:
            await self._change()

    async def parts(self, after: int = 0) -> AsyncIterator[bytes]:
        """The parts after this number: those that exist, joined, then later ones. Raises what broke it."""
        if not self._is_numbered:
            after = 0  # a part of what is no stream of events would not be an answer
        while True:
            if after < len(self._parts):
                data = b"".join(self._parts[after:])
                after = len(self._parts)
                yield data
            elif not self.ended:
                await self._change()
            elif self.error is not None:
                raise self.error
            else:
                return

    async def _change(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed.append(future)
        await future
