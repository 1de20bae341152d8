"""Requests that the server makes to itself, through the same layers as those of clients."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec

from frontend.caller import Caller
from frontend.http.asgi import Application, Headers, Message, Scope

CALLER = "nacelle.caller"  # in a scope: who asks. No server puts it there, so that no client can
_BUFFERED_CHUNKS = 16


class Answer(msgspec.Struct, frozen=True):
    status: int
    headers: Headers
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


async def ask(
    app: Application,
    caller: Caller,
    path: str,
    body: bytes,
    *,
    method: str = "POST",
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> Answer:
    """The whole answer. Whoever cancels this is a client that leaves."""
    chunks = stream(app, caller, path, body, method=method, headers=headers)
    async with aclosing(chunks):
        start = await anext(chunks)
        parts = [message["body"] async for message in chunks]
    return Answer(start["status"], list(start["headers"]), b"".join(parts))


async def stream(
    app: Application,
    caller: Caller,
    path: str,
    body: bytes,
    *,
    method: str = "POST",
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> AsyncGenerator[Message, None]:
    """First the message `http.response.start`, then those of the body, as they come.

    Whoever closes the generator early is a client that leaves. Raises what the application raises.
    """
    messages: asyncio.Queue[Message | None] = asyncio.Queue(_BUFFERED_CHUNKS)
    left = asyncio.Event()
    asked = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if asked:
            return asked.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if not left.is_set():
            await messages.put(message)

    async def run() -> None:
        try:
            await app(_scope(caller, method, path, body, headers), receive, send)
        finally:
            if not left.is_set():
                await messages.put(None)

    task = asyncio.ensure_future(run())
    try:
        while (message := await messages.get()) is not None:
            yield {"body": b"", **message}
        await task
    finally:
        left.set()
        while not messages.empty():  # whoever waits for room may go on
            messages.get_nowait()
        await asyncio.wait([task])


def _scope(
    caller: Caller, method: str, path: str, body: bytes, headers: Sequence[tuple[bytes, bytes]]
) -> Scope:
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    given = {name.lower() for name, _ in headers}
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [*(header for header in own if header[0] not in given), *headers],
        "client": None,
        "server": None,
        "extensions": {},
        CALLER: caller,
    }
