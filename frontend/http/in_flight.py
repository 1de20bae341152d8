"""The requests that are being answered, from their heads to the last byte of their responses."""

import time
from collections.abc import Callable, Iterator

import msgspec

from frontend.errors import ServerError
from frontend.http.exchange import Exchange, TokenCounts


class Entry(msgspec.Struct, frozen=True):
    exchange: Exchange
    began_at: float  # in Unix seconds


class InFlight:
    """As many as there are connections with a request, requests that the server makes to itself, and answers
    that go on after their clients have left."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` returns Unix seconds."""
        self._entries: dict[int, Entry] = {}
        self._clock = clock
        self.on_end: list[Callable[[Exchange, float, TokenCounts | None], None]] = []

    def now(self) -> float:
        return self._clock()

    def add(self, exchange: Exchange, seconds: float = 0.0) -> None:
        """It began `seconds` ago."""
        self._entries[id(exchange)] = Entry(exchange, self._clock() - seconds)

    def forget(self, exchange: Exchange) -> None:
        """Its end is of no interest: a request that was reported on asked for it."""
        self._entries.pop(id(exchange), None)

    def ended(self, exchange: Exchange, seconds: float, tokens: TokenCounts | None) -> None:
        """Its last byte was sent, after so many seconds."""
        self.forget(exchange)
        for told in self.on_end:
            told(exchange, seconds, tokens)

    def __iter__(self) -> Iterator[Entry]:
        """The oldest first."""
        return iter(list(self._entries.values()))

    def cancel(
        self, request_id: str, error: ServerError, may_end: Callable[[Exchange], bool] = lambda _: True
    ) -> list[Exchange]:
        """End the requests with this id, which clients may choose and repeat. Returns those that could be
        ended: a client that still sends its request gets the error once it has sent it."""
        ended = []
        for entry in self:
            exchange = entry.exchange
            if exchange.request_id != request_id or not may_end(exchange):
                continue
            if exchange.end is not None and exchange.cancelled is None:
                exchange.cancelled = error
                exchange.end(error)
                ended.append(exchange)
        return ended
