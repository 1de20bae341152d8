"""Asking an ASGI application without a server."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from frontend.http.asgi import Application, Message


class Answer(msgspec.Struct):
    """What came back; headers by lower-case name, repeated ones joined."""

    status: int
    headers: dict[str, str]
    body: bytes


def encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


def answer_of(sent: list[Message], kind: str = "http") -> Answer:
    begin, *bodies = sent
    assert begin["type"] == f"{kind}.response.start"
    headers: dict[str, str] = {}
    for name, value in begin["headers"]:
        joined = [headers[name.decode()]] if name.decode() in headers else []
        headers[name.decode()] = ", ".join([*joined, value.decode("latin-1")])
    assert {message["type"] for message in bodies} == {f"{kind}.response.body"}
    return Answer(begin["status"], headers, b"".join(message.get("body", b"") for message in bodies))


async def run(app: Application, scope: Mapping[str, Any], received: list[Message]) -> list[Message]:
    """What an application sends while it receives these messages, and then nothing for ever."""
    sent: list[Message] = []
    waiting = list(received)

    async def receive() -> Message:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    await app({"headers": [], "path": "/", "query_string": b"", "extensions": {}, **scope}, receive, send)
    return sent


def ask(app: Application, method: str = "GET", path: str = "/", **headers: str) -> Answer:
    """A header is a keyword, with underscores for hyphens."""
    given = encoded({name.replace("_", "-"): value for name, value in headers.items()})
    scope = {"type": "http", "method": method, "path": path, "headers": given}
    body: Message = {"type": "http.request", "body": b"", "more_body": False}
    return answer_of(asyncio.run(run(app, scope, [body])))


def connect(app: Application, received: list[Message], *extensions: str, **headers: str) -> list[Message]:
    """What is sent to a client that opens a WebSocket to /ws."""
    given = encoded({name.replace("_", "-"): value for name, value in headers.items()})
    scope = {"type": "websocket", "path": "/ws", "headers": given, "extensions": {e: {} for e in extensions}}
    return asyncio.run(run(app, scope, [{"type": "websocket.connect"}, *received]))
