"""Bodies of POST /v1/audio/transcriptions and /v1/audio/translations."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from frontend.api.schema.common import ModelName
from ipc.messages import VoiceActivity

Format = Literal["json", "text", "srt", "vtt", "verbose_json", "diarized_json"]
Granularity = Literal["word", "segment"]
Keyword = Annotated[str, Meta(min_length=1, max_length=200)]

_MILLISECONDS = Meta(ge=0, le=10_000)


class ServerVad(msgspec.Struct, kw_only=True):
    """How speech is told from silence. Null means the default."""

    type: Literal["server_vad"]
    threshold: Annotated[float, Meta(ge=0, le=1)] | None = None
    prefix_padding_ms: Annotated[int, _MILLISECONDS] | None = None
    silence_duration_ms: Annotated[int, _MILLISECONDS] | None = None

    @property
    def voice_activity(self) -> VoiceActivity:
        given = {
            "threshold": self.threshold,
            "prefix_padding_ms": self.prefix_padding_ms,
            "silence_duration_ms": self.silence_duration_ms,
        }
        return VoiceActivity(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]


class TranscriptionRequest(msgspec.Struct, kw_only=True):
    """The fields of the form besides `file`."""

    model: ModelName
    language: Annotated[str, Meta(max_length=100)] | None = None  # a code or an English name
    languages: Annotated[list[str], Meta(max_length=100)] = []  # candidates
    prompt: str = ""
    keywords: Annotated[list[Keyword], Meta(max_length=1000)] = []
    temperature: Annotated[float, Meta(ge=0, le=1)] = 0.0
    response_format: Format = "json"
    timestamp_granularities: Annotated[list[Granularity], Meta(max_length=100)] = []
    stream: bool = False
    chunking_strategy: Literal["auto"] | ServerVad | None = None
    to_language: str | None = None  # vLLM's, of translations

    include: list[str] = []
    known_speaker_names: list[str] = []
    known_speaker_references: list[str] = []
    length_penalty: float | None = None
    max_completion_tokens: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    use_beam_search: bool | None = None


# Parameters that we cannot honour → values that ask for nothing.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "include": ([],),
    "known_speaker_names": ([],),
    "known_speaker_references": ([],),
    "length_penalty": (1.0,),
    "max_completion_tokens": (),
    "min_p": (0.0,),
    "presence_penalty": (0.0,),
    "frequency_penalty": (0.0,),
    "repetition_penalty": (1.0,),
    "top_k": (0, -1),
    "top_p": (1.0,),
    "use_beam_search": (False,),
}
_LISTS = ("include", "keywords", "known_speaker_names", "known_speaker_references", "languages")
LISTS = frozenset((*_LISTS, "timestamp_granularities"))


class DurationUsage(msgspec.Struct, kw_only=True):
    type: str = "duration"
    seconds: int  # of audio, rounded up


class TranscriptionBody(msgspec.Struct, kw_only=True):
    text: str
    usage: DurationUsage


class WordBody(msgspec.Struct, kw_only=True):
    word: str
    start: float
    end: float


class SegmentBody(msgspec.Struct, kw_only=True):
    """The engine reports no token ids and no probabilities: those fields are always the same."""

    id: int
    seek: int  # the start, in hundredths of a second
    start: float
    end: float
    text: str
    tokens: list[int] = []
    temperature: float
    avg_logprob: float = 0.0
    compression_ratio: float
    no_speech_prob: float = 0.0


class VerboseBody(msgspec.Struct, kw_only=True):
    task: Literal["transcribe", "translate"]
    language: str  # its English name
    duration: float
    text: str
    words: list[WordBody] | UnsetType = UNSET
    segments: list[SegmentBody] | UnsetType = UNSET
    usage: DurationUsage


class TextDelta(msgspec.Struct, kw_only=True):
    type: str = "transcript.text.delta"
    delta: str


class TextSegment(msgspec.Struct, kw_only=True):
    type: str = "transcript.text.segment"
    id: str
    start: float
    end: float
    text: str
    speaker: str = ""  # of whom nothing is known


class TextDone(msgspec.Struct, kw_only=True):
    type: str = "transcript.text.done"
    text: str
    usage: DurationUsage
