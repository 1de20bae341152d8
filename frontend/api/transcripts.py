"""How a finished transcript is answered, in each format."""

import math
import zlib
from collections.abc import Callable

import msgspec
from msgspec import UNSET

from frontend.api.languages import name_of
from frontend.api.schema.transcriptions import (
    DurationUsage,
    Format,
    SegmentBody,
    TranscriptionBody,
    TranscriptionRequest,
    VerboseBody,
    WordBody,
)
from frontend.api.subtitles import srt, vtt
from frontend.tasks.transcript import Transcript
from ipc.messages import Segment, Transcribe

_encode = msgspec.json.encode
_MILLISECONDS = 3  # decimal places of a time in seconds


def body_of(transcript: Transcript, request: TranscriptionRequest, work: Transcribe) -> bytes:
    """The response's body."""
    return _BODIES[request.response_format](transcript, request, work)


def usage_of(transcript: Transcript) -> DurationUsage:
    return DurationUsage(seconds=math.ceil(transcript.duration))


def language_of(transcript: Transcript, work: Transcribe) -> str:
    """The language of the text, by its English name; empty where there was nothing to tell it from."""
    if work.translate:
        return name_of("en")
    return name_of(work.language or transcript.language)


def _json(transcript: Transcript, _request: TranscriptionRequest, _work: Transcribe) -> bytes:
    return _encode(TranscriptionBody(text=transcript.text, usage=usage_of(transcript)))


def _text(transcript: Transcript, _request: TranscriptionRequest, _work: Transcribe) -> bytes:
    return f"{transcript.text}\n".encode()


def _verbose(transcript: Transcript, request: TranscriptionRequest, work: Transcribe) -> bytes:
    granularities = request.timestamp_granularities or ["segment"]
    segments = [segment for segment in transcript.segments if segment.text.strip()]
    body = VerboseBody(
        task="translate" if work.translate else "transcribe",
        language=language_of(transcript, work),
        duration=round(transcript.duration, _MILLISECONDS),
        text=transcript.text,
        usage=usage_of(transcript),
        words=_words(segments) if "word" in granularities else UNSET,
        segments=_segments(segments, work.temperature) if "segment" in granularities else UNSET,
    )
    return _encode(body)


def _words(segments: list[Segment]) -> list[WordBody]:
    return [
        WordBody(
            word=word.text.strip(),
            start=round(word.start, _MILLISECONDS),
            end=round(word.end, _MILLISECONDS),
        )
        for segment in segments
        for word in segment.words
        if word.text.strip()
    ]


def _segments(segments: list[Segment], temperature: float) -> list[SegmentBody]:
    return [
        SegmentBody(
            id=number,
            seek=round(segment.start * 100),
            start=round(segment.start, _MILLISECONDS),
            end=round(segment.end, _MILLISECONDS),
            text=segment.text,
            temperature=temperature,
            compression_ratio=_compression_ratio(segment.text),
        )
        for number, segment in enumerate(segments)
    ]


def _compression_ratio(text: str) -> float:
    """As Whisper's authors define it: high where the text repeats itself."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


_BODIES: dict[Format, Callable[[Transcript, TranscriptionRequest, Transcribe], bytes]] = {
    "json": _json,
    "text": _text,
    "srt": lambda transcript, _request, _work: srt(transcript.segments).encode(),
    "vtt": lambda transcript, _request, _work: vtt(transcript.segments).encode(),
    "verbose_json": _verbose,
}
