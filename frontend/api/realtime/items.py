"""A session's committed audio: transcribed item by item, in order."""

import asyncio

import falcon
import msgspec

from frontend.api.errors import presentable
from frontend.api.realtime.buffer import SAMPLE_BYTES
from frontend.api.realtime.events import (
    TranscriptionCompleted,
    TranscriptionDelta,
    TranscriptionFailed,
    Usage,
)
from frontend.api.realtime.wire import Wire, event_id
from frontend.http.error_body import error_body
from frontend.routing.router import Model
from frontend.tasks.transcription import transcribe
from ipc.messages import Transcribe

_MOST_ITEMS = 32  # that wait


class AudioItem(msgspec.Struct, frozen=True):
    id: str
    model: Model
    work: Transcribe
    pcm: bytes

    @property
    def seconds(self) -> float:
        return len(self.pcm) / SAMPLE_BYTES / self.work.pcm_rate


class Items:
    """Those of one session. `run` works on them until it is cancelled."""

    def __init__(self, wire: Wire) -> None:
        self.seconds = 0.0  # of audio that was transcribed
        self.held_bytes = 0
        self._wire = wire
        self._queue: asyncio.Queue[AudioItem] = asyncio.Queue(_MOST_ITEMS)
        self._ended = asyncio.Condition()

    async def put(self, item: AudioItem) -> None:
        """Waits while too many items wait."""
        self.held_bytes += len(item.pcm)
        await self._queue.put(item)

    async def one_ended(self) -> None:
        """Wait for the next item to end."""
        async with self._ended:
            await self._ended.wait()

    async def run(self) -> None:
        while True:
            item = await self._queue.get()
            await self._transcribe(item)
            self.held_bytes -= len(item.pcm)
            self.seconds += item.seconds
            async with self._ended:
                self._ended.notify_all()

    async def _transcribe(self, item: AudioItem) -> None:
        try:
            transcript = await self._transcript(item)
        except falcon.WebSocketDisconnected:
            raise
        except Exception as error:
            shown = error_body(presentable(error, "a realtime session")).error
            await self._wire.send(TranscriptionFailed(event_id(), item.id, shown))
        else:
            usage = Usage(round(item.seconds, 3))
            await self._wire.send(TranscriptionCompleted(event_id(), item.id, transcript, usage))

    async def _transcript(self, item: AudioItem) -> str:
        stream = transcribe(item.model, item.work, item.pcm)
        try:
            while passages := await stream.outputs():
                if text := "".join(passage.text for passage in passages):
                    await self._wire.send(TranscriptionDelta(event_id(), item.id, text))
        finally:
            stream.close()
        return stream.transcript.text
