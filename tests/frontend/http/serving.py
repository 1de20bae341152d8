"""An ASGI application on a real socket, and a client's end of a connection to it."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from frontend.http.asgi import Application, Receive, Send
from frontend.http.server import HttpServer, listen


async def echo(scope: Any, receive: Receive, send: Send) -> None:
    """Answers with the body of the request."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        more = message.get("more_body", False)
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


class Connected:
    """A client's end of a connection, the server, and the clock."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: HttpServer
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.server = server

    async def say(self, data: bytes) -> None:
        """Both ends are of one event loop: a few turns of it, and the server has read what was written."""
        self.writer.write(data)
        await self.writer.drain()
        for _ in range(5):
            await asyncio.sleep(0)

    async def heard(self) -> tuple[int, bytes]:
        """The next answer's status and body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        assert length
        return int(head.split()[1]), await self.reader.readexactly(int(length[1]))

    async def heard_all(self) -> bytes:
        """Every byte until the server closes the connection, but the Date headers."""
        return re.sub(rb"date: [^\r]*\r\n", b"", await self.reader.read())

    async def later(self, seconds: float) -> None:
        """Timers that are due within `seconds` fire now."""
        loop = asyncio.get_running_loop()
        clock = loop.time
        loop.time = lambda: clock() + seconds  # type: ignore[method-assign]
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def connected(app: Any) -> AsyncIterator[Connected]:
    listener = listen("127.0.0.1", 0)
    server = HttpServer(app, graceful_seconds=30)
    serving = asyncio.create_task(server.serve([listener]))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    try:
        yield Connected(reader, writer, server)
    finally:
        writer.transport.abort()
        while server.server_state.connections or server.server_state.tasks:
            await asyncio.sleep(0)
        serving.cancel()  # an orderly end takes uvicorn a quarter of a second
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        for sockets in server.servers:
            sockets.close()
        listener.close()


def with_connection(
    scenario: Callable[[Connected], Awaitable[None]],
    app: Any = echo,
    loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> None:
    """`loop` makes the event loop; time can be put forward in that of asyncio only."""

    async def run() -> None:
        async with connected(app) as connection:
            await scenario(connection)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())


def without_writer(app: Application) -> Application:
    """What an application sees of a server that offers no `nacelle.writer`."""

    async def stripped(scope: Any, receive: Receive, send: Send) -> None:
        await app({**scope, "extensions": {}}, receive, send)

    return stripped


def with_writer(app: Application) -> Application:
    return app
