"""Requests of the server to itself."""

import asyncio
from contextlib import aclosing

import pytest

from frontend.caller import Caller
from frontend.http import inside
from frontend.http.inside import CALLER

CALLS = Caller("key-1", is_batch=True)


async def echo(scope, receive, send):
    body = (await receive())["body"]
    await send(
        {"type": "http.response.start", "status": 201, "headers": [(b"x-path", scope["path"].encode())]}
    )
    await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": scope[CALLER].key_id.encode()})


left: list[str] = []


async def endless(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    gone = asyncio.ensure_future(receive_until_gone(receive))
    while not gone.done():
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
    left.append(scope["path"])


async def receive_until_gone(receive):
    while (await receive())["type"] != "http.disconnect":
        pass


def test_the_answer_is_whole():
    answer = asyncio.run(inside.ask(echo, CALLS, "/v1/x", b"body"))
    assert (answer.status, answer.body, answer.header(b"x-path")) == (201, b"bodykey-1", b"/v1/x")


def test_who_stops_reading_is_a_client_that_leaves():
    async def read_one():
        chunks = inside.stream(endless, CALLS, "/v1/left", b"")
        async with aclosing(chunks):
            async for message in chunks:
                if message["body"]:
                    break

    asyncio.run(read_one())
    assert left == ["/v1/left"]


def test_what_the_application_raises_is_raised():
    async def failing(scope, receive, send):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        asyncio.run(inside.ask(failing, CALLS, "/v1/x", b""))
