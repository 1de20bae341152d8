"""One transcription session: its settings, its audio, and the items that the audio becomes."""

import base64
import binascii

import msgspec

from frontend.api.abilities import transcription_card
from frontend.api.realtime.events import (
    Append,
    Clear,
    Commit,
    Committed,
    Item,
    ItemChanged,
    SessionChanged,
    SessionUpdate,
)
from frontend.api.realtime.input import InputAudio
from frontend.api.realtime.items import AudioItem, Items
from frontend.api.realtime.settings import SessionSettings, shown, updated
from frontend.api.realtime.wire import Wire, event_id, event_of, new_id
from frontend.api.transcription_form import PROMPT_CHARACTERS, language_of
from frontend.errors import BadRequest
from frontend.routing.router import Model, Router
from ipc.messages import DetectSpeech, SpeechDetected, Transcribe, TranscriptionCard

MOST_SECONDS = 180  # of audio that a session holds, committed or not
_MODEL_PARAM = "session.audio.input.transcription.model"


class Chosen(msgspec.Struct, frozen=True):
    """The model of a session."""

    model: Model
    card: TranscriptionCard


class Session:
    """Every item and every question about turns of speech is a job of its own: a session outlives the hosts
    that work for it."""

    def __init__(self, router: Router, wire: Wire, *, beta: bool) -> None:
        """`beta`: the client speaks the first version of the API."""
        self.id = new_id("sess")
        self.items = Items(wire)
        self.settings = SessionSettings()
        self.input = InputAudio(wire, self.settings, self._ask, self._take)
        self._router = router
        self._wire = wire
        self._beta = beta
        self._chosen: Chosen | None = None
        self._previous_item: str | None = None

    async def choose(self, name: str) -> None:
        """Use a model. Raises what `Router.model` raises, and BadRequest for one of another task."""
        model = await self._router.model(name)
        self._chosen = Chosen(model, transcription_card(model))
        self.settings = msgspec.structs.replace(self.settings, model=name)

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
                self._model()
                await self.input.commit()
            case Clear():
                await self.input.clear()

    async def _update(self, event: SessionUpdate) -> None:
        settings = updated(self.settings, event.session)
        if settings.model is not None and settings.model != self.settings.model:
            await self.choose(settings.model)
        if self._chosen is not None:
            language_of(settings.language, settings.languages, self._chosen.card)
        await self.input.configure(settings)
        self.settings = settings
        await self.announce("updated")

    async def _append(self, audio: str) -> None:
        self._model()
        try:
            pcm = base64.b64decode(audio, validate=True)
        except (binascii.Error, ValueError):
            raise BadRequest("audio is not valid base64", "audio") from None
        limit = MOST_SECONDS * self.input.bytes_per_second
        while len(self.input) + self.items.held_bytes + len(pcm) > limit:
            if not self.items.held_bytes:
                raise BadRequest(
                    f"audio: the buffer holds at most {MOST_SECONDS} seconds; commit it earlier", "audio"
                )
            await self.items.one_ended()  # meanwhile nothing is read from the client
        self.input.append(pcm)

    async def _ask(self, work: DetectSpeech, pcm: bytes) -> SpeechDetected:
        found = await self._model().model.ask(work, pcm, "audio", needs_slot=False)
        assert isinstance(found, SpeechDetected)
        return found

    async def _take(self, item_id: str, pcm: bytes) -> None:
        """Make an item of audio."""
        previous, self._previous_item = self._previous_item, item_id
        await self._wire.send(Committed(event_id(), previous, item_id))
        if self._beta:
            created = ItemChanged("conversation.item.created", event_id(), previous, Item(item_id))
            await self._wire.send(created)
        else:
            await self._wire.send(ItemChanged("conversation.item.added", event_id(), previous, Item(item_id)))
            await self._wire.send(ItemChanged("conversation.item.done", event_id(), previous, Item(item_id)))
        chosen = self._model()
        await self.items.put(AudioItem(item_id, chosen.model, self._work(chosen.card), pcm))

    def _model(self) -> Chosen:
        """Raises BadRequest."""
        if self._chosen is None:
            raise BadRequest(
                f"{_MODEL_PARAM}: the session has no model; name one with session.update", _MODEL_PARAM
            )
        return self._chosen

    def _work(self, card: TranscriptionCard) -> Transcribe:
        settings = self.settings
        return Transcribe(
            0,
            b"",
            language=language_of(settings.language, settings.languages, card),
            prompt=settings.prompt[-PROMPT_CHARACTERS:],
            keywords=settings.keywords,
            voice_activity=settings.voice,
            pcm_rate=settings.rate,
        )
