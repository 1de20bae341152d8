"""One transcription session: its audio, its settings, and the items that its audio becomes."""

import asyncio
import base64
import binascii
import logging

import msgspec

from frontend.api.abilities import transcription_card
from frontend.api.realtime.buffer import SAMPLE_BYTES, AudioBuffer
from frontend.api.realtime.events import (
    Append,
    Clear,
    Cleared,
    Commit,
    Committed,
    Item,
    ItemChanged,
    SessionChanged,
    SessionUpdate,
    SpeechStarted,
    SpeechStopped,
)
from frontend.api.realtime.items import AudioItem, Items
from frontend.api.realtime.settings import SessionSettings, shown, updated
from frontend.api.realtime.turns import Started, Stopped, Turns, answered, kept_from, question
from frontend.api.realtime.wire import Wire, error_event, event_id, event_of, new_id
from frontend.api.transcription_form import PROMPT_CHARACTERS, language_of
from frontend.errors import BadRequest, ServerError
from frontend.routing.router import Model, Router
from ipc.messages import DetectSpeech, SpeechDetected, Transcribe, TranscriptionCard

MOST_SECONDS = 180  # of audio that a session holds, committed or not
_SHORTEST_MS = 100  # of audio that can be committed
_PAUSE_SECONDS = 0.5  # after a question that failed
_TOLERATED_FAILURES = 3  # in a row, before the client is told
_MODEL_PARAM = "session.audio.input.transcription.model"

log = logging.getLogger("nacelle.api")


