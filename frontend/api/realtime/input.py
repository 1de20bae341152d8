"""A session's input audio: what is appended becomes items, by the client's commits or by turns of speech."""

import asyncio
from collections.abc import Awaitable, Callable

from frontend.api.realtime.buffer import SAMPLE_BYTES, AudioBuffer
from frontend.api.realtime.events import Cleared, SpeechStarted, SpeechStopped
from frontend.api.realtime.settings import SessionSettings
from frontend.api.realtime.turns import Started, Stopped, Turns, answered, kept_from, question
from frontend.api.realtime.wire import Wire, error_event, event_id, new_id
from frontend.errors import BadRequest, ServerError
from ipc.messages import DetectSpeech, SpeechDetected

_SHORTEST_MS = 100  # of audio that can be committed
_PAUSE_SECONDS = 0.5  # after a question that failed
_TOLERATED_FAILURES = 3  # in a row, before the client is told

Ask = Callable[[DetectSpeech, bytes], Awaitable[SpeechDetected]]
Take = Callable[[str, bytes], Awaitable[None]]


class InputAudio:
    """Every question about turns is a job of its own, and none depends on what a host keeps."""

    def __init__(self, wire: Wire, settings: SessionSettings, ask: Ask, take: Take) -> None:
        """`ask` gets the PCM of a question, and `take` the id and the PCM of an item."""
        self._wire = wire
        self._settings = settings
        self._ask = ask
        self._take = take
        self._buffer = AudioBuffer(settings.rate)
        self._turns = Turns()
        self._turn_item = ""  # the id of what the present turn becomes
        self._appended = asyncio.Event()
        self._changing = asyncio.Lock()  # held while audio leaves the buffer

    def __len__(self) -> int:
        """In bytes."""
        return len(self._buffer)

    @property
    def bytes_per_second(self) -> int:
        return self._buffer.rate * SAMPLE_BYTES

    async def configure(self, settings: SessionSettings) -> None:
        """Raises BadRequest for another sample rate while audio waits to be committed."""
        async with self._changing:
            before = self._settings
            if settings.rate != before.rate:
                is_idle = before.turn_detection is not None and self._turns.began_ms is None
                if len(self._buffer) and not is_idle:
                    raise BadRequest(
                        "session.audio.input.format: commit or clear the audio before you change the rate",
                        "session.audio.input.format",
                    )
                self._buffer = AudioBuffer(settings.rate, self._buffer.end_ms)
            if (settings.turn_detection is None) != (before.turn_detection is None):
                self._turns_from(max(self._buffer.start_ms, self._turns.taken_ms))
            self._settings = settings

    def append(self, pcm: bytes) -> None:
        self._buffer.append(pcm)
        self._appended.set()

    async def commit(self) -> None:
        """Make an item of everything that no item has. Raises BadRequest if that is too little."""
        async with self._changing:
            end = self._buffer.end_ms
            start = max(self._buffer.start_ms, self._turns.taken_ms)
            if end - start < _SHORTEST_MS:
                error = BadRequest(
                    f"the buffer holds less than {_SHORTEST_MS} ms of audio; append more first"
                )
                error.code = "input_audio_buffer_commit_empty"
                raise error
            item = self._turn_item or new_id("item")
            self._turns_from(end)
            pcm = self._buffer.between(start, end)
            self._buffer.drop_before(end)
            await self._take(item, pcm)

    async def clear(self) -> None:
        async with self._changing:
            self._buffer = AudioBuffer(self._buffer.rate, self._buffer.end_ms)
            self._turns_from(self._buffer.end_ms)
        await self._wire.send(Cleared(event_id()))

    def _turns_from(self, position_ms: int) -> None:
        self._turns, self._turn_item = Turns(heard_ms=position_ms, taken_ms=position_ms), ""

    # --- turns of speech ---

    async def listen(self) -> None:
        """Find turns in what is appended, until cancelled."""
        failures = 0
        while True:
            await self._appended.wait()
            self._appended.clear()
            try:
                while self._settings.turn_detection is not None and await self._hear():
                    failures = 0
            except ServerError as error:
                failures += 1
                if failures == _TOLERATED_FAILURES:
                    await self._wire.send(error_event(error))
                await asyncio.sleep(_PAUSE_SECONDS)
                self._appended.set()

    async def _hear(self) -> bool:
        """Ask a host about what is new. Returns whether there was enough."""
        turns, voice, buffer = self._turns, self._settings.voice, self._buffer
        stretch = question(turns, voice, buffer.start_ms, buffer.end_ms)
        if stretch is None:
            return False
        found = await self._ask(DetectSpeech(0, b"", buffer.rate, voice), buffer.between(*stretch))
        async with self._changing:
            if self._turns is not turns:  # the client committed, cleared or changed the settings meanwhile
                return True
            self._turns, changes = answered(turns, voice, stretch, found)
            began = turns.began_ms or 0
            for change in changes:
                began = await self._changed(change, began)
            buffer.drop_before(kept_from(self._turns, voice))
        return True

    async def _changed(self, change: Started | Stopped, began_ms: int) -> int:
        """Report a change. Returns where the present turn began."""
        if isinstance(change, Started):
            self._turn_item = new_id("item")
            await self._wire.send(SpeechStarted(event_id(), change.at_ms, self._turn_item))
            return change.at_ms
        item, self._turn_item = self._turn_item, ""
        await self._wire.send(SpeechStopped(event_id(), change.at_ms, item))
        await self._take(item, self._buffer.between(began_ms, change.at_ms))
        return 0
