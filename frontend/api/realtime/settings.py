"""What a session is set to, and how its client changes that. Pure."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from frontend.api.realtime.events import AudioFormat, SessionFields, TranscriptionFields
from frontend.api.schema.transcriptions import ServerVad
from frontend.errors import BadRequest
from ipc.messages import VoiceActivity

PCM_RATE = 24_000  # OpenAI's, in samples per second
_G711 = ("audio/pcmu", "audio/pcma", "g711_ulaw", "g711_alaw")

T = TypeVar("T")


class SessionSettings(msgspec.Struct, frozen=True):
    model: str | None = None
    language: str | None = None  # as the client wrote it
    languages: list[str] = []
    prompt: str = ""
    keywords: list[str] = []
    rate: int = PCM_RATE
    turn_detection: ServerVad | None = msgspec.field(default_factory=lambda: ServerVad(type="server_vad"))

    @property
    def voice(self) -> VoiceActivity:
        return VoiceActivity() if self.turn_detection is None else self.turn_detection.voice_activity


def updated(settings: SessionSettings, fields: SessionFields) -> SessionSettings:
    """The settings after an update, in which absent fields stay as they are. Raises BadRequest."""
    if fields.type != "transcription":
        raise BadRequest(
            f"session.type: {fields.type} sessions are not supported; use transcription", "session.type"
        )
    if fields.include:
        raise BadRequest("session.include: log probabilities are not supported", "session.include")
    given = fields.audio.input if fields.audio is not UNSET else UNSET
    if given is not UNSET:
        settings = _with_rate(settings, given.format, "session.audio.input.format")
        settings = _transcribing(settings, given.transcription)
        settings = _detecting(settings, given.turn_detection)
    if fields.input_audio_format is not UNSET:
        settings = _with_rate(settings, AudioFormat(fields.input_audio_format), "session.input_audio_format")
    settings = _transcribing(settings, fields.input_audio_transcription)
    return _detecting(settings, fields.turn_detection)


def _with_rate(settings: SessionSettings, audio: AudioFormat | UnsetType, param: str) -> SessionSettings:
    if audio is UNSET:
        return settings
    if audio.type in _G711:
        raise BadRequest(f"{param}: {audio.type} is not supported; send audio/pcm", param)
    if audio.type not in ("audio/pcm", "pcm16"):
        raise BadRequest(f"{param}: unknown format; send audio/pcm", param)
    return msgspec.structs.replace(settings, rate=audio.rate or PCM_RATE)


def _transcribing(
    settings: SessionSettings, given: TranscriptionFields | UnsetType | None
) -> SessionSettings:
    if given is UNSET:
        return settings
    if given is None:
        raise BadRequest("session.audio.input.transcription must not be null in a transcription session")
    return msgspec.structs.replace(
        settings,
        model=_new(given.model, settings.model, None),
        language=_new(given.language, settings.language, None),
        languages=_new(given.languages, settings.languages, []),
        prompt=_new(given.prompt, settings.prompt, ""),
        keywords=_new(given.keywords, settings.keywords, []),
    )


def _new(given: T | UnsetType | None, old: T, nothing: T) -> T:
    if given is UNSET:
        return old
    return nothing if given is None else given


def _detecting(settings: SessionSettings, given: ServerVad | UnsetType | None) -> SessionSettings:
    return settings if given is UNSET else msgspec.structs.replace(settings, turn_detection=given)


def shown(settings: SessionSettings, session_id: str, *, beta: bool) -> dict[str, Any]:
    """The session as its client is told of it."""
    transcription = {
        "model": settings.model,
        "language": settings.language,
        "prompt": settings.prompt,
    }
    return _beta(settings, session_id, transcription) if beta else _shown(settings, session_id, transcription)


def _shown(settings: SessionSettings, session_id: str, transcription: Mapping[str, Any]) -> dict[str, Any]:
    more = {"languages": settings.languages, "keywords": settings.keywords}
    return {
        "type": "transcription",
        "object": "realtime.transcription_session",
        "id": session_id,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": settings.rate},
                "transcription": {**transcription, **{key: value for key, value in more.items() if value}},
                "noise_reduction": None,
                "turn_detection": _detection(settings),
            }
        },
        "include": None,
    }


def _beta(settings: SessionSettings, session_id: str, transcription: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "object": "realtime.transcription_session",
        "id": session_id,
        "input_audio_format": "pcm16",
        "input_audio_transcription": dict(transcription),
        "turn_detection": _detection(settings),
    }


def _detection(settings: SessionSettings) -> dict[str, Any] | None:
    if settings.turn_detection is None:
        return None
    voice = settings.voice
    return {
        "type": "server_vad",
        "threshold": voice.threshold,
        "prefix_padding_ms": voice.prefix_padding_ms,
        "silence_duration_ms": voice.silence_duration_ms,
    }
