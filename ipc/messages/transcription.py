"""Speech to text: an audio file in, segments of text out, window by window. Times are in seconds of audio."""

import math

import msgspec

from ipc.messages.core import ModelCard, Options, Reply, Task, Value, Work

# --- launching -----------------------------------------------------------------------------------------


class TranscriptionOptions(Options):
    voice_activity_model: str = ""  # an ONNX file of Silero VAD; empty: loudness decides
    max_audio_seconds: float = 4 * 3600.0  # of one request
    spool_folder: str = ""  # for recordings while they are decoded; empty: one that is on a disk


class TranscriptionCard(ModelCard):
    languages: list[str]  # codes; one for a model of one language
    translates: bool  # into English


# --- replies -------------------------------------------------------------------------------------------


class Word(Value):
    text: str
    start: float
    end: float


class Segment(Value):
    start: float
    end: float
    text: str
    words: list[Word] = []  # where they were asked for


class Transcribed(Reply):
    """What one window of the recording holds; the last one ends the request and may hold nothing."""

    until: float  # all audio before is done
    segments: list[Segment] = []
    language: str = ""  # a code, once it is known
    last: bool = False
    duration: float = 0.0  # of the whole recording, in the last reply

    @property
    def ends(self) -> bool:
        return self.last

    @property
    def units(self) -> int:
        return 0 if self.last else 1

    def check(self, card: ModelCard) -> None:
        if not isinstance(card, TranscriptionCard):
            raise ValueError("a transcript from a model that does not transcribe")
        times = [self.until, self.duration]
        for segment in self.segments:
            times += [segment.start, segment.end]
            for word in segment.words:
                times += [word.start, word.end]
        if not all(math.isfinite(time) and time >= 0 for time in times):
            raise ValueError("a time that is negative or not finite")


class SpeechSpan(Value):
    """A stretch of speech, without padding."""

    start: float
    end: float


class SpeechDetected(Reply):
    """Where there is speech. Pauses shorter than `silence_duration_ms` do not divide a span."""

    duration: float  # of the audio
    spans: list[SpeechSpan] = []
    speaking: bool = False  # the audio ends in the last span, or too soon after it to tell that it has ended

    def check(self, card: ModelCard) -> None:
        if not isinstance(card, TranscriptionCard):
            raise ValueError("voice activity from a model that does not transcribe")
        times = [time for span in self.spans for time in (span.start, span.end)]
        if times != sorted(times) or not all(0 <= time <= self.duration for time in times):
            raise ValueError("spans of speech that are not in order or outside the audio")


# --- work ----------------------------------------------------------------------------------------------

MAX_DETECTION_SECONDS = 60.0  # of audio in a DetectSpeech


class VoiceActivity(Value):
    """How speech is found, in OpenAI's terms."""

    threshold: float = 0.5  # of the probability of speech, 0 to 1
    prefix_padding_ms: int = 300  # kept before speech
    silence_duration_ms: int = 500  # that ends an utterance


class Transcribe(Work):
    """Transcribe one recording. The payload is the file as the client sent it; the host decodes it.

    A host that continues after another starts at `resume_seconds`, the `until` of the last reply. If the
    language was detected by then, the work names it.
    """

    answers = (Transcribed,)

    language: str | None = None  # a code; None: detected in the first window with speech
    translate: bool = False  # into English
    prompt: str = ""  # text to continue in style
    keywords: list[str] = []  # words likely to occur
    temperature: float = 0.0
    word_times: bool = False
    voice_activity: VoiceActivity = msgspec.field(default_factory=VoiceActivity)
    pcm_rate: int = 0  # the payload is mono s16le PCM of this many samples a second; 0: a container
    resume_seconds: float = 0.0
    resume_windows: int = 0  # done by earlier hosts

    @property
    def done_units(self) -> int:
        return self.resume_windows


class DetectSpeech(Work):
    """Find speech in at most MAX_DETECTION_SECONDS of mono s16le PCM, the payload.

    Needs no slot: it is answered on receipt. Nothing is kept from one to the next.
    """

    answers = (SpeechDetected,)

    pcm_rate: int = 16_000  # samples a second
    voice_activity: VoiceActivity = msgspec.field(default_factory=VoiceActivity)


TASK = Task(
    name="transcription",
    engines=("transcription",),
    options=TranscriptionOptions,
    card=TranscriptionCard,
    work=(Transcribe, DetectSpeech),
    replies=(Transcribed, SpeechDetected),
    uploads=True,
)
