"""Requests for speech: what a benchmark asks, and what an answer holds."""

from typing import Literal

import msgspec

from bench.client import Response
from bench.errors import BadAnswer
from bench.sentences import sentences
from bench.stats import RequestRecord
from bench.workload import poisson_arrivals

PATH = "/audio/speech"
SAMPLE_RATE = 24_000  # of OpenAI's response_format pcm: 16-bit samples of one channel
_SAMPLE_BYTES = 2
_CHUNK_HEAD_BYTES = 8  # of RIFF: a name and a size


class SpeechWorkload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run's requests. `concurrency` closes the loop; `request_rate` (per second) opens it instead."""

    requests: int
    prompt_words: int  # at least, in whole sentences
    seed: int
    voice: str = "alloy"
    concurrency: int = 1
    request_rate: float | None = None

    def texts(self) -> list[list[str]]:
        """The sentences of each request."""
        return [sentences(self.seed, index, self.prompt_words) for index in range(self.requests)]

    def arrivals(self) -> list[float] | None:
        """Seconds after the start at which each request is sent; None for a closed loop."""
        rate = self.request_rate
        return None if rate is None else poisson_arrivals(self.seed, rate, self.requests)

    def bodies(self, model: str) -> list[bytes]:
        """The requests, encoded."""
        return [speech_body(model, self.voice, " ".join(text)) for text in self.texts()]


def speech_body(model: str, voice: str, text: str, response_format: Literal["pcm", "wav"] = "pcm") -> bytes:
    """A request for samples, raw or in a WAV file, encoded."""
    return msgspec.json.encode(
        {"model": model, "voice": voice, "input": text, "response_format": response_format}
    )


def read_samples(response: Response) -> bytes:
    """The 16-bit samples of an answer. Raises BadAnswer."""
    body = response.body
    if body.startswith(b"RIFF"):
        body = body[body.find(b"data") + _CHUNK_HEAD_BYTES :]
    if not body or len(body) % _SAMPLE_BYTES:
        raise BadAnswer("malformed_answer", f"{len(body)} bytes are not 16-bit samples")
    return body


def read_record(response: Response) -> RequestRecord:
    """The record of one answered request. Its only arrival is that of the first audio. Raises BadAnswer."""
    samples = read_samples(response)
    assert response.first_body is not None, "there is a body"
    return RequestRecord(
        response.started,
        response.finished,
        [response.first_body],
        audio_seconds=len(samples) / _SAMPLE_BYTES / SAMPLE_RATE,
        finish_reason="whole",
    )