class Session:
    """Every item and every question about voice activity is a job of its own, so that a session outlives the
    hosts that work for it."""

    def __init__(self, router: Router, wire: Wire, *, beta: bool) -> None:
        self.id = new_id("sess")
        self.items = Items(wire)
        self.settings = SessionSettings()
        self._router = router
        self._wire = wire
        self._beta = beta
        self._model: Model | None = None
        self._card: TranscriptionCard | None = None
        self._buffer = AudioBuffer(self.settings.rate)
        self._turns = Turns()
        self._turn_item = ""  # the id of what the present turn becomes
        self._previous_item: str | None = None
        self._audio_came = asyncio.Event()
        self._changing = asyncio.Lock()  # held while turns end and audio is taken from the buffer

    async def choose(self, model: str) -> None:
        """Use a model. Raises what `Router.model` raises, and BadRequest for one of another task."""
        chosen = await self._router.model(model)
        self._card, self._model = transcription_card(chosen), chosen
        self.settings = msgspec.structs.replace(self.settings, model=model)

    async def announce(self, what: str) -> None:
        """`what`: "created" or "updated"."""
        kind = f"transcription_session.{what}" if self._beta else f"session.{what}"
        session = shown(self.settings, self.id, beta=self._beta)
        await self._wire.send(SessionChanged(kind, event_id(), session))

    async def handle(self, data: bytes, kind: str) -> None:
        """Act on a client's event. Raises ServerError."""
        match event_of(data, kind):
            case SessionUpdate() as event:
                self._beta = self._beta or kind.startswith("transcription_session.")
                await self._update(event)
            case Append(audio):
                await self._append(audio)
            case Commit():
                await self._commit()
            case Clear():
                await self._clear()

    # --- the client's events ---

    async def _update(self, event: SessionUpdate) -> None:
        settings = updated(self.settings, event.session)
        if settings.model is not None and settings.model != self.settings.model:
            await self.choose(settings.model)
        if self._card is not None:
            language_of(settings.language, settings.languages, self._card)
        async with self._changing:
            self._apply(settings)
        await self.announce("updated")

    def _apply(self, settings: SessionSettings) -> None:
        before, self.settings = self.settings, settings
        idle = before.turn_detection is not None and self._turns.began_ms is None
        if settings.rate != before.rate:
            if len(self._buffer) and not idle:
                self.settings = before
                raise BadRequest("session.audio.input.format: commit or clear the audio before you change it")
            self._buffer = AudioBuffer(settings.rate, self._buffer.end_ms)
        if (settings.turn_detection is None) != (before.turn_detection is None):
            start = self._buffer.start_ms
            self._turns = Turns(heard_ms=start, taken_ms=start)

    async def _append(self, audio: str) -> None:
        self._chosen()
        try:
            data = base64.b64decode(audio, validate=True)
        except (binascii.Error, ValueError):
            raise BadRequest("audio is not valid base64", "audio") from None
        limit = MOST_SECONDS * self.settings.rate * SAMPLE_BYTES
        while len(self._buffer) + self.items.held_bytes + len(data) > limit:
            if not self.items.held_bytes:
                raise BadRequest(
                    f"audio: the buffer holds at most {MOST_SECONDS} seconds; commit it earlier", "audio"
                )
            await self.items.one_ended()
        self._buffer.append(data)
        self._audio_came.set()

    async def _commit(self) -> None:
        async with self._changing:
            end = self._buffer.end_ms
            start = max(self._buffer.start_ms, self._turns.taken_ms)
            if self._turns.began_ms is not None:
                start = self._turns.began_ms
            if end - start < _SHORTEST_MS:
                error = BadRequest(
                    f"the buffer holds less than {_SHORTEST_MS} ms of audio; append more first"
                )
                error.code = "input_audio_buffer_commit_empty"
                raise error
            await self._take(self._turn_item or new_id("item"), start, end)
            self._restart(end)

    async def _clear(self) -> None:
        async with self._changing:
            end = self._buffer.end_ms
            self._buffer.drop_before(end + 1)
            self._restart(end)
        await self._wire.send(Cleared(event_id()))

    def _restart(self, at_ms: int) -> None:
        self._turns, self._turn_item = Turns(heard_ms=at_ms, taken_ms=at_ms), ""

    # --- turns of speech ---

    async def listen(self) -> None:
        """Find turns in what is appended, until cancelled."""
        failures = 0
        while True:
            await self._audio_came.wait()
            self._audio_came.clear()
            try:
                while self.settings.turn_detection is not None and await self._ask():
                    failures = 0
            except ServerError as error:
                failures += 1
                if failures == _TOLERATED_FAILURES:
                    await self._wire.send(error_event(error))
                await asyncio.sleep(_PAUSE_SECONDS)
                self._audio_came.set()

    async def _ask(self) -> bool:
        """Ask a host about what is new. Returns whether there was enough."""
        turns, voice, buffer = self._turns, self.settings.voice, self._buffer
        stretch = question(turns, voice, buffer.start_ms, buffer.end_ms)
        if stretch is None:
            return False
        work = DetectSpeech(0, b"", buffer.rate, voice)
        found = await self._chosen().ask(work, buffer.between(*stretch), "audio", needs_slot=False)
        assert isinstance(found, SpeechDetected)
        async with self._changing:
            if self._turns is turns:  # else the client has committed or cleared meanwhile
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
        await self._wire.send(SpeechStopped(event_id(), change.at_ms, self._turn_item))
        await self._take(self._turn_item, began_ms, change.at_ms)
        self._turn_item = ""
        return 0

    # --- items ---

    async def _take(self, item_id: str, start_ms: int, end_ms: int) -> None:
        """Make an item of audio in the buffer."""
        pcm = self._buffer.between(start_ms, end_ms)
        self._buffer.drop_before(end_ms)
        previous, self._previous_item = self._previous_item, item_id
        await self._wire.send(Committed(event_id(), previous, item_id))
        if self._beta:
            created = ItemChanged("conversation.item.created", event_id(), previous, Item(item_id))
            await self._wire.send(created)
        else:
            await self._wire.send(ItemChanged("conversation.item.added", event_id(), previous, Item(item_id)))
            await self._wire.send(ItemChanged("conversation.item.done", event_id(), previous, Item(item_id)))
        await self.items.put(AudioItem(item_id, self._chosen(), self._work(), pcm))

    def _chosen(self) -> Model:
        if self._model is None:
            raise BadRequest(
                f"{_MODEL_PARAM}: the session has no model; name one with session.update", _MODEL_PARAM
            )
        return self._model

    def _work(self) -> Transcribe:
        settings = self.settings
        assert self._card is not None
        return Transcribe(
            0,
            b"",
            language=language_of(settings.language, settings.languages, self._card),
            prompt=settings.prompt[-PROMPT_CHARACTERS:],
            keywords=settings.keywords,
            voice_activity=settings.voice,
            pcm_rate=settings.rate,
        )
