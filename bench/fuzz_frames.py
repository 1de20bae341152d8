"""Damaged frames at the realtime route's WebSocket."""

import asyncio
import json
from random import Random

from bench.mutations import Request, mutated

_EVENTS = (
    {"type": "session.update", "session": {"audio": {"input": {"format": {"rate": 24000}}}}},
    {"type": "input_audio_buffer.append", "audio": "AAAA"},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"type": "conversation.item.delete", "item_id": "a"},
)  # fmt: skip
_MOST = 8  # events of a session
_SECONDS = 10.0
_INTERNAL_ERROR = 1011  # a WebSocket's code for a defect


async def defect_of_session(port: int, random: Random) -> str | None:
    """What went wrong in a session of damaged events; None where the server kept to the protocol."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed

    sent: list[bytes] = []
    try:
        async with asyncio.timeout(_SECONDS), connect(f"ws://127.0.0.1:{port}/v1/realtime") as socket:
            for _ in range(random.randrange(1, _MOST)):
                event = random.choice(_EVENTS)
                sent.append(mutated(Request("GET", "/", (), json.dumps(event).encode(), event), random).body)
                await socket.send(sent[-1] if random.random() < 0.2 else sent[-1].decode("utf-8", "replace"))
            await socket.close()
    except ConnectionClosed as error:
        if error.rcvd is None or error.rcvd.code == _INTERNAL_ERROR:
            return f"{error}: {sent!r}"
    except (TimeoutError, OSError) as error:
        return f"{error!r}: {sent!r}"
    return None
