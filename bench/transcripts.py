"""Requests for transcripts: what a benchmark asks, and what an answer says."""

from pathlib import Path
from typing import Any

import msgspec

from bench.client import Response
from bench.errors import BadAnswer
from bench.forms import encode_form
from bench.recordings import Recording, read_recording, spoken_recordings
from bench.stats import RequestRecord
from bench.workload import poisson_arrivals

PATH = "/audio/transcriptions"
_DELTA, _DONE = "transcript.text.delta", "transcript.text.done"


class TranscriptionWorkload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run's requests. `concurrency` closes the loop; `request_rate` (per second) opens it instead.

    Each request has a spoken recording of its own, or all have the same file.
    """

    requests: int
    seed: int
    audio: str | None = None  # the path of a file
    audio_seconds: float = 30.0  # of each spoken recording
    concurrency: int = 1
    request_rate: float | None = None

    def recordings(self) -> list[Recording]:
        """Raises OSError, and RunFailed if there is nobody to speak."""
        if self.audio is not None:
            return [read_recording(Path(self.audio))] * self.requests
        return spoken_recordings(self.seed, self.requests, self.audio_seconds)

    def arrivals(self) -> list[float] | None:
        """Seconds after the start at which each request is sent; None for a closed loop."""
        rate = self.request_rate
        return None if rate is None else poisson_arrivals(self.seed, rate, self.requests)


class Span(msgspec.Struct, frozen=True):
    """A segment of a transcript. Times in seconds from the start of the recording."""

    start: float
    end: float
    text: str


class Heard(msgspec.Struct, frozen=True):
    """A transcript. `segments` is None if the answer was streamed; `seconds` of audio, where stated."""

    text: str
    segments: list[Span] | None
    seconds: float | None


class _Usage(msgspec.Struct, gc=False):
    seconds: float | None = None


class _Answer(msgspec.Struct, gc=False):
    """A transcript as JSON, in short or verbose, or an event of a streamed one."""

    type: str = ""
    delta: str = ""
    text: str | None = None
    segments: list[Span] | None = None
    duration: float | None = None
    usage: _Usage | None = None
    error: Any = None

    @property
    def seconds(self) -> float | None:
        return self.duration if self.duration is not None else (self.usage or _Usage()).seconds


_decoder = msgspec.json.Decoder(_Answer)


def transcription_body(model: str, recording: Recording, *, stream: bool) -> bytes:
    """The form that asks for a transcript, with the times of its segments unless it is streamed."""
    fields = {"model": model, "temperature": "0", "response_format": "json" if stream else "verbose_json"}
    if stream:
        fields["stream"] = "true"
    return encode_form(fields, recording.name, recording.data)


def read_transcript(response: Response) -> Heard:
    """The whole transcript of an answer, streamed or not. Raises BadAnswer."""
    if response.events:
        return _read_stream([_decode(event.data) for event in response.events if event.data != b"[DONE]"])
    answer = _decode(response.body)
    if answer.text is None:
        raise BadAnswer("malformed_answer", f"no text: {response.body[:200]!r}")
    return Heard(answer.text, answer.segments, answer.seconds)


def read_record(response: Response, seconds: float | None) -> RequestRecord:
    """The record of one answered request, whose recording has so many seconds, where that is known.

    Raises BadAnswer.
    """
    heard = read_transcript(response)
    arrivals = [event.time for event in response.events if _decode(event.data).type == _DELTA]
    return RequestRecord(
        response.started,
        response.finished,
        arrivals,
        audio_seconds=heard.seconds if seconds is None else seconds,
        finish_reason="whole" if heard.text.strip() else "empty",
    )


def _read_stream(events: list[_Answer]) -> Heard:
    done = next((event for event in reversed(events) if event.type == _DONE), None)
    if done is None or done.text is None:
        raise BadAnswer("truncated_stream", f"the stream ended without {_DONE}")
    told = "".join(event.delta for event in events)
    if told.strip() != done.text.strip():
        raise BadAnswer("inconsistent_stream", f"the deltas are {told!r}, the text is {done.text!r}")
    return Heard(done.text, None, done.seconds)


def _decode(data: bytes) -> _Answer:
    if data == b"[DONE]":
        return _Answer()
    try:
        answer = _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise BadAnswer("malformed_answer", f"{error}: {data[:200]!r}") from None
    if answer.error is not None or answer.type == "error":
        raise BadAnswer("stream_error", data[:500].decode("utf-8", "replace"))
    return answer
