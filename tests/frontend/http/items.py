"""A source whose items a test puts in."""

from collections.abc import Callable


class Items:
    """Implements `push.Source`."""

    def __init__(self) -> None:
        self.buffered: list[bytes] = []
        self.takes = 0
        self._ended = False
        self._error: Exception | None = None
        self._callback: Callable[[], None] | None = None

    @property
    def listened_to(self) -> bool:
        return self._callback is not None

    def put(self, *items: bytes) -> None:
        self.buffered += items
        self._announce()

    def end(self) -> None:
        self._ended = True
        self._announce()

    def fail(self, error: Exception) -> None:
        self._error = error
        self._announce()

    def _announce(self) -> None:
        if self._callback is not None:
            self._callback()

    @property
    def finished(self) -> bool:
        return self._ended and not self.buffered

    def take(self) -> list[bytes]:
        if self.buffered:
            self.takes += 1
            taken, self.buffered = self.buffered, []
            return taken
        if self._error is not None:
            raise self._error
        return []

    def listen(self, callback: Callable[[], None] | None) -> None:
        self._callback = callback
