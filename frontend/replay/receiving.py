"""Reads the body of a request that may be answered from memory, and passes it on as if it were unread."""

import asyncio

from frontend.api.json_size import JsonLimits, JsonSize
from frontend.errors import RequestTooLarge
from frontend.http.asgi import Message, Receive, Scope, header

_LIMITS = JsonLimits()


def declared(scope: Scope) -> int:
    """The length of the body in bytes, as the head declares it; 0 if it does not."""
    length = header(scope, b"content-length") or ""
    return int(length) if length.isascii() and length.isdecimal() else 0


async def left(receive: Receive) -> None:
    """Until the client leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass


def until(left: asyncio.Event) -> Receive:
    """A client that leaves when the event is set."""

    async def receive() -> Message:
        await left.wait()
        return {"type": "http.disconnect"}

    return receive


def replayed(body: bytes, receive: Receive) -> Receive:
    """A body that was read, as `receive` gives it; then what `receive` gives."""
    return _replaying([{"type": "http.request", "body": body, "more_body": False}], receive)


def _replaying(messages: list[Message], receive: Receive) -> Receive:
    async def replay() -> Message:
        return messages.pop(0) if messages else await receive()

    return replay


async def read_body(receive: Receive, limit: int) -> tuple[bytes | None, Receive]:
    """The body and the rest; None for one that is too large or not whole, which is all in the rest."""
    messages: list[Message] = []
    size = 0
    while True:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or size > limit:
            return None, _replaying(messages, receive)
        if not message.get("more_body", False):
            return b"".join(part.get("body", b"") for part in messages), receive


async def is_quickly_decoded(body: bytes) -> bool:
    """Whether nobody else has to wait while this JSON is decoded."""
    try:
        await JsonSize().add_in_turns(body, _LIMITS)
    except RequestTooLarge:
        return False
    return True
