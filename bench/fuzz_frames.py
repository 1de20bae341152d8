"""Damaged frames at the WebSockets of the realtime route and of Socket.IO."""

import asyncio
import json
from collections.abc import Sequence
from random import Random
from typing import Any

from bench.mutations import Request, mutated

_EVENTS = (
    {"type": "session.update", "session": {"audio": {"input": {"format": {"rate": 24000}}}}},
    {"type": "input_audio_buffer.append", "audio": "AAAA"},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"type": "conversation.item.delete", "item_id": "a"},
)  # fmt: skip
_PACKETS = (
    ["inference_prompt", {"prompt": "Hello", "max_tokens": 2}],
    ["inference_cancel", {"request_id": "a"}],
    ["inference_join", {"session_id": "a"}],
    ["inference_leave", {"session_id": "a"}],
)
_PREFIXES = ("42", "420", "42/x,", "41", "43", "451-", "40", "4", "2", "6", "")  # "42": an event
_MOST = 8  # events of a session
_SECONDS = 10.0
_INTERNAL_ERROR = 1011  # a WebSocket's code for a defect


async def defect_of_session(port: int, random: Random) -> str | None:
    """What went wrong in a realtime session of damaged events; None where the server kept to the protocol."""
    events = [_damaged(random.choice(_EVENTS), random) for _ in range(random.randrange(1, _MOST))]
    return await _defect(port, "/v1/realtime", (), events, random)


async def defect_of_socketio(port: int, random: Random) -> str | None:
    """The same of a Socket.IO connection."""
    packets = [
        random.choice((_PREFIXES[0], random.choice(_PREFIXES))).encode()
        + _damaged(random.choice(_PACKETS), random)
        for _ in range(random.randrange(1, _MOST))
    ]
    return await _defect(port, "/socket.io/?EIO=4&transport=websocket", ("40",), packets, random)


def _damaged(value: Any, random: Random) -> bytes:
    body = json.dumps(value).encode()
    if isinstance(value, dict):
        return mutated(Request("GET", "/", (), body, value), random).body
    name, fields = value
    damaged = mutated(Request("GET", "/", (), json.dumps(fields).encode(), fields), random).body
    return json.dumps([name, "?"]).encode().replace(b'"?"', damaged) if random.random() < 0.9 else body[:-3]


async def _defect(
    port: int, path: str, greeting: Sequence[str], messages: Sequence[bytes], random: Random
) -> str | None:
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed

    try:
        async with asyncio.timeout(_SECONDS), connect(f"ws://127.0.0.1:{port}{path}") as socket:
            for text in greeting:
                await socket.recv()
                await socket.send(text)
            for message in messages:
                await socket.send(message if random.random() < 0.2 else message.decode("utf-8", "replace"))
            await socket.close()
    except ConnectionClosed as error:
        if error.rcvd is None or error.rcvd.code == _INTERNAL_ERROR:
            return f"{error}: {messages!r}"
    except (TimeoutError, OSError) as error:
        return f"{error!r}: {messages!r}"
    return None
