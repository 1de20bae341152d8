"""Events of a transcription session: what a client sends, and what it is sent."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from frontend.api.schema.transcriptions import Keyword, ServerVad
from frontend.http.error_body import ErrorObject

EventId = Annotated[str, Meta(max_length=512)]

# --- from the client -----------------------------------------------------------------------------------


class Envelope(msgspec.Struct):
    """What every event has."""

    type: str = ""
    event_id: EventId | None = None


class AudioFormat(msgspec.Struct):
    type: str
    rate: Annotated[int, Meta(ge=8000, le=48_000)] | None = None  # samples per second


class TranscriptionFields(msgspec.Struct):
    model: Annotated[str, Meta(min_length=1, max_length=500)] | UnsetType | None = UNSET
    language: Annotated[str, Meta(max_length=100)] | UnsetType | None = UNSET
    languages: Annotated[list[str], Meta(max_length=100)] | UnsetType | None = UNSET
    prompt: Annotated[str, Meta(max_length=20_000)] | UnsetType | None = UNSET
    keywords: Annotated[list[Keyword], Meta(max_length=1000)] | UnsetType | None = UNSET


class AudioInput(msgspec.Struct):
    format: AudioFormat | UnsetType = UNSET
    transcription: TranscriptionFields | UnsetType | None = UNSET
    turn_detection: ServerVad | UnsetType | None = UNSET


class Audio(msgspec.Struct):
    input: AudioInput | UnsetType = UNSET


class SessionFields(msgspec.Struct):
    """Of both versions of the API: the beta has flat fields. What is absent stays as it is."""

    type: str = "transcription"
    audio: Audio | UnsetType = UNSET
    include: list[str] | None = None

    input_audio_format: str | UnsetType = UNSET
    input_audio_transcription: TranscriptionFields | UnsetType | None = UNSET
    turn_detection: ServerVad | UnsetType | None = UNSET


class SessionUpdate(msgspec.Struct):
    session: SessionFields


class Append(msgspec.Struct):
    audio: str  # base64


class Commit(msgspec.Struct):
    pass


class Clear(msgspec.Struct):
    pass


# --- to the client -------------------------------------------------------------------------------------


class SessionChanged(msgspec.Struct):
    type: str  # session.created, session.updated, and the beta's names for them
    event_id: str
    session: dict[str, Any]


class Committed(msgspec.Struct, tag_field="type", tag="input_audio_buffer.committed"):
    event_id: str
    previous_item_id: str | None
    item_id: str


class Cleared(msgspec.Struct, tag_field="type", tag="input_audio_buffer.cleared"):
    event_id: str


class SpeechStarted(msgspec.Struct, tag_field="type", tag="input_audio_buffer.speech_started"):
    event_id: str
    audio_start_ms: int
    item_id: str


class SpeechStopped(msgspec.Struct, tag_field="type", tag="input_audio_buffer.speech_stopped"):
    event_id: str
    audio_end_ms: int
    item_id: str


class ItemContent(msgspec.Struct):
    type: str = "input_audio"
    transcript: str | None = None


class Item(msgspec.Struct):
    id: str
    object: str = "realtime.item"
    type: str = "message"
    status: str = "completed"
    role: str = "user"
    content: list[ItemContent] = msgspec.field(default_factory=lambda: [ItemContent()])


class ItemChanged(msgspec.Struct):
    type: Literal["conversation.item.added", "conversation.item.done", "conversation.item.created"]
    event_id: str
    previous_item_id: str | None
    item: Item


_OF_TRANSCRIPTION = "conversation.item.input_audio_transcription"


class TranscriptionDelta(msgspec.Struct, tag_field="type", tag=f"{_OF_TRANSCRIPTION}.delta"):
    event_id: str
    item_id: str
    delta: str
    content_index: int = 0


class Usage(msgspec.Struct):
    seconds: float  # of audio
    type: str = "duration"


class TranscriptionCompleted(msgspec.Struct, tag_field="type", tag=f"{_OF_TRANSCRIPTION}.completed"):
    event_id: str
    item_id: str
    transcript: str
    usage: Usage
    content_index: int = 0


class TranscriptionFailed(msgspec.Struct, tag_field="type", tag=f"{_OF_TRANSCRIPTION}.failed"):
    event_id: str
    item_id: str
    error: ErrorObject
    content_index: int = 0


class ErrorDetail(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str
    event_id: str | None  # of the client's event that caused it


class Error(msgspec.Struct, tag_field="type", tag="error"):
    event_id: str
    error: ErrorDetail


ServerEvent = (
    SessionChanged
    | Committed
    | Cleared
    | SpeechStarted
    | SpeechStopped
    | ItemChanged
    | TranscriptionDelta
    | TranscriptionCompleted
    | TranscriptionFailed
    | Error
)
