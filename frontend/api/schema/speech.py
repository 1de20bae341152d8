"""Bodies of POST /v1/audio/speech and of the lists of voices."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from frontend.api.schema.common import ModelName
from ipc.messages import AudioFormat

MAX_CHARACTERS = 100_000  # OpenAI's limit is 4096

VoiceName = Annotated[str, Meta(min_length=1, max_length=1000)]


class VoiceId(msgspec.Struct, kw_only=True):
    id: VoiceName


class SpeechRequest(msgspec.Struct, kw_only=True):
    """Null means the default, as OpenAI has it."""

    model: ModelName
    input: Annotated[str, Meta(min_length=1, max_length=MAX_CHARACTERS)]
    voice: VoiceName | VoiceId | None = None
    instructions: str | None = None  # no effect: the engine takes none
    response_format: AudioFormat | None = None
    speed: Annotated[float, Meta(ge=0.25, le=4)] | None = None
    stream_format: Literal["audio", "sse"] | None = None
    lang: Annotated[str, Meta(min_length=1, max_length=100)] | None = None  # ours
    lang_code: Annotated[str, Meta(min_length=1, max_length=100)] | None = None  # Kokoro-FastAPI's name of it

    normalization_options: Any = None
    ref_audio: Any = None
    ref_text: Any = None
    return_download_link: Any = None
    return_timestamps: Any = None
    volume_multiplier: Any = None

    @property
    def voice_name(self) -> str | None:
        return self.voice.id if isinstance(self.voice, VoiceId) else self.voice

    @property
    def language(self) -> str | None:
        return self.lang or self.lang_code


# Parameters that we cannot honour → values that ask for nothing.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "normalization_options": ({},),
    "ref_audio": ("",),
    "ref_text": ("",),
    "return_download_link": (False,),
    "return_timestamps": (False,),
    "volume_multiplier": (1,),
}


class SpeechUsage(msgspec.Struct, kw_only=True):
    """Neither text nor audio consists of tokens here: characters are counted in their place."""

    input_tokens: int  # characters of the input
    output_tokens: int = 0
    total_tokens: int  # as input_tokens
    seconds: float  # of audio


class AudioDelta(msgspec.Struct, kw_only=True):
    type: str = "speech.audio.delta"
    audio: bytes  # in base64


class AudioDone(msgspec.Struct, kw_only=True):
    type: str = "speech.audio.done"
    usage: SpeechUsage


class VoiceBody(msgspec.Struct, kw_only=True):
    id: str
    name: str
    language: str  # a BCP 47 tag
    model: str


class VoiceList(msgspec.Struct, kw_only=True):
    voices: list[VoiceBody]


class SpeechModelBody(msgspec.Struct, kw_only=True):
    id: str
    name: str


class SpeechModelList(msgspec.Struct, kw_only=True):
    models: list[SpeechModelBody]
