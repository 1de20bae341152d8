"""A client of `GET /v1/realtime`: streams recordings into a session and collects their transcripts."""

import asyncio
import base64
from typing import Any

import msgspec

from bench.client import Client, Response, clock
from bench.errors import BadAnswer, ConnectFailed, ConnectionLost, DeadlineExceeded
from bench.speech import SAMPLE_RATE

PATH = "/realtime?intent=transcription"
_CHUNK_BYTES = SAMPLE_RATE  # half a second of 16-bit samples
_CHUNK_SECONDS = 0.05  # of sending: ten times as fast as it was spoken
# A recording with shorter pauses is one turn, and the silence behind it ends the turn.
_PAUSE_MS = 1500
_SILENCE = bytes(3 * 2 * SAMPLE_RATE)
_COMPLETED = "conversation.item.input_audio_transcription.completed"
_FAILURES = ("error", "conversation.item.input_audio_transcription.failed")


class _Event(msgspec.Struct):
    type: str
    transcript: str = ""


async def transcribe(model: str, client: Client, recordings: bytes, deadline: float) -> Response:
    """Stream recordings (msgpack: a list of raw samples of 24 kHz) in one session, with turns found by the
    server. The body of the response is a JSON list of their transcripts. Raises a ClientError."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed, InvalidHandshake

    parts = msgspec.msgpack.decode(recordings, type=list[bytes])
    started = clock()
    try:
        async with asyncio.timeout(deadline), connect(client.web_socket_url(PATH)) as socket:
            await socket.send(msgspec.json.encode(_settings(model)).decode())
            sending = asyncio.create_task(_send(socket, parts))
            try:
                found = [await _transcript(socket) for _ in parts]
            finally:
                sending.cancel()
                await asyncio.wait([sending])
    except TimeoutError:
        raise DeadlineExceeded(f"no complete transcript within {deadline:g} s") from None
    except ConnectionClosed as error:
        raise ConnectionLost(f"the session ended: {error}") from None
    except (OSError, InvalidHandshake) as error:
        raise ConnectFailed(f"no session: {error}") from None
    return Response(200, started, clock(), msgspec.json.encode(found), [])


def encode_parts(parts: list[bytes]) -> bytes:
    """The request of `transcribe`."""
    return msgspec.msgpack.encode(parts)


def words(response: Response) -> list[str]:
    """The words of a session in lower case, without punctuation: where a turn begins depends on how its audio
    arrives, by some milliseconds."""
    text = " ".join(msgspec.json.decode(response.body, type=list[str]))
    plain = "".join(letter if letter.isalnum() else " " for letter in text.lower())
    return plain.split()


def _settings(model: str) -> dict[str, Any]:
    turns = {"type": "server_vad", "silence_duration_ms": _PAUSE_MS}
    audio_format = {"type": "audio/pcm", "rate": SAMPLE_RATE}
    audio = {"format": audio_format, "transcription": {"model": model}, "turn_detection": turns}
    return {"type": "session.update", "session": {"type": "transcription", "audio": {"input": audio}}}


async def _send(socket: Any, parts: list[bytes]) -> None:
    for part in parts:
        spoken = part + _SILENCE
        for start in range(0, len(spoken), _CHUNK_BYTES):
            audio = base64.b64encode(spoken[start : start + _CHUNK_BYTES]).decode()
            event = {"type": "input_audio_buffer.append", "audio": audio}
            await socket.send(msgspec.json.encode(event).decode())
            await asyncio.sleep(_CHUNK_SECONDS)


async def _transcript(socket: Any) -> str:
    """The text of the next turn. Raises BadAnswer."""
    while True:
        data = await socket.recv()
        event = msgspec.json.decode(data, type=_Event)
        if event.type in _FAILURES:
            raise BadAnswer("session_error", str(data)[:500])
        if event.type == _COMPLETED:
            return event.transcript
