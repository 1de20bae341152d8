"""From a source of items to the body of a response, in the turn of the event loop in which the items arrive.

With `nacelle.writer`, the source calls back, and its items are encoded and written in the same turn; the task
of the request sleeps until the end. While the client reads too slowly, items stay in the source, which bounds
them; they are taken together when the writer calls back. Without the extension, the same items are yielded to
whatever iterates over the body.
"""

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Generic, Protocol, TypeVar

from frontend.errors import ClientGone
from frontend.http.asgi import Writer

T = TypeVar("T")


class Source(Protocol[T]):
    """Buffers items until they are taken."""

    @property
    def finished(self) -> bool:
        """Whether all items have been taken and none will follow."""

    def take(self) -> list[T]:
        """All buffered items, perhaps none. Raises the source's error once nothing is buffered before it."""

    def listen(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` when there is something to take and when the source ends or fails; None: nobody."""


async def body_of(
    source: Source[T], encode: Callable[[list[T]], bytes], writer: Writer | None
) -> AsyncIterator[bytes]:
    """Send all items of a source: through the writer, or without one by yielding them.

    Items that encode to nothing are skipped. Raises the source's error, the encoder's, or ClientGone.
    """
    if writer is not None:
        await _Push(source, encode, writer).run()
    else:
        async for data in _pulled(source, encode):
            yield data


class _Push(Generic[T]):
    def __init__(self, source: Source[T], encode: Callable[[list[T]], bytes], writer: Writer) -> None:
        self._source = source
        self._encode = encode
        self._writer = writer
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._end_of_turn = _end_of_turn()
        self._due = False

    async def run(self) -> None:
        self._source.listen(self._schedule)
        self._writer.notify(self._resume)
        try:
            self._resume()  # what has arrived so far, if the client is still there
            await self._ended
        finally:
            self._source.listen(None)
            self._writer.notify(None)

    def _schedule(self) -> None:
        if not self._due:
            self._due = True
            self._end_of_turn.add(self.push)

    def _resume(self) -> None:
        if not self._writer.gone:
            self._schedule()
        elif not self._ended.done():
            self._ended.set_exception(ClientGone())

    def push(self) -> None:
        """Write what there is. Does not raise."""
        self._due = False
        if self._ended.done():
            return
        try:
            while not self._writer.paused and (items := self._source.take()):
                self._writer.write(self._encode(items))
            if self._source.finished:
                self._ended.set_result(None)
        except Exception as error:
            self._ended.set_exception(error)


class _EndOfTurn:
    """Calls back when what the event loop is running now has ended: one callback of the loop for all streams.

    When messages of a host have piled up, one callback reads many of them. Each stream then gets one write
    instead of one per message. A write is a system call and costs more than everything else per token.
    """

    def __init__(self) -> None:
        self._pushes: list[Callable[[], None]] = []

    def add(self, push: Callable[[], None]) -> None:
        if not self._pushes:
            asyncio.get_running_loop().call_soon(self._run)
        self._pushes.append(push)

    def _run(self) -> None:
        pushes, self._pushes = self._pushes, []
        for push in pushes:
            push()


_ends: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _EndOfTurn]" = weakref.WeakKeyDictionary()


def _end_of_turn() -> _EndOfTurn:
    """The running loop's."""
    loop = asyncio.get_running_loop()
    if loop not in _ends:
        _ends[loop] = _EndOfTurn()
    return _ends[loop]


async def _pulled(source: Source[T], encode: Callable[[list[T]], bytes]) -> AsyncIterator[bytes]:
    changed = asyncio.Event()
    source.listen(changed.set)
    try:
        while not source.finished:
            changed.clear()
            if not (items := source.take()):
                await changed.wait()
            elif data := encode(items):
                yield data
    finally:
        source.listen(None)
