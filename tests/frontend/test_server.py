"""How connections are kept, on a real socket with the loop's clock put forward."""

import asyncio
from typing import Any

from frontend.api.client import Receive, Send
from frontend.server import HttpServer, listen

# Go's client keeps an idle connection that long, longer than the other clients and most proxies.
LONGEST_IDLE_SECONDS = 90


async def ok(scope: Any, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
    return (await reader.readuntil(b"ok"))[:12]


async def ask_before_and_after_a_pause() -> list[bytes]:
    loop = asyncio.get_running_loop()
    listener = listen("127.0.0.1", 0)
    server = HttpServer(ok, graceful_seconds=1)
    serving = asyncio.create_task(server.serve([listener]))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    first = await ask(reader, writer)
    clock = loop.time
    loop.time = lambda: clock() + LONGEST_IDLE_SECONDS  # type: ignore[method-assign]
    await asyncio.sleep(0)  # what is due by now is run
    second = await ask(reader, writer)
    writer.close()
    server.should_exit = True
    await serving
    return [first, second]


def test_a_client_never_finds_its_idle_connection_closed_by_the_server() -> None:
    assert asyncio.run(ask_before_and_after_a_pause()) == [b"HTTP/1.1 200"] * 2
